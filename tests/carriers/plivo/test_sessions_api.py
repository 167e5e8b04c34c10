"""What we send to Plivo, and what we make of every answer that it may give."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from masking.carriers.errors import CarrierError, CarrierRefused, CarrierUnavailable, OutcomeUnknown
from masking.carriers.leave import FreeLeave
from masking.carriers.plivo.arguments import create_arguments, update_arguments
from masking.carriers.plivo.configured import plivo_auth, plivo_credentials
from masking.carriers.plivo.session_resource import read_session
from masking.carriers.plivo.sessions_api import SessionsApi
from masking.domain.counterpart.following import opened_at_carrier
from masking.domain.lifecycle import requested
from masking.domain.terms import Change, PinTerms, Terms
from masking.domain.wire_format import plivo_time
from masking.errors import StartupError
from masking.settings import Settings
from tests.carriers.plivo.truth import PLIVO_UUID, Talk, Truth
from tests.domain.conversation import FIRST, SECOND, START, VIRTUAL, request

pytestmark = pytest.mark.anyio

AUTH_ID, TOKEN = "MAPLIVOPLIVOPLIVO000", "a-token-of-plivos"
CALLBACKS = "https://masking.example/carrier/plivo/sessions/ours/secret"
SESSION = Truth([Talk(10)], expired=False).resource() | {"callback_url": CALLBACKS}

Answering = Callable[[httpx.Request], httpx.Response]


def written(answer: Any) -> bytes:
    return json.dumps(answer, default=float).encode()


def api(answer: Answering) -> SessionsApi:
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return SessionsApi(http, "https://api.plivo.com", AUTH_ID, TOKEN)


def answering(status: int, body: Any, asked: list[httpx.Request] | None = None) -> SessionsApi:
    def answer(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(request)
        return httpx.Response(status, content=body if isinstance(body, bytes) else written(body))

    return api(answer)


def failing(error: type[httpx.HTTPError]) -> SessionsApi:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("no") if not issubclass(error, httpx.RequestError) else error("no", request=request)

    return api(answer)


async def test_a_create_says_what_was_agreed_and_hears_what_was_made() -> None:
    asked: list[httpx.Request] = []
    terms = Terms(
        first_party=FIRST,
        second_party=SECOND,
        call_time_limit=600,
        ring_timeout=60,
        record=True,
        callback_url="https://customer.example/events",
        virtual_number_cooloff_period=60,
        pin=PinTerms(generate=True, generate_length=6, prompt_play="https://customer.example/pin.mp3"),
    )
    session = requested(request().model_copy(update={"terms": terms, "carrier": "plivo"}), START)

    made = await answering(201, {"session": SESSION}, asked).create(create_arguments(session, 3600, CALLBACKS))

    assert (asked[0].method, str(asked[0].url)) == (
        "POST",
        f"https://api.plivo.com/v1/Account/{AUTH_ID}/Masking/Session/",
    )
    assert asked[0].headers["Content-Type"] == "application/json"
    assert asked[0].headers["Authorization"] == httpx.BasicAuth(AUTH_ID, TOKEN)._auth_header
    assert json.loads(asked[0].content) == {
        "first_party": FIRST,
        "second_party": SECOND,
        "session_expiry": 3600,
        "call_time_limit": 600,
        "ring_timeout": 60,
        "record": True,
        "record_file_format": "mp3",
        "geomatch": True,
        "initiate_call_to_first_party": False,
        "virtual_number_cooloff_period": 60,
        "is_pin_authentication_required": True,
        "generate_pin": True,
        "generate_pin_length": 6,
        "pin_prompt_play": "https://customer.example/pin.mp3",
        "pin_retry": 1,
        "pin_retry_wait": 5,
        "callback_url": CALLBACKS,
        "callback_method": "POST",
        "recording_callback_url": CALLBACKS,
        "recording_callback_method": "POST",
    }
    assert (made.session_uuid, made.virtual_number, made.expired) == (PLIVO_UUID, VIRTUAL, False)
    assert made.interactions[0].amount == Decimal("0.034")
    assert (made.interactions[0].first_leg_uuid, made.interactions[0].second_leg_uuid) == ("leg-1-b", "leg-1-a")


@pytest.mark.parametrize("duration", [3599, 3600])
def test_a_session_is_as_long_as_plivo_says_though_it_cuts_off_fractions(duration: int) -> None:
    told = read_session(SESSION | {"duration": duration})
    session = requested(request().model_copy(update={"carrier": "plivo"}), START)
    opened = opened_at_carrier(session, told, 3).session
    assert opened.duration == duration
    shown = (plivo_time(opened.created_at), plivo_time(opened.expires_at))
    assert shown == (SESSION["created_time"], SESSION["expiry_time"])


def test_an_update_says_what_changes_and_keeps_the_customers_urls_from_plivo() -> None:
    change = Change(record=False, callback_url="https://customer.example/other", second_party=SECOND)
    assert update_arguments(change, single_party=False) == {"record": False}
    assert update_arguments(change, single_party=True) == {"record": False, "second_party": SECOND}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": "Invalid parameter. first_party is not a valid phone number."}, CarrierRefused),
        (401, {"error": "authentication failed"}, CarrierRefused),
        (403, {"error": "forbidden"}, CarrierRefused),
        (404, {"error": "not found"}, CarrierRefused),
        (405, b"", CarrierRefused),
        (429, {"error": "rate limit exceeded"}, CarrierUnavailable),
        (500, {"error": "Internal server error."}, OutcomeUnknown),
        (503, b"<html>", OutcomeUnknown),
        (201, b"<html>", OutcomeUnknown),
        (201, {"message": "Session created"}, OutcomeUnknown),
        (201, {"session": {"session_uuid": "x"}}, OutcomeUnknown),
    ],
)
async def test_each_answer_to_a_create_tells_whether_trying_again_is_safe(
    status: int, body: Any, error: type[CarrierError]
) -> None:
    with pytest.raises(error) as raised:
        await answering(status, body).create({})
    said = body.get("error") if isinstance(body, dict) else None
    assert said is None or error is not CarrierRefused or said in str(raised.value)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (httpx.ConnectError, CarrierUnavailable),
        (httpx.ConnectTimeout, CarrierUnavailable),
        (httpx.ReadTimeout, OutcomeUnknown),
        (httpx.RemoteProtocolError, OutcomeUnknown),
    ],
)
async def test_a_connection_that_fails_tells_whether_something_may_have_been_done(
    fault: type[httpx.HTTPError], error: type[CarrierError]
) -> None:
    with pytest.raises(error):
        await failing(fault).create({})
    # Looking does nothing.
    with pytest.raises(CarrierUnavailable):
        await failing(fault).retrieve(PLIVO_UUID)


async def test_a_refusal_is_told_without_the_number_in_it() -> None:
    with pytest.raises(CarrierRefused) as raised:
        await answering(400, {"error": f"{FIRST} is blocked; call 12025550101 again"}).create({})
    assert "is blocked" in str(raised.value)
    assert "2025550101" not in str(raised.value)


async def test_a_session_is_found_by_its_callback_url_on_whichever_page() -> None:
    others = [SESSION | {"callback_url": f"https://masking.example/{n}"} for n in range(20)]
    pages = {"0": others, "20": [*others[:3], SESSION]}
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = pages[request.url.params["offset"]]
        return httpx.Response(200, content=written({"response": {"meta": {}, "objects": found}}))

    parties = {"first_party": FIRST, "second_party": ""}
    found = await api(answer).find(CALLBACKS, parties, START)

    assert [told.session_uuid for told in found] == [PLIVO_UUID]
    assert dict(asked[0].url.params) == {
        "first_party": FIRST[1:],
        "created_time__gte": "2026-11-23 14:00:00",
        "limit": "20",
        "offset": "0",
    }


async def test_a_session_that_has_ended_already_is_as_good_as_ended() -> None:
    await answering(400, {"error": "Session already expired."}).expire(PLIVO_UUID)
    with pytest.raises(CarrierRefused):
        await answering(404, {"error": "not found"}).expire(PLIVO_UUID)


async def test_every_request_is_admitted_first() -> None:
    class NoLeave(FreeLeave):
        asked = 0

        async def to_ask(self) -> None:
            self.asked += 1
            raise CarrierUnavailable("too many requests of ours")

    leave = NoLeave()
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: pytest.fail(f"{request.method} was sent")))
    limited = SessionsApi(http, "https://api.plivo.com", AUTH_ID, TOKEN, leave)
    with pytest.raises(CarrierUnavailable):
        await limited.retrieve(PLIVO_UUID)
    assert leave.asked == 1


def test_plivo_without_credentials_is_one_clear_line() -> None:
    for given in ({"carrier": "plivo"}, {"plivo_auth_id": AUTH_ID}, {"plivo_auth_token": TOKEN}):
        with pytest.raises(StartupError, match=r"^MASKING_PLIVO_AUTH_(ID|TOKEN) is not set"):
            plivo_credentials(Settings.model_validate(given))
    assert plivo_credentials(Settings()) is None


def test_nobody_but_plivos_api_gets_its_credentials() -> None:
    settings = Settings.model_validate({"plivo_auth_id": AUTH_ID, "plivo_auth_token": TOKEN})
    assert plivo_auth(settings, "https://api.plivo.com/v1/Account/x/Recording/y.mp3") is not None
    assert plivo_auth(settings, "https://api.plivo.com.evil.example/y.mp3") is None
    assert plivo_auth(settings, "https://media.plivo.com/y.mp3") is None
