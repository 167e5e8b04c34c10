"""The sessions API over HTTP."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from masking.contract import session_workflow_id
from masking.privacy.keyring import Keyring
from masking.storage import accounts
from tests.conftest import ACCOUNT, TOKEN
from tests.integration.conftest import System

pytestmark = pytest.mark.anyio

PARTIES = {"first_party": "+12025550101", "second_party": "12025550102"}
PIN = {"is_pin_authentication_required": True, "pin_prompt_play": "https://x.example/pin.mp3"}
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
    base, parts = system.settings.base_url, ["v1", "Account", ACCOUNT, "Masking", "Session", uuid]
    for doubled in range(len(parts)):
        path = "".join(f"/{'/' if n == doubled else ''}{part}" for n, part in enumerate(parts))
        assert (await system.http.get(f"{base}{path}")).json()["response"]["session_uuid"] == uuid, path
        assert (await system.http.post(f"{base}{path}", json={})).status_code == 200, path
        listed = await system.http.get(f"{base}{path.removesuffix(uuid)}")
        assert listed.json()["response"]["meta"]["total_count"] == 1, path
    assert (await system.http.delete(f"{base}//v1//Account//{ACCOUNT}//Masking//Session//{uuid}//")).status_code == 200


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
    assert session["status"] == "expired"
    assert 0 <= session["duration"] < 60, "it lasted until then, and not the hour that it might have"


async def test_a_session_whose_workflow_an_operator_cancels_is_over_for_everybody(system: System) -> None:
    uuid = (await create(system)).json()["session_uuid"]

    await system.client.get_workflow_handle(session_workflow_id(uuid)).cancel(reason="by the button")
    await system.sessions.final_bill(uuid)

    ended = (await system.http.get(f"{system.api}/{uuid}/")).json()["response"]
    assert (ended["status"], ended["total_call_count"]) == ("expired", 0)
    assert ended["duration"] < 60
    assert error_of(await system.http.delete(f"{system.api}/{uuid}/")) == (400, "Session already expired")
    async with system.database.transaction() as connection:
        bills = await (await connection.execute("SELECT session_uuid::text FROM settlements")).fetchall()
        held = await (await connection.execute("SELECT count(*) FROM routes WHERE expires_at > now()")).fetchall()
    assert (bills, held) == ([(uuid,)], [(0,)])


async def test_the_pool_runs_out_with_the_documented_sentence(system: System) -> None:
    answers = [await create(system) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [201, 201, 201, 400]
    assert error_of(answers[3]) == (400, "Number pool exhausted or not available.")


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
        ({"first_party": 4930901820.0}, "Invalid parameter. first_party is not a valid phone number."),
        ({"first_party": "4930901820.0"}, "Invalid parameter. first_party is not a valid phone number."),
        ({"first_party": "-12025550101"}, "Invalid parameter. first_party is not a valid phone number."),
        ({"first_party": "+-12025550101"}, "Invalid parameter. first_party is not a valid phone number."),
        ({"first_party": -12025550101}, "Invalid parameter. first_party is not a valid phone number."),
        ({"first_party": [12025550101]}, "Invalid parameter. first_party is not a valid phone number."),
        ({"ring_timeout": 4}, "Invalid parameter. ring_timeout is outside the allowed range."),
        ({"ring_timeout": 601}, "Invalid parameter. ring_timeout is outside the allowed range."),
        ({"ring_timeout": "soon"}, "Invalid parameter. ring_timeout should be a whole number."),
        ({"record": "maybe"}, "Invalid parameter. record allowed values are true or false."),
        ({"record_file_format": "ogg"}, "Invalid parameter. record_file_format allowed values are mp3 or wav."),
        ({"callback_url": "ftp://x/"}, "Invalid parameter. callback_url should be a valid URL."),
        ({"callback_url": "http://[x/"}, "Invalid parameter. callback_url should be a valid URL."),
        ({"callback_url": "https://{host}/events"}, "Invalid parameter. callback_url should be a valid URL."),
        ({"callback_url": "https://a..example/"}, "Invalid parameter. callback_url should be a valid URL."),
        ({"callback_url": "http://[::1]x/"}, "Invalid parameter. callback_url should be a valid URL."),
        ({"callback_url": "http://[v1.x]/"}, "Invalid parameter. callback_url should be a valid URL."),
        (
            {"recording_callback_url": "https://x/" + "a" * 1000},
            "Invalid parameter. recording_callback_url should be under 1000 characters.",
        ),
        ({"first_party": "+12025550101 ext. 7"}, "Invalid parameter. first_party is not a valid phone number."),
        ({"first_party": "+1202\x0055501"}, "Invalid parameter. first_party is not a valid phone number."),
        ({"first_party": "+999123456789"}, "Invalid parameter. first_party is not a valid phone number."),
        ({"geomatch": "perhaps"}, "Invalid parameter. geomatch allowed values are true or false."),
        ({"subaccount": "SA1"}, "Invalid parameter. subaccount should be the auth ID of a subaccount."),
        (
            {"subaccount": "SATESTACCOUNT0000000"},
            "Invalid parameter. subaccount should be the auth ID of a subaccount of yours.",
        ),
        (
            {"virtual_number_cooloff_period": 3601},
            "Invalid parameter. virtual_number_cooloff_period is outside the allowed range.",
        ),
        ({"callback_method": "PUT"}, "Invalid parameter. callback_method allowed values are GET or POST."),
        (
            {"unknown_caller_play": "https://x.example/hello.ogg"},
            "Invalid parameter. unknown_caller_play should be the URL of an .mp3 or .wav file.",
        ),
        ({"generate_pin": True}, "Invalid parameter. generate_pin needs is_pin_authentication_required to be true."),
        (
            {"is_pin_authentication_required": True, "generate_pin": True},
            "Mandatory parameter missing. pin_prompt_play must be present.",
        ),
        (PIN | {"first_party_pin": "1234"}, "Mandatory parameter missing. second_party_pin must be present."),
        (PIN | {"second_party_pin": 1234}, "Mandatory parameter missing. first_party_pin must be present."),
        (
            PIN | {"first_party_pin": "1234", "second_party_pin": 1234},
            "Invalid parameter. second_party_pin must differ from first_party_pin.",
        ),
        (PIN | {"first_party_pin": "123"}, "Invalid parameter. first_party_pin should have 4 to 15 digits."),
        (PIN | {"first_party_pin": "1" * 16}, "Invalid parameter. first_party_pin should have 4 to 15 digits."),
        (PIN | {"first_party_pin": "12a4"}, "Invalid parameter. first_party_pin should have 4 to 15 digits."),
        (
            PIN | {"generate_pin": True, "first_party_pin": "1234"},
            "Invalid parameter. first_party_pin cannot be given when generate_pin is true.",
        ),
        (PIN | {"generate_pin_length": 3}, "Invalid parameter. generate_pin_length is outside the allowed range."),
        (PIN | {"generate_pin_length": 16}, "Invalid parameter. generate_pin_length is outside the allowed range."),
        (PIN | {"pin_retry": 6}, "Invalid parameter. pin_retry is outside the allowed range."),
        (PIN | {"pin_retry_wait": 4}, "Invalid parameter. pin_retry_wait is outside the allowed range."),
        (PIN | {"pin_retry_wait": 11}, "Invalid parameter. pin_retry_wait is outside the allowed range."),
        (
            {"create_session_with_single_party": True, "first_party": "", "second_party": ""},
            "Mandatory parameter missing. first_party must be present.",
        ),
        (
            {"create_session_with_single_party": True, "second_party": "", "initiate_call_to_first_party": True},
            "Invalid parameter. initiate_call_to_first_party needs both parties.",
        ),
    ],
)
async def test_a_wrong_argument_is_named_with_its_rule(
    system: System, arguments: dict[str, Any], sentence: str
) -> None:
    assert error_of(await create(system, **arguments)) == (400, sentence)


@pytest.mark.parametrize(
    "written",
    [
        12025550111,
        "12025550111",
        " +12025550111 ",
        "+1 (202) 555-0111",
        "+1.202.555.0111",
        "+1.2025550111",
        "(1) 2025550111",
    ],
)
async def test_a_number_is_taken_as_people_write_it(system: System, written: int | str) -> None:
    assert (await create(system, first_party=written)).json()["session"]["first_party"] == "12025550111"


async def test_every_spelling_of_an_argument_that_sdks_send_is_taken(system: System, keyring: Keyring) -> None:
    async with system.database.transaction() as connection:
        sub = await accounts.create_account(connection, keyring, parent_id=ACCOUNT)
        await accounts.ensure_numbers(connection, sub.auth_id, [("+12025550150", "US")])

    asked = {"is_pin_authentication": True, "generate_pin": True, "pin_prompt_play": PIN["pin_prompt_play"]}
    session = (await create(system, sub_account=sub.auth_id, **asked)).json()["session"]
    assert session["virtual_number"] == "12025550150"
    assert session["is_pin_authentication_required"] is True
    assert session["first_party_pin"]


@pytest.mark.parametrize("empty", [None, ""])
async def test_an_empty_or_other_spelling_does_not_count_beside_the_right_one(
    system: System, empty: str | None
) -> None:
    right, other = "create_session_with_single_party", "create_session_with_single_Party"
    for body in ({right: True, other: empty}, {other: empty, right: True}, {right: True, other: False}):
        created = await system.http.post(f"{system.api}/", json={"first_party": "+12025550101", **body})
        assert created.status_code == 201, body
        await system.http.delete(f"{system.api}/{created.json()['session_uuid']}/")


@pytest.mark.parametrize("more_settings", [{"session_expiry": 900, "call_time_limit": 120, "ring_timeout": 33}])
async def test_settings_change_the_defaults_and_arguments_go_before_them(system: System) -> None:
    session = (await create(system, session_expiry=0, ring_timeout="")).json()["session"]
    assert (session["duration"], session["call_time_limit"], session["ring_timeout"]) == (900, 120, 33)

    given = {"session_expiry": 60, "call_time_limit": 60, "ring_timeout": 5}
    session = (await create(system, **given)).json()["session"]
    assert (session["duration"], session["call_time_limit"], session["ring_timeout"]) == (60, 60, 5)
    assert (await create(system, ring_timeout=600)).json()["session"]["ring_timeout"] == 600


async def test_every_argument_is_taken_kept_and_shown(system: System) -> None:
    given = {
        "session_expiry": 7200, "call_time_limit": 600, "ring_timeout": 30, "record": True, "record_file_format": "wav",
        "callback_url": "http://x.example/a", "callback_method": "GET", "recording_callback_url": "http://x.example/b",
        "recording_callback_method": "GET", "first_party_play_url": "http://x.example/1.mp3",
        "second_party_play_url": "http://x.example/2.mp3", "is_pin_authentication_required": True,
        "first_party_pin": "4711", "second_party_pin": "123456789012345", "pin_prompt_play": "http://x.example/p.wav",
        "pin_retry": 0, "pin_retry_wait": 10, "incorrect_pin_play": "http://x.example/i.MP3?v=1",
        "unknown_caller_play": "http://x.example/u.mp3", "force_pin_authentication": True,
        "virtual_number_cooloff_period": 3600,
    }  # fmt: skip
    created = await create(system, **given)

    assert created.status_code == 201
    session = created.json()["session"]
    assert {key: session[key] for key in given if key != "session_expiry"} == {
        key: value for key, value in given.items() if key != "session_expiry"
    }
    assert (session["duration"], session["generate_pin"]) == (7200, False)
    assert session["generate_pin_length"] == 4


async def test_a_session_without_pins_shows_its_pin_attributes_as_null(system: System) -> None:
    session = (await create(system)).json()["session"]

    names = [
        *("generate_pin", "generate_pin_length", "first_party_pin", "second_party_pin", "pin_prompt_play"),
        *("pin_retry", "pin_retry_wait", "incorrect_pin_play", "force_pin_authentication"),
    ]
    assert [session[name] for name in names] == [None] * len(names)
    assert session["is_pin_authentication_required"] is False


async def test_pins_are_made_when_asked_for_and_differ(system: System) -> None:
    created = await create(system, **PIN, generate_pin="true", generate_pin_length="6")
    session = created.json()["session"]
    again = (await system.http.get(f"{system.api}/{session['session_uuid']}/")).json()["response"]

    pins = (session["first_party_pin"], session["second_party_pin"])
    assert all(re.fullmatch(r"[0-9]{6}", pin) for pin in pins)
    assert pins[0] != pins[1]
    assert (again["first_party_pin"], again["second_party_pin"]) == pins
    assert (again["pin_retry"], again["pin_retry_wait"], again["generate_pin_length"]) == (1, 5, 6)


async def test_pins_that_are_given_need_not_be_made(system: System) -> None:
    """As the Go SDK's own tests create a session."""
    pins = {"first_party_pin": "1234", "second_party_pin": "2435"}
    created = await create(system, **PIN, **pins, generate_pin=True, generate_pin_length=4)

    assert created.status_code == 201
    session = created.json()["session"]
    assert {name: session[name] for name in pins} == pins
    assert session["generate_pin"] is False
    same = await create(system, **PIN, first_party_pin="1234", second_party_pin="1234", generate_pin=True)
    assert error_of(same) == (400, "Invalid parameter. second_party_pin must differ from first_party_pin.")


