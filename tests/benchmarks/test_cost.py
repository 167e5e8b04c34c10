"""What a masked session costs Temporal, measured as the benchmark does, with short times."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from benchmarks.cost import OneSession, one_session
from benchmarks.price import LIMIT_ACTIONS, LIMIT_EVENTS
from benchmarks.real_system import Endpoint
from benchmarks.told_call import CALLBACKS, request
from tests.conftest import ACCOUNT
from tests.integration.conftest import (
    System,
    creates,
    more_settings,
    settings,
    simulator_port,
    system,
    task_queue,
    worker,
)

__all__ = ["creates", "more_settings", "settings", "simulator_port", "system", "task_queue", "worker"]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
async def one(system: System, endpoint: Endpoint) -> OneSession:
    asked = request(0, endpoint.url, session_expiry=3, recording_wait=1)
    one = await one_session(system.client, system.sessions, asked.model_copy(update={"account_id": ACCOUNT}))
    await endpoint.has_taken(CALLBACKS)
    return one


async def test_a_session_with_a_recorded_call_takes_at_most_25_actions(one: OneSession) -> None:
    assert sum(one.price.actions.values()) <= LIMIT_ACTIONS


async def test_a_session_with_a_recorded_call_leaves_at_most_60_events(one: OneSession) -> None:
    assert sum(one.price.events.values()) <= LIMIT_EVENTS
