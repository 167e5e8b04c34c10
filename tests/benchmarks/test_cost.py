"""What a masked session costs Temporal, measured as the benchmark does, with short times."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from benchmarks.cost import one_session
from benchmarks.price import LIMIT_ACTIONS, LIMIT_EVENTS
from benchmarks.real_system import Endpoint
from benchmarks.told_call import CALLBACKS, request
from tests.conftest import ACCOUNT
from tests.integration.conftest import (
    System,
    answered_within,
    creates,
    more_settings,
    settings,
    simulator_port,
    system,
    task_queue,
    worker,
)

__all__ = [
    "answered_within",
    "creates",
    "more_settings",
    "settings",
    "simulator_port",
    "system",
    "task_queue",
    "worker",
]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    async with Endpoint() as endpoint:
        yield endpoint


async def test_a_session_with_a_recorded_call_keeps_within_the_limits(system: System, endpoint: Endpoint) -> None:
    # Long enough for a busy machine to tell of the whole call before the session's time is over.
    asked = request(0, endpoint.url, session_expiry=15, recording_wait=8)

    one = await one_session(system.client, system.sessions, asked.model_copy(update={"account_id": ACCOUNT}))
    await endpoint.has_taken(CALLBACKS)

    assert sum(one.price.actions.values()) <= LIMIT_ACTIONS
    assert sum(one.price.events.values()) <= LIMIT_EVENTS