async def test_live_sessions_on_one_number_never_share_a_pin(system: System) -> None:
    numbers = set()
    for pair in range(3):
        parties = {"first_party": f"+1202555013{pair}", "second_party": f"+1202555014{pair}"}
        created = await create(system, **parties, **PIN, first_party_pin="1234", second_party_pin="5678")
        numbers.add(created.json()["virtual_number"])

    assert len(numbers) == 3
    parties = {"first_party": "+12025550133", "second_party": "+12025550143"}
    clash = await create(system, **parties, **PIN, first_party_pin="1234", second_party_pin="9999")
    assert error_of(clash) == (
        400,
        "A given PIN is in use on every free virtual number. Choose other PINs, or have them generated.",
    )
    made = await create(system, **parties, **PIN, generate_pin=True)
    assert len(made.json()["session"]["first_party_pin"]) == 5, "four digits are too few beside others"


async def test_a_single_party_may_be_joined_later_and_nobody_else_may_be_swapped(system: System) -> None:
    single = (await create(system, create_session_with_single_Party=True, second_party="")).json()["session"]
    assert (single["first_party"], single["second_party"]) == ("12025550101", "")
    assert single["create_session_with_single_party"] is True

    one = f"{system.api}/{single['session_uuid']}/"
    same = await system.http.post(one, json={"second_party": "+12025550101"})
    assert error_of(same) == (400, "Invalid parameter. second_party must differ from first_party.")
    joined = (await system.http.post(one, json={"second_party": "+12025550177"})).json()["session"]
    assert joined["second_party"] == "12025550177"
    listed = (await system.http.get(f"{system.api}/", params={"second_party": "12025550177"})).json()["response"]
    assert [found["session_uuid"] for found in listed["objects"]] == [single["session_uuid"]]

    pair = (await create(system)).json()["session"]
    update = await system.http.post(f"{system.api}/{pair['session_uuid']}/", json={"second_party": "+12025550177"})
    assert update.json()["session"]["second_party"] == "12025550102"
    ignored = {"first_party": "twelve", "ring_timeout": 30}
    update = await system.http.post(f"{system.api}/{pair['session_uuid']}/", json=ignored)
    assert (update.json()["session"]["first_party"], update.json()["session"]["ring_timeout"]) == ("12025550101", 30)
    assert error_of(await system.http.post(one, json={"first_party": "twelve"})) == (
        400,
        "Invalid parameter. first_party is not a valid phone number.",
    )


