"""What every carrier promises whoever asks it, those that carry calls and the one that masks; docs/carriers.md."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import httpx
import pytest
from aiohttp import web

from masking.carriers import check as checking
from masking.carriers.errors import (
    CarrierError,
    CarrierRefused,
    CarrierUnavailable,
    CredentialsRefused,
    OutcomeUnknown,
)
from masking.carriers.leave import Leave, SharedLeave, account_of
from masking.carriers.rest import carriers_http
from masking.domain.pace import Pace
from masking.ports import all_let_in, serving
from masking.privacy.keyring import Keyring
from masking.storage import carrier_turns
from masking.storage.carrier_turns import Breaker
from masking.storage.database import Database
from tests.carriers.every_carrier import AUTH_ID, EVERY_CARRIER, PARTY, TOKEN, Kind
from tests.integration.conftest import free_port
from tests.storage.test_carrier_turns import rest_ends

pytestmark = pytest.mark.anyio

PLENTY = Pace(10_000, timedelta(seconds=1))
URL = "http://carrier.example"
REFUSAL = f"The number {PARTY} is not allowed here; ask for {PARTY[1:]} again."
Fault = httpx.Response | httpx.HTTPError


class Answers:
    """The carrier's end: answers everything alike, and keeps what it was asked."""

    def __init__(self, answer: Fault) -> None:
        self.answer = answer
        self.asked: list[httpx.Request] = []

    def take(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if isinstance(self.answer, httpx.HTTPError):
            raise self.answer
        return self.answer

    def http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self.take))


@pytest.fixture(params=EVERY_CARRIER)
def kind(request: pytest.FixtureRequest) -> Kind:
    return EVERY_CARRIER[request.param]


@pytest.fixture
def leave(database: Database, keyring: Keyring) -> Callable[..., Leave]:
    def made(requests: Pace = PLENTY, breaker: Breaker | None = None) -> Leave:
        return SharedLeave(database, account_of(keyring, AUTH_ID, TOKEN), requests, PLENTY, breaker)

    return made


async def test_a_refusal_is_told_at_once_in_its_words_without_numbers(kind: Kind) -> None:
    answers = Answers(httpx.Response(400, json={"api_id": "x", "error": REFUSAL}))
    client = kind.client(answers.http(), URL, None)
    for number, (name, ask) in enumerate(kind.all.items(), 1):
        if name in kind.takes_no_for_an_answer:
            assert await ask(client) is None
        else:
            with pytest.raises(CarrierRefused, match=r"refused with 400: The number .* is not allowed here") as raised:
                await ask(client)
            assert type(raised.value) is CarrierRefused
            assert PARTY[1:] not in str(raised.value)
        assert len(answers.asked) == number, "once"


@pytest.mark.parametrize(
    "fault",
    [
        httpx.Response(500, json={"error": "server error"}),
        httpx.Response(503, text="<html>"),
        httpx.Response(408),
        httpx.ReadTimeout(""),
        httpx.RemoteProtocolError("cut"),
        httpx.ReadError("cut"),
    ],
    ids=str,
)
async def test_what_fails_may_have_been_done_unless_it_was_a_look(kind: Kind, fault: Fault) -> None:
    client = kind.client(Answers(fault).http(), URL, None)
    for name, ask in kind.all.items():
        expected = CarrierUnavailable if name in kind.looks else OutcomeUnknown
        with pytest.raises(CarrierError) as raised:
            await ask(client)
        assert type(raised.value) is expected, name


@pytest.mark.parametrize(
    "fault", [httpx.ConnectError("refused"), httpx.ConnectTimeout(""), httpx.PoolTimeout("")], ids=str
)
async def test_what_cannot_be_reached_did_nothing(kind: Kind, fault: Fault) -> None:
    client = kind.client(Answers(fault).http(), URL, None)
    for ask in kind.all.values():
        with pytest.raises(CarrierUnavailable, match="cannot be reached"):
            await ask(client)


async def test_a_carrier_that_takes_no_more_requests_did_nothing_and_says_when_it_will(kind: Kind) -> None:
    client = kind.client(Answers(httpx.Response(429, headers={"Retry-After": "7"})).http(), URL, None)
    for ask in kind.all.values():
        with pytest.raises(CarrierUnavailable) as raised:
            await ask(client)
        assert raised.value.retry_after == timedelta(seconds=7)


async def test_an_answer_that_is_none_to_what_was_to_be_made_leaves_that_unknown(kind: Kind) -> None:
    for answer in (httpx.Response(201, text="<html>"), httpx.Response(201, json=[]), httpx.Response(201, json={})):
        with pytest.raises(OutcomeUnknown):
            await kind.makes(kind.client(Answers(answer).http(), URL, None))


