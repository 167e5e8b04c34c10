"""What every carrier promises a session, those that carry its calls and the one that masks it; docs/carriers.md.

A session has its carrier make something at once: a call to the first party, or a session at Plivo.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiohttp import web
from pydantic import SecretStr
from temporalio.client import Client

from masking.carriers import chosen, rest
from masking.carriers.plivo.callbacks import session_path
from masking.carriers.signature import signed_headers
from masking.carriers.simulator.phones import Behaviour
from masking.contract import session_workflow_id
from masking.gateway.metrics import Metrics
from masking.ports import serving
from masking.privacy.keyring import Keyring
from masking.process import OURS
from masking.settings import Settings
from tests.carriers.every_carrier import EVERY_CARRIER
from tests.carriers.plivo.stub import PlivoStub
from tests.carriers.similar import SimilarApi, SimilarWebhooks, similar_front, similar_headers
from tests.integration.between import Between
from tests.integration.conftest import CARRIER_TOKEN, Receiver, System, free_port
from tests.integration.conftest import settings as usual_settings
from tests.integration.telephone import Telephone, speed, telephone
from tests.integration.test_masked_by_plivo import in_the_clear

__all__ = ["speed", "telephone", "usual_settings"]
pytestmark = [pytest.mark.anyio, pytest.mark.long]

AUTH_ID, PLIVO_TOKEN = "MAPLIVOPLIVOPLIVO000", "what-plivo-signs-with-and-is-signed-in-with"
REFUSAL = "The number +12025550101 is not allowed here."


@pytest.fixture(params=EVERY_CARRIER)
def carrier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def masks(carrier: str) -> bool:
    """Whether it masks."""
    return carrier == "plivo"


@pytest.fixture
def between(masks: bool) -> Between:
    return Between(free_port(), f"http://127.0.0.1:{free_port()}", "/Masking/Session/" if masks else "/Call/")


@pytest.fixture
def patience() -> float:
    """After so many seconds without an answer the carrier has stalled."""
    return rest.TIMEOUT_S


@pytest.fixture
def settings(
    usual_settings: Settings,
    between: Between,
    carrier: str,
    masks: bool,
    patience: float,
    monkeypatch: pytest.MonkeyPatch,
) -> Settings:
    monkeypatch.setattr(rest, "TIMEOUT_S", patience)
    if carrier == "one that is similar":
        monkeypatch.setattr(chosen, "CallsApi", SimilarApi)
        monkeypatch.setattr(chosen, "PlivoWebhooks", SimilarWebhooks)
    url = f"http://127.0.0.1:{between.port}"
    chosen_by = (
        {"carrier": "plivo", "plivo_api_url": url, "plivo_auth_id": AUTH_ID, "plivo_auth_token": SecretStr(PLIVO_TOKEN)}
        if masks
        else {"carrier_api_url": url}
    )
    return usual_settings.model_copy(update={"carrier_failures": 3, "carrier_rest": 2.0, **chosen_by})


@dataclass
class World:
    """The service, its carrier, and what stands between."""

    system: System
    between: Between
    telephone: Telephone
    stub: PlivoStub | None
    headers: Any
    receiver: Receiver

    def begin(self, pair: int = 0, *, calls: bool = True) -> asyncio.Task[httpx.Response]:
        """Create a session for which the carrier makes something: one of its own, or a call, unless none is wanted."""
        body = {
            "first_party": f"+1202555{pair:02}01",
            "second_party": f"+1202555{pair:02}02",
            "callback_url": self.receiver.url,
            "initiate_call_to_first_party": calls and self.stub is None,
        }
        return asyncio.create_task(self.system.http.post(f"{self.system.api}/", json=body, timeout=70))

    async def told(self, begun: asyncio.Task[httpx.Response]) -> str:
        """What is told of how it went: to whoever asked, or in the session's story."""
        answer = await begun
        if self.stub is not None:
            return answer.text
        uuid = answer.json()["session_uuid"]
        async with asyncio.timeout(60):
            while "could not be called" not in (story := await self.system.sessions.story(uuid)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return story

    async def made(self) -> int:
        """So many calls were placed, or sessions are alive at Plivo."""
        if self.stub is not None:
            return sum(not made.ended for made in self.stub.sessions.values())
        return len(await self.telephone.phones.calls())

    async def is_made(self, times: int) -> None:
        async with asyncio.timeout(60):
            while await self.made() < times:  # noqa: ASYNC110 it is across HTTP
                await asyncio.sleep(0.05)
        assert await self.made() == times

    def webhook(self, session: dict[str, Any], keyring: Keyring) -> tuple[str, dict[str, str]]:
        """What the carrier tells: where, and what."""
        first, number = session["first_party"], session["virtual_number"]
        if self.stub is None:
            return "/carrier/voice/answer", {"CallUUID": str(uuid4()), "From": first, "To": number}
        told = {"EventName": "SessionFirstPartyAnswer", "From": first, "To": session["second_party"]}
        return session_path(keyring, session["session_uuid"]), told | {"SequenceNumber": "1"}

    async def tells(self, path: str, form: dict[str, str], *tokens: str, says: dict[str, str] | None = None) -> int:
        """Post a webhook, signed so; the status of the answer. `says`: what is posted instead of what is signed."""
        url = f"{self.system.settings.base_url}{path}"
        headers = self.headers(signed_headers("POST", url, form, list(tokens))) if tokens else {}
        return (await self.system.http.post(url, data=says or form, headers=headers)).status_code

    async def heard(self) -> int:
        """How often it was told of a call."""
        told = "SELECT count(*) FROM inbox WHERE signal IN ('answer', 'declined')"
        async with self.system.database.transaction() as connection:
            row = await (await connection.execute(told)).fetchone()
        return int(str(row[0])) if row is not None else -1


@pytest.fixture
async def world(
    carrier: str,
    masks: bool,
    between: Between,
    system: System,
    telephone: Telephone,
    simulator_port: int,
    receiver: Receiver,
) -> AsyncIterator[World]:
    for pair in range(4):
        await telephone.phones.behave(f"+1202555{pair:02}01", Behaviour(on_ring="manual"))
    stub = PlivoStub(1, AUTH_ID, PLIVO_TOKEN, faulty=0, refusing=0) if masks else None
    is_similar = carrier == "one that is similar"
    port = int(between.api.rsplit(":", 1)[1])
    network = f"http://127.0.0.1:{simulator_port}"
    if stub is not None:
        api = stub.app()
    elif is_similar:
        api = similar_front(network)
    else:
        between.api, api = network, web.Application()
    async with serving(api, port), between.listening():
        headers = similar_headers if is_similar else dict
        yield World(system, between, telephone, stub, headers, receiver)


@pytest.mark.parametrize(
    ("fault", "patience"), [("cut", rest.TIMEOUT_S), ("stall", 0.5), ("503 after", rest.TIMEOUT_S)]
)
async def test_what_may_have_been_done_is_not_done_again(world: World, fault: str) -> None:
    world.between.faults = [fault]
    told = await world.told(world.begin())
    assert ("Session created" in told) or "could not be called: the carrier" in told
    assert (world.between.orders, await world.made()) == (1, 1)


async def test_what_was_certainly_not_done_is_tried_again(world: World) -> None:
    world.between.faults = ["429", "429"]
    begun = world.begin()
    await world.is_made(1)
    answer = await begun
    if answer.status_code == 503:
        # The third try comes after 3 of the 4 s for which a create waits. Whoever asks again gets the same session.
        answer = await world.begin()
    assert answer.status_code == 201
    assert (world.between.orders, await world.made()) == (3, 1)


async def test_a_refusal_is_told_at_once_in_the_carriers_words_without_numbers(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.between.faults, world.between.says = ["400"], REFUSAL
    told = await world.told(world.begin())
    assert "the carrier refused with 400: The number [removed] is not allowed here." in told
    assert (world.between.orders, await world.made()) == (1, 0)
    assert "2025550101" not in caplog.text


async def test_credentials_that_are_not_taken_stop_everything_loudly_and_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.between.faults = ["401"]
    assert "the carrier refused with 401: authentication failed" in await world.told(world.begin())
    for pair in (1, 2):
        assert "the carrier does not take our credentials" in await world.told(world.begin(pair))
    assert (world.between.orders, await world.made()) == (1, 0)
    assert b"masking_carriers_stopped 1.0" in await Metrics(world.system.database).exposed()
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len([each for each in errors if "does not take the credentials of" in each.getMessage()]) == 1


async def test_a_carrier_that_fails_rests_as_temporals_ui_tells_and_is_asked_again(
    world: World, task_queue: str
) -> None:
    world.between.is_down = True
    begun = [world.begin(pair) for pair in range(3)]
    if world.stub is None:
        # Orders for a call are not tried again: the next one is to find that the carrier rests.
        for each in begun:
            await world.told(each)
    begun.append(world.begin(3))
    async with asyncio.timeout(60):
        while not (found := await resting(world.system, task_queue)):  # noqa: ASYNC110 it is tried now and then
            await asyncio.sleep(0.05)
    words, delay = found[0]
    assert words.startswith("CarrierResting: the carrier has failed ")
    assert "times in a row, and is not asked for " in words
    assert 0 < delay <= world.system.settings.carrier_rest
    world.between.is_down = False
    # Of orders for a call those are not repeated that may have been carried out.
    await world.is_made(4 if world.stub is not None else 1)
    answers = [await each for each in begun]
    assert {answer.status_code for answer in answers} <= {201, 503}
    assert all("did not answer in time. Try again." in each.text for each in answers if each.status_code == 503)
    assert b"masking_carriers_resting 0.0" in await Metrics(world.system.database).exposed()


async def resting(system: System, task_queue: str) -> list[tuple[str, float]]:
    """Of the failures those that tell of a rest, while there is one by the metrics as well."""
    found = [each for each in await failures(system, task_queue) if "in a row" in each[0]]
    return found if b"masking_carriers_resting 1.0" in await Metrics(system.database).exposed() else []


async def failures(system: System, task_queue: str) -> list[tuple[str, float]]:
    """What Temporal's UI shows of activities that are to be tried again: the last failure, and in how many seconds."""
    found: list[tuple[str, float]] = []
    async for each in system.client.list_workflows(f"TaskQueue = '{task_queue}' AND ExecutionStatus = 'Running'"):
        described = await system.client.get_workflow_handle(each.id).describe()
        for pending in described.raw_description.pending_activities:
            if pending.HasField("last_failure"):
                error = await system.client.data_converter.decode_failure(pending.last_failure)
                found.append((str(error), pending.current_retry_interval.ToTimedelta().total_seconds()))
    return found


async def test_nothing_secret_is_in_a_history_or_a_log(
    world: World, temporal: Client, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    for ours in OURS:
        # As processes of ours log: what libraries say is heard from warnings up.
        caplog.set_level(logging.INFO, logger=ours)
    world.between.faults = ["429"]
    begun = await world.begin()
    await world.is_made(1)
    uuid = begun.json()["session_uuid"]
    told = await in_the_clear(temporal, world.system.database, keyring, uuid)
    assert begun.json()["virtual_number"].removeprefix("+") in told
    for secret in (CARRIER_TOKEN, PLIVO_TOKEN, "Basic "):
        assert secret not in told
        assert secret not in caplog.text
    for party in (begun.json()["session"][name] for name in ("first_party", "second_party")):
        assert party not in caplog.text
        assert party not in session_workflow_id(uuid)


async def test_what_it_tells_counts_if_it_is_signed_and_once(world: World, keyring: Keyring) -> None:
    session = (await world.begin(calls=False)).json()["session"]
    path, form = world.webhook(session, keyring)
    token = CARRIER_TOKEN if world.stub is None else PLIVO_TOKEN
    assert await world.heard() == 0
    assert await world.tells(path, form) == 403
    assert await world.tells(path, form, "anothers-token") == 403
    assert await world.tells(path, form, token, says=form | {"From": "12025550999"}) == 403
    assert await world.heard() == 0

    assert await world.tells(path, form, "an-older-token", token) == 200
    assert await world.heard() == 1
    assert await world.tells(path, form, token) == 200
    assert await world.heard() == 1