async def test_a_party_whom_another_session_holds_on_the_number_cannot_join(system: System) -> None:
    # Both of these get the first number of the pool: they share no party.
    single = (await create(system, create_session_with_single_party=True, second_party="")).json()["session"]
    other = {"first_party": "+12025550131", "second_party": "+12025550132"}
    pair = (await create(system, **other)).json()["session"]
    assert pair["virtual_number"] == single["virtual_number"]

    joined = await system.http.post(f"{system.api}/{single['session_uuid']}/", json={"second_party": "+12025550131"})
    assert error_of(joined) == (
        400,
        "Another session holds this party on the session's virtual number; create a new session.",
    )
    left = (await system.http.get(f"{system.api}/{single['session_uuid']}/")).json()["response"]
    assert left["second_party"] == ""


async def test_sessions_open_to_anyone_and_sessions_that_ask_for_pins_never_share_a_number(system: System) -> None:
    parties = [{"first_party": f"+1202555013{n}", "second_party": f"+1202555014{n}"} for n in range(4)]
    single = {"create_session_with_single_party": True}
    opened = await create(system, **single, first_party="+12025550130", second_party="")
    also_open = await create(system, **single, first_party="+12025550131", second_party="")
    asking = await create(system, **parties[2], **PIN, generate_pin=True)
    also_asking = await create(system, **parties[3], **PIN, generate_pin=True)

    numbers = [answer.json()["virtual_number"] for answer in (opened, also_open, asking, also_asking)]
    assert numbers[2] == numbers[3]
    assert len(set(numbers)) == 3


async def test_the_number_is_of_the_country_of_the_first_or_only_party_unless_told_otherwise(system: System) -> None:
    indian = "+919003459051"
    first = await create(system, first_party=indian)
    only_second = await create(
        system, first_party=None, second_party="+919003459052", create_session_with_single_party=True
    )
    nowhere = await create(system, first_party="+4930901820")
    anywhere = await create(system, first_party="+4930901820", geo_match="false")

    assert first.json()["virtual_number"] == "+912269947011"
    assert only_second.json()["virtual_number"] == "+912269947011"
    assert error_of(nowhere) == (400, "Number pool exhausted or not available.")
    assert anywhere.status_code == 201


async def test_a_party_whose_country_has_no_number_gets_one_with_its_country_code(system: System) -> None:
    canadian = await create(system, first_party="+14165550123")
    also_canadian = await create(system, first_party="+14165550124", geomatch=True)

    assert canadian.json()["virtual_number"] == "+12025550199"
    assert also_canadian.status_code == 201


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