async def test_a_carrier_that_stalls_is_not_waited_for(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masking.carriers.rest.TIMEOUT_S", 0.3)

    async def stall(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stalled.wait()
        writer.close()

    stalled, port = asyncio.Event(), free_port()
    async with await asyncio.start_server(stall, "127.0.0.1", port):
        async with carriers_http() as http, asyncio.timeout(60):
            client = kind.client(http, f"http://127.0.0.1:{port}", None)
            ended = await asyncio.gather(*(ask(client) for ask in kind.all.values()), return_exceptions=True)
        stalled.set()
        await all_let_in()
    assert {type(each) for each in ended} == {OutcomeUnknown, CarrierUnavailable}
    assert all("did not answer: ReadTimeout" in str(each) for each in ended)


async def test_credentials_that_are_not_taken_stop_everything_loudly_and_once(
    kind: Kind, leave: Callable[..., Leave], database: Database, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    for name, ask in kind.all.items():
        answers = Answers(httpx.Response(401, json={"error": f"authentication failed for {TOKEN}"}))
        processes = [kind.client(answers.http(), URL, leave()) for _ in range(2)]
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            with pytest.raises(CredentialsRefused, match="refused with 401"):
                await ask(processes[0])
            for process in processes:
                for other in kind.all.values():
                    with pytest.raises(CredentialsRefused, match="does not take our credentials: it refused with 401"):
                        await other(process)
        assert len(answers.asked) == 1, name
        assert [record.getMessage().split(" (")[0] for record in caplog.records] == [
            f"the carrier does not take the credentials of {AUTH_ID}"
        ]
        async with database.transaction() as connection:
            assert await carrier_turns.resume(connection, account_of(keyring, AUTH_ID, TOKEN))


async def test_limits_of_requests_are_kept_whatever_is_asked(kind: Kind, leave: Callable[..., Leave]) -> None:
    answers = Answers(httpx.Response(404))
    client = kind.client(answers.http(), URL, leave(Pace(1, timedelta(minutes=1))))
    with pytest.raises(CarrierError):
        await kind.makes(client)
    for ask in kind.all.values():
        with pytest.raises(CarrierUnavailable, match="the limit of requests that the carrier allows") as raised:
            await ask(client)
        assert raised.value.retry_after is not None
        assert raised.value.retry_after > timedelta(seconds=50)
    assert len(answers.asked) == 1


async def test_a_carrier_that_fails_rests_whatever_is_asked_and_is_tried_once(
    kind: Kind, leave: Callable[..., Leave], database: Database
) -> None:
    answers = Answers(httpx.Response(503))
    one, other = (kind.client(answers.http(), URL, leave(breaker=Breaker(4, timedelta(hours=1)))) for _ in range(2))
    for ask, client in zip(list(kind.all.values())[:4], (one, other, one, other), strict=True):
        with pytest.raises(CarrierError, match="failed with 503"):
            await ask(client)
    for ask in kind.all.values():
        with pytest.raises(
            CarrierUnavailable, match=r"has failed 4 times in a row, and is not asked for 3\d+ s"
        ) as raised:
            await ask(other)
        assert raised.value.retry_after is not None
    assert len(answers.asked) == 4
    await rest_ends(database)
    answers.answer = httpx.Response(429)
    for ask in kind.all.values():
        with pytest.raises(CarrierUnavailable, match="takes no more requests"):
            await ask(one)


FAULTS: tuple[Fault, ...] = (
    httpx.Response(400, json={"error": f"{TOKEN} {REFUSAL}"}),
    httpx.Response(403, json={"error": f"no credentials: Basic {TOKEN}"}),
    httpx.Response(500, text=TOKEN),
    httpx.Response(200, json={"error": TOKEN}),
    httpx.ConnectError(f"{AUTH_ID}:{TOKEN}@{URL} {PARTY}"),
    httpx.ReadError(f"{TOKEN} {PARTY}"),
)


async def test_credentials_go_in_their_header_alone_and_no_error_or_log_tells_them_or_a_number(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []
    with caplog.at_level(logging.DEBUG, logger="masking"):
        for fault in FAULTS:
            answers = Answers(fault)
            client = kind.client(answers.http(), URL, None)
            for ask in kind.all.values():
                try:
                    said.append(repr(await ask(client)))
                except CarrierError as error:
                    said.append(f"{error!r} {error.__cause__!r}")
            for request in answers.asked:
                login = httpx.BasicAuth(AUTH_ID, TOKEN)._auth_header
                assert request.headers["Authorization"] == login
                assert TOKEN not in str(request.url) + request.content.decode()
    told = " ".join(said) + caplog.text
    assert len(said) == len(FAULTS) * len(kind.all)
    assert TOKEN not in told
    assert PARTY[1:] not in told


@pytest.fixture
async def account(kind: Kind) -> AsyncIterator[tuple[str, dict[str, int]]]:
    """An account at the carrier: its URL, and how parts of it answer instead."""
    instead = dict[str, int]()

    async def answer(request: web.Request) -> web.Response:
        path = request.path.removeprefix(f"{kind.accounts}{AUTH_ID}/")
        if path in instead:
            return web.json_response({"error": "authentication failed"}, status=instead[path])
        about = {"auth_id": AUTH_ID, "name": "ours", "cash_credits": "12.50", "auto_recharge": False}
        number = {"number": "12025550199", "application": "/v1/Account/x/Application/7/"}
        application = {"app_id": "7", "answer_url": "https://masking.example/carrier/voice/answer"}
        found = {"Number/": [number], "Application/": [application]}.get(path, [])
        return web.json_response(about if not path else {"objects": found, "meta": {"total_count": len(found)}})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with serving(app, free_port()) as url:
        yield url, instead


async def test_a_check_tells_step_by_step_whether_it_works(
    kind: Kind, account: tuple[str, dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "TIMEOUT_S", 2.0)
    url, instead = account

    async def steps(of: str = url) -> dict[str, tuple[str, str]]:
        async with carriers_http() as http:
            return {step.name: (step.outcome, step.told) async for step in kind.checked(http, of)}

    well = await steps()
    assert list(well)[:3] == ["connection", "credentials", "balance"]
    assert {outcome for outcome, _ in well.values()} == {"ok"}
    assert well["webhooks"][1].startswith("https://masking.example")
    assert TOKEN not in str(well)

    instead[""] = 401
    refused = await steps()
    assert list(refused) == ["connection", "credentials"]
    assert refused["credentials"] == ("failed", "the carrier refused with 401: authentication failed")
    nowhere = await steps(f"http://127.0.0.1:{free_port()}")
    assert list(nowhere) == ["connection"]
    assert nowhere["connection"][0] == "failed"
    assert "need https://" in (await steps("http://carrier.example"))["connection"][1]
