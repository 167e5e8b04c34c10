"""The sessions API over HTTP."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.conftest import ACCOUNT, TOKEN
from tests.integration.conftest import System

pytestmark = pytest.mark.anyio

PARTIES = {"first_party": "+12025550101", "second_party": "12025550102"}
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC")


async def create(system: System, **arguments: Any) -> httpx.Response:
    return await system.http.post(f"{system.api}/", json=PARTIES | arguments)


def error_of(response: httpx.Response) -> tuple[int, str]:
    body = response.json()
    assert set(body) == {"api_id", "error"}
    return response.status_code, body["error"]


async def test_create_answers_in_plivos_shape(system: System) -> None:
    response = await create(system, session_expiry=1800, record=True)

    assert response.status_code == 201
    body = response.json()
    assert body["message"] == "Session created"
    assert body["virtual_number"] == "+12025550199"
    session = body["session"]
    assert session["session_uuid"] == body["session_uuid"]
    assert session["virtual_number"] == "12025550199"
    assert (session["first_party"], session["second_party"]) == ("12025550101", "12025550102")
    assert (session["status"], session["duration"], session["record"]) == ("active", 1800, True)
    assert (session["call_time_limit"], session["ring_timeout"]) == (3600, 120)
    assert session["interaction"] is None
    assert (session["amount"], type(session["amount"])) == (0, int)
    assert session["last_interaction_time"] == ""
    for key in ("created_time", "modified_time", "expiry_time"):
        assert TIME.fullmatch(session[key])


async def test_a_created_session_can_be_retrieved_with_every_kind_of_slashes(system: System) -> None:
    created = (await create(system)).json()
    uuid = created["session_uuid"]

    for path in (f"{system.api}/{uuid}/", f"{system.api}/{uuid}", f"{system.api}//{uuid}/", f"{system.api}/{uuid}//"):
        response = await system.http.get(path)
        assert response.status_code == 200
        assert response.json()["response"] == created["session"]


async def test_an_update_counts_the_expiry_from_now_and_leaves_the_rest(system: System) -> None:
    uuid = (await create(system, session_expiry=600)).json()["session_uuid"]

    response = await system.http.post(f"{system.api}/{uuid}", json={"session_expiry": 7200, "session_uuid": uuid})

    assert response.status_code == 200
    assert response.json()["message"] == "Session updated"
    session = response.json()["session"]
    assert 7200 <= session["duration"] < 7260
    assert session["ring_timeout"] == 120


async def test_expire_ends_the_session_and_a_second_time_says_so(system: System) -> None:
    uuid = (await create(system)).json()["session_uuid"]

    first = await system.http.request("DELETE", f"{system.api}/{uuid}/", json={"session_uuid": uuid})
    again = await system.http.delete(f"{system.api}/{uuid}/")
    update = await system.http.post(f"{system.api}/{uuid}/", json={"record": True})

    assert first.status_code == 200
    assert first.json()["message"] == "Session expired"
    assert error_of(again) == (400, "Session already expired")
    assert error_of(update) == (400, "Session already expired")
    session = (await system.http.get(f"{system.api}/{uuid}/")).json()["response"]
    assert (session["status"], session["duration"]) == ("expired", 0)


async def test_the_pool_runs_out_with_the_documented_sentence(system: System) -> None:
    answers = [await create(system) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [201, 201, 201, 400]
    assert error_of(answers[3]) == (400, "Number pool exhausted or not available.")


async def test_the_same_idempotency_key_gives_the_same_session(system: System) -> None:
    headers = {"Idempotency-Key": "ride-7"}
    first = await system.http.post(f"{system.api}/", json=PARTIES, headers=headers)
    again = await system.http.post(f"{system.api}/", json=PARTIES, headers=headers)
    other = await system.http.post(f"{system.api}/", json=PARTIES, headers={"Idempotency-Key": "ride-8"})

    assert again.status_code == 201
    assert first.json()["session_uuid"] == again.json()["session_uuid"] != other.json()["session_uuid"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"first_party": ""}, "Mandatory parameter missing. first_party must be present."),
        ({"second_party": None}, "Mandatory parameter missing. second_party must be present."),
        ({"first_party": "twelve"}, "Invalid parameter. first_party is not a valid phone number."),
        ({"first_party": "1" * 10_000}, "Invalid parameter. first_party is not a valid phone number."),
        ({"first_party": {"a": 1}}, "Invalid parameter. first_party is not a valid phone number."),
        ({"second_party": "+12025550101"}, "Invalid parameter. second_party must differ from first_party."),
        ({"session_expiry": 59}, "Invalid parameter. session_expiry is outside the allowed range."),
        ({"call_time_limit": 86401}, "Invalid parameter. call_time_limit is outside the allowed range."),
        ({"ring_timeout": "soon"}, "Invalid parameter. ring_timeout should be a whole number."),
        ({"record": "maybe"}, "Invalid parameter. record allowed values are true or false."),
        ({"record_file_format": "ogg"}, "Invalid parameter. record_file_format allowed values are mp3 or wav."),
        ({"callback_url": "ftp://x/"}, "Invalid parameter. callback_url should be a valid URL."),
        ({"callback_url": "http://[x/"}, "Invalid parameter. callback_url should be a valid URL."),
        (
            {"recording_callback_url": "https://x/" + "a" * 1000},
            "Invalid parameter. recording_callback_url should be under 1000 characters.",
        ),
        (
            {"is_pin_authentication_required": True},
            "Invalid parameter. is_pin_authentication_required is not supported by this version; leave it out.",
        ),
        (
            {"subaccount": "SATESTACCOUNT0000000"},
            "Invalid parameter. subaccount is not supported by this version; leave it out.",
        ),
    ],
)
async def test_a_wrong_argument_is_named_with_its_rule(
    system: System, arguments: dict[str, Any], sentence: str
) -> None:
    assert error_of(await create(system, **arguments)) == (400, sentence)


async def test_what_real_sdks_send_for_not_given_is_taken_so(system: System) -> None:
    java = {
        "initiate_call_to_first_party": False,
        "is_pin_authentication_required": False,
        "geomatch": True,
        "generate_pin": False,
        "record": False,
        "ring_timeout": 0,
        "session_expiry": 0,
        "call_time_limit": 0,
        "create_session_with_single_party": False,
        "force_pin_authentication": False,
        "virtual_number_cooloff_period": 0,
        "pin_authentication_required": False,
    }
    response = await create(system, **java)
    assert response.status_code == 201
    assert response.json()["session"]["duration"] == 3600


async def test_only_the_account_itself_gets_in(system: System) -> None:
    body = {"api_id", "error"}
    for auth in (None, (ACCOUNT, "wrong"), ("MAANOTHERACCOUNT0000", TOKEN), (ACCOUNT, "\0")):
        async with httpx.AsyncClient(auth=auth) as http:
            response = await http.get(f"{system.api}/nothing/")
        assert response.status_code == 401
        assert set(response.json()) == body


async def test_unknown_things_are_answered_in_json(system: System) -> None:
    base = system.settings.base_url
    assert error_of(await system.http.get(f"{system.api}/no-such-session/")) == (404, "not found")
    assert error_of(await system.http.get(f"{base}/nowhere")) == (404, "not found")
    assert error_of(await system.http.put(f"{system.api}/")) == (405, "method not allowed")
    headers = {"Content-Type": "application/json"}
    broken = await system.http.post(f"{system.api}/", content=b"{", headers=headers)
    assert error_of(broken) == (400, "The request body is not valid JSON.")
    deep = await system.http.post(f"{system.api}/", content=b"[" * 50_000, headers=headers)
    assert error_of(deep) == (400, "The request body is not valid JSON.")
    listed = await system.http.post(f"{system.api}/", content=b"[]", headers=headers)
    assert error_of(listed) == (400, "The request body must be a JSON object.")
    form = await system.http.post(f"{system.api}/", data=PARTIES)
    assert error_of(form) == (415, "The request body must be application/json.")
    large = await system.http.post(f"{system.api}/", content=b"x" * 70_000, headers=headers)
    assert error_of(large) == (413, "the request body is too large")


async def test_health_is_200(system: System) -> None:
    response = await system.http.get(f"{system.settings.base_url}/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
