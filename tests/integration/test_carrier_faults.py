"""A carrier that stalls, fails, or loses its answer after it did what was asked: no phone rings twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from masking.carriers import rest
from masking.carriers.simulator.phones import Behaviour
from masking.gateway.metrics import Metrics
from masking.settings import Settings
from tests.integration.between import Between
from tests.integration.conftest import Receiver, System, free_port
from tests.integration.conftest import settings as usual_settings
from tests.integration.telephone import Telephone, speed, telephone
from tests.integration.test_switchboard import FIRST, create

__all__ = ["speed", "telephone", "usual_settings"]
pytestmark = pytest.mark.anyio


@pytest.fixture
def between(simulator_port: int) -> Between:
    return Between(free_port(), f"http://127.0.0.1:{simulator_port}")


@pytest.fixture
def patience() -> float:
    """After so many seconds without an answer the carrier has stalled."""
    return rest.TIMEOUT_S


@pytest.fixture
def settings(usual_settings: Settings, between: Between, patience: float, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(rest, "TIMEOUT_S", patience)
    return usual_settings.model_copy(update={"carrier_api_url": f"http://127.0.0.1:{between.port}"})


@pytest.fixture(autouse=True)
async def served(between: Between, telephone: Telephone) -> AsyncIterator[None]:
    await telephone.phones.behave(FIRST, Behaviour(on_ring="manual"))
    async with between.listening():
        yield


async def told(system: System, session: dict[str, Any], words: str) -> str:
    async with asyncio.timeout(20):
        while words not in (story := await system.sessions.story(session["session_uuid"])):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return story


async def calls(system: System) -> list[str]:
    """The sessions of the calls that we know."""
    async with system.database.transaction() as connection:
        rows = await (await connection.execute("SELECT session_uuid FROM calls")).fetchall()
    return [str(row[0]) for row in rows]


@pytest.mark.parametrize(("fault", "patience"), [("cut", rest.TIMEOUT_S), ("stall", 0.5)])
async def test_an_answer_that_is_lost_after_the_call_was_placed_rings_no_phone_twice(
    system: System, telephone: Telephone, receiver: Receiver, between: Between, fault: str
) -> None:
    between.faults = [fault]
    session = await create(system, receiver, initiate_call_to_first_party=True)
    await told(system, session, "the first party could not be called: the carrier did not answer")
    assert between.orders == 1
    assert len(await telephone.phones.calls()) == 1
    # What nobody answered for is known all the same, by its webhooks.
    await telephone.phones.answer(FIRST)
    async with asyncio.timeout(20):
        while not (known := await calls(system)):  # noqa: ASYNC110 it is across HTTP
            await asyncio.sleep(0.02)
    assert known == [session["session_uuid"]]


async def test_a_failure_that_may_have_been_a_call_is_not_tried_again(
    system: System, telephone: Telephone, receiver: Receiver, between: Between
) -> None:
    between.faults = ["503"]
    session = await create(system, receiver, initiate_call_to_first_party=True)
    await told(system, session, "could not be called: the carrier failed with 503")
    assert (between.orders, len(await telephone.phones.calls())) == (1, 0)


async def test_a_carrier_that_takes_no_more_requests_is_asked_again(
    system: System, telephone: Telephone, receiver: Receiver, between: Between
) -> None:
    between.faults = ["429"]
    await create(system, receiver, initiate_call_to_first_party=True)
    await telephone.phones.wait_for(FIRST, "ringing")
    assert (between.orders, len(await telephone.phones.calls())) == (2, 1)


async def test_credentials_that_are_not_taken_stop_all_orders_and_no_incoming_call(
    system: System, telephone: Telephone, receiver: Receiver, between: Between
) -> None:
    between.faults = ["401"]
    first = await create(system, receiver, initiate_call_to_first_party=True)
    await told(system, first, "could not be called: the carrier refused with 401: authentication failed")
    other = {"first_party": "+12025550111", "second_party": "+12025550112"}
    second = await create(system, receiver, initiate_call_to_first_party=True, **other)
    await told(system, second, "could not be called: the carrier does not take our credentials")
    assert between.orders == 1, "the second is refused without asking"
    assert b"masking_carriers_stopped 1.0" in await Metrics(system.database).exposed()

    await telephone.phones.dial(FIRST, first["number"])
    await telephone.phones.wait_for("+12025550102", "talking")
