"""What a carrier's errors mean, and what they may say; and that credentials it does not take stop everything, once."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from temporalio.testing import ActivityEnvironment

from activities.carrier import later
from masking.carriers.errors import (
    CarrierError,
    CarrierRefused,
    CarrierResting,
    CarrierUnavailable,
    CredentialsRefused,
    OutcomeUnknown,
)
from masking.carriers.leave import SharedLeave, account_of, breaker_of
from masking.carriers.protocol import CallOrder
from masking.carriers.voice.calls_api import CallsApi
from masking.domain.pace import Pace
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from masking.storage.carrier_turns import Breaker
from masking.storage.database import Database
from tests.storage.test_carrier_turns import rest_ends

pytestmark = pytest.mark.anyio

AUTH_ID, TOKEN = "MACARRIER00000000000", "the-token"
ORDER = CallOrder(
    "+12025550199", "+12025550101", "https://x.example/a", "https://x.example/h", "https://x.example/f", 30, 60
)
PLENTY = Pace(1000, timedelta(seconds=1))


class Carrier:
    """Answers as it is told, and counts what it was asked."""

    def __init__(self, *answers: httpx.Response | httpx.HTTPError) -> None:
        self.answers, self.asked = list(answers), 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return answer

    def api(self, leave: SharedLeave | None = None) -> CallsApi:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        return CallsApi(http, "http://carrier.example", AUTH_ID, TOKEN, leave)


def refusal(status: int, error: object = None, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"api_id": "x", "error": error}, headers=headers)


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (refusal(400, "to +12025550101 is not valid"), CarrierRefused, "refused with 400: to [removed] is not valid"),
        (refusal(400, "to 2025550 is invalid"), CarrierRefused, "refused with 400: to [removed] is invalid"),
        (refusal(400, {"error": "no such\nthing"}), CarrierRefused, "refused with 400: no such thing"),
        (refusal(400, ["odd"]), CarrierRefused, "the carrier refused with 400"),
        (httpx.Response(402, text="<html>"), CarrierRefused, "the carrier refused with 402"),
        (refusal(403, "Insufficient permission to call IN"), CarrierRefused, "403: Insufficient permission to call IN"),
        (refusal(403, "invalid auth_token"), CredentialsRefused, "refused with 403: invalid auth_token"),
        (refusal(401, "authentication failed"), CredentialsRefused, "refused with 401: authentication failed"),
        (refusal(302), CarrierRefused, "the carrier refused with 302"),
        (refusal(408), OutcomeUnknown, "the carrier failed with 408"),
        (refusal(500, "server error"), OutcomeUnknown, "the carrier failed with 500: server error"),
        (httpx.ReadTimeout(""), OutcomeUnknown, "the carrier did not answer: ReadTimeout"),
        (httpx.RemoteProtocolError(""), OutcomeUnknown, "the carrier did not answer: RemoteProtocolError"),
        (httpx.ConnectError(""), CarrierUnavailable, "the carrier cannot be reached"),
        (httpx.PoolTimeout(""), CarrierUnavailable, "the carrier cannot be reached"),
    ],
)
async def test_each_fault_is_of_a_kind_and_told_in_the_carriers_words_without_numbers(
    answer: httpx.Response | httpx.HTTPError, error: type[CarrierError], told: str
) -> None:
    carrier = Carrier(answer)
    with pytest.raises(error) as raised:
        await carrier.api().place(ORDER)
    assert type(raised.value) is error
    assert told in str(raised.value)
    assert carrier.asked == 1


async def test_a_carrier_that_takes_no_more_says_when_it_will() -> None:
    with pytest.raises(CarrierUnavailable) as raised:
        await Carrier(refusal(429, **{"Retry-After": "7"})).api().place(ORDER)
    assert raised.value.retry_after == timedelta(seconds=7)
    with pytest.raises(CarrierUnavailable) as raised:
        await Carrier(refusal(429, **{"Retry-After": "99999"})).api().place(ORDER)
    assert raised.value.retry_after == timedelta(minutes=5)


@pytest.mark.parametrize(("seconds", "attempt", "delay"), [(3, 1, 3), (3, 3, 12), (3, 9, 60), (200, 4, 200)])
def test_whoever_is_turned_away_again_comes_back_later_each_time(seconds: int, attempt: int, delay: int) -> None:
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, attempt=attempt)
    failure = environment.run(later, CarrierUnavailable("used up", timedelta(seconds=seconds)))
    assert failure.next_retry_delay == timedelta(seconds=delay)
    assert not failure.non_retryable
    assert environment.run(later, CarrierUnavailable("away")).next_retry_delay is None, "as the retry policy says"
    rests = environment.run(later, CarrierResting("it rests", timedelta(seconds=seconds)))
    assert (rests.type, rests.next_retry_delay) == ("CarrierResting", timedelta(seconds=seconds))


def leave(
    database: Database, keyring: Keyring, token: str = TOKEN, calls: Pace = PLENTY, breaker: Breaker | None = None
) -> SharedLeave:
    return SharedLeave(database, account_of(keyring, AUTH_ID, token), PLENTY, calls, breaker)


async def test_credentials_that_are_not_taken_stop_all_processes_with_one_line(
    database: Database, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    carrier = Carrier(refusal(401, "authentication failed"))
    processes = [carrier.api(leave(database, keyring)) for _ in range(4)]
    with caplog.at_level(logging.ERROR):
        told = await asyncio.gather(*(each.find_call("c") for each in processes), return_exceptions=True)
        asked = carrier.asked
        assert asked >= 1
        for each in processes:
            with pytest.raises(CredentialsRefused, match="does not take our credentials: it refused with 401"):
                await each.place(ORDER)
    assert {type(each) for each in told} == {CredentialsRefused}
    assert carrier.asked == asked, "refused without asking"
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [
        f"the carrier does not take the credentials of {AUTH_ID}"
    ]
    assert TOKEN not in caplog.text

    carrier.answers = [httpx.Response(404)]
    assert await carrier.api(leave(database, keyring, "another token")).find_call("c") is None


async def test_calls_wait_for_their_own_turns_and_then_for_temporal(database: Database, keyring: Keyring) -> None:
    carrier = Carrier(httpx.Response(201, json={"request_uuid": "r"}))
    slow = carrier.api(leave(database, keyring, calls=Pace(1, timedelta(seconds=60))))
    assert await slow.place(ORDER) == "r"
    with pytest.raises(CarrierUnavailable, match="the limit of calls that the carrier allows is used up for") as raised:
        await slow.place(ORDER)
    assert raised.value.retry_after is not None
    assert raised.value.retry_after > timedelta(seconds=50)
    assert carrier.asked == 1
    carrier.answers = [httpx.Response(404)]
    assert await slow.find_call("c") is None, "other requests do not wait for calls"


BREAKER = Breaker(3, timedelta(hours=1))
DOWN = (refusal(503), refusal(408), httpx.ReadTimeout(""), httpx.ConnectError(""))


async def test_after_failures_in_a_row_all_processes_fail_at_once_until_one_has_tried(
    database: Database, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    carrier = Carrier(*DOWN[1:])
    one, other = (carrier.api(leave(database, keyring, breaker=BREAKER)) for _ in range(2))
    with caplog.at_level(logging.INFO):
        for api in (one, other, one):
            with pytest.raises(CarrierUnavailable, match=r"did not answer|cannot be reached|failed with 408") as raised:
                await api.find_call("c")
            assert raised.value.retry_after is None
        for ask in (one.find_call("c"), other.legs_of("c"), one.place(ORDER)):
            with pytest.raises(
                CarrierUnavailable, match=r"has failed 3 times in a row, and is not asked for 3\d+ s"
            ) as raised:
                await ask
            assert raised.value.retry_after is not None
            assert timedelta(0) < raised.value.retry_after <= BREAKER.rest
        assert carrier.asked == 3

        await rest_ends(database)
        tried = await asyncio.gather(*(each.find_call("c") for each in (one, other) * 3), return_exceptions=True)
        assert [str(each) for each in tried].count("the carrier cannot be reached") == 1
        assert carrier.asked == 4, "one has tried it, for all"

        await rest_ends(database)
        carrier.answers = [httpx.Response(404)]
        assert await other.find_call("c") is None
        assert await one.find_call("c") is None
    said = [record.getMessage() for record in caplog.records if record.name == "masking.carriers.leave"]
    assert said == [
        f"the carrier has failed 3 times in a row for {AUTH_ID}: it rests for 3600 s, and is tried once then",
        f"the carrier works again for {AUTH_ID}",
    ]


@pytest.mark.parametrize(
    "between", [refusal(429), refusal(400, "no"), refusal(404), httpx.Response(200, text="<html>")]
)
async def test_whatever_a_carrier_answers_it_is_there(
    database: Database, keyring: Keyring, between: httpx.Response
) -> None:
    carrier = Carrier(*DOWN[:2], between, *DOWN[:2], between)
    api = carrier.api(leave(database, keyring, breaker=BREAKER))
    for _ in range(6):
        with pytest.raises(CarrierError) as raised:
            await api.recordings_of("c")
        assert "in a row" not in str(raised.value)
    assert carrier.asked == 6


async def test_a_breaker_that_is_off_never_rests(database: Database, keyring: Keyring) -> None:
    carrier = Carrier(refusal(503))
    api = carrier.api(leave(database, keyring))
    for _ in range(10):
        with pytest.raises(CarrierUnavailable, match="failed with 503"):
            await api.find_call("c")
    assert carrier.asked == 10
    assert breaker_of(Settings(carrier_failures=0)) is None
    assert breaker_of(Settings()) == Breaker(5, timedelta(seconds=10))
