"""The examples' workflows beside the real workflow of a session, on a server whose time can be skipped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper
from temporalio.worker import Worker

from activities.sessions import Opened, OpenSession
from examples.sessions import SessionActivities
from masking.client import MaskingClient
from masking.contract import QUERY_SNAPSHOT, session_workflow_id
from masking.domain.agreement import Agreement
from masking.domain.bill.money import ZERO, Rate
from masking.domain.events import AnyCarrierEvent
from masking.domain.session import Status
from masking.domain.snapshot import SessionSnapshot
from tests.domain.conversation import moved_to
from tests.workflow.conftest import Remembered, client, task_queue
from workflows.masking_session import MaskingSession

__all__ = ["client", "task_queue"]


class Pool(Remembered):
    """Sessions that get the numbers of a pool in its order, each number once; none when it is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = [f"+120255501{n}" for n in range(42, 47)]
        self.house = Agreement(
            rate=Rate(per_minute=Decimal("0.0085")), session_fee=ZERO, pair_grace=1800, recording_wait=300,
            at_expiry="finish", resource_base_url="", call_time_limit=3600, ring_timeout=60,
        )  # fmt: skip

    @activity.defn
    async def open_session(self, command: OpenSession) -> Opened:
        if command.session.session_uuid not in self.sessions:
            self.number = self.numbers.pop(0) if self.numbers else None
        return await super().open_session(command)


class World:
    """What a test of an example plays it with."""

    def __init__(self, environment: TimeSkipper, pool: Pool, sessions: MaskingClient) -> None:
        self.environment, self.pool, self.sessions = environment, pool, sessions

    async def passes(self, handle: WorkflowHandle[Any, Any], minutes: float) -> None:
        """Let time pass for a workflow of the example and for the sessions that are open."""
        for each in (*await self._open(), handle):
            try:
                await self.environment.fast_forward(each, timedelta(minutes=minutes))
            except RPCError as error:
                # A session that has just been expired may have ended meanwhile; the example itself must not.
                if error.status is not RPCStatusCode.NOT_FOUND or each is handle:
                    raise

    async def tell(self, session_uuid: str, events: Sequence[AnyCarrierEvent], after: float) -> None:
        """Let a carrier tell of a call that began so many minutes after the session did."""
        created_at = (await self.snapshot(session_uuid)).created_at
        for event in moved_to(list(events), created_at + timedelta(minutes=after)):
            await self._handle(session_uuid).signal(event.kind, event)

    async def snapshot(self, session_uuid: str) -> SessionSnapshot:
        told: SessionSnapshot = await self._handle(session_uuid).query(QUERY_SNAPSHOT, result_type=SessionSnapshot)
        return told

    async def _open(self) -> list[WorkflowHandle[Any, Any]]:
        return [self._handle(uuid) for uuid in self.opened if (await self.snapshot(uuid)).status is not Status.EXPIRED]

    @property
    def opened(self) -> list[str]:
        """The sessions so far, the oldest first."""
        return list(self.pool.sessions)

    def _handle(self, session_uuid: str) -> WorkflowHandle[Any, Any]:
        return self.environment.client.get_workflow_handle(session_workflow_id(session_uuid))


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def world(environment: TimeSkipper, client: Client, pool: Pool, task_queue: str) -> World:
    return World(environment, pool, MaskingClient(client, task_queue=task_queue))


@asynccontextmanager
async def served(world: World, task_queue: str, workflow: type, *activities: Callable[..., Any]) -> AsyncIterator[None]:
    """Workers of sessions and of an example. Sessions' clocks stand still, as the example's does, until time passes."""
    of_sessions = SessionActivities(world.sessions)
    client = world.environment.client
    with world.environment.with_time_skipping_disabled():
        async with (
            Worker(client, task_queue=task_queue, workflows=[MaskingSession], activities=world.pool.activities()),
            Worker(
                client,
                task_queue=f"{task_queue}-example",
                workflows=[workflow],
                activities=[*of_sessions.all, *activities],
            ),
        ):
            yield
