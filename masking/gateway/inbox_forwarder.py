"""Carries the inbox to the workflows, also what an earlier process left behind."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg
from psycopg_pool import PoolTimeout
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from masking.contract import session_workflow_id, signal_of
from masking.errors import KeysAway
from masking.lookout import Lookout
from masking.privacy.keyring import Keyring, Unreadable
from masking.storage import inbox
from masking.storage.corrections import take_late
from masking.storage.database import Connection, Database
from masking.temporal import lacks_namespace
from masking.told_headers import header_of, telling, told

logger = logging.getLogger(__name__)

BATCH = 50
LOOK_EVERY_S = 1.0
SIGNAL_TIMEOUT = timedelta(seconds=5)


AWAY = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.INTERNAL,
}
"""What a Temporal server that is away, or about to be, answers; anything else is about one workflow."""

LOST = (
    "Temporal does not know session %s, or its workflow was ended, and its bill is not closed: its events wait until it"
    " goes on (masking sessions resume %s)"
)


@dataclass
class _Outcomes:
    """What became of a batch's events."""

    forwarded: list[int] = field(default_factory=list)
    late: list[inbox.WaitingEvent] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    fault: RPCError | RuntimeError | KeysAway | None = None


class InboxForwarder:
    """Signals the waiting events to their workflows: each session's in the order of arrival, in one signal.

    Several gateways may run one each: rows are claimed under a lock that others skip. An
    event is signalled again if a process dies before it could note that it was; the
    workflow knows events by their identity.
    """

    def __init__(self, database: Database, client: Client, keyring: Keyring) -> None:
        self._database = database
        self._client = telling(client)
        self._keyring = keyring
        self._lookout = Lookout(self._look, LOOK_EVERY_S)

    def wake(self) -> None:
        """An event was just put in; do not wait for the next look."""
        self._lookout.wake()

    def running(self) -> AbstractAsyncContextManager[None]:
        """Forward until the context ends; the batch under way is finished first."""
        return self._lookout.running()

    async def _look(self) -> None:
        try:
            while await self.forward_batch() == BATCH:
                pass
        except (RPCError, RuntimeError, psycopg.Error, PoolTimeout, Unreadable, KeysAway) as error:
            logger.warning("the inbox waits: %s", type(error).__name__)

    async def forward_batch(self) -> int:
        """Signal the oldest waiting events. Returns how many were done with."""
        async with self._database.transaction() as connection:
            outcomes = _Outcomes()
            sessions: dict[str, list[inbox.WaitingEvent]] = defaultdict(list)
            for event in await inbox.claim(connection, self._keyring, BATCH):
                sessions[event.session_uuid].append(event)
            await asyncio.gather(*(self._forward(events, outcomes) for events in sessions.values()))
            await inbox.mark_forwarded(connection, outcomes.forwarded)
            for session_uuid in outcomes.refused:
                await inbox.postpone(connection, session_uuid, inbox.LONGEST_PAUSE)
            lost: dict[str, None] = {}
            # One session after the other, everywhere in this order: each is locked until the end.
            for event in sorted(outcomes.late, key=lambda late: (late.session_uuid, late.id)):
                if not await self._took_late(connection, event):
                    lost[event.session_uuid] = None
            for session_uuid in lost:
                logger.error(LOST, session_uuid, session_uuid)
                await inbox.postpone(connection, session_uuid, inbox.LONGEST_PAUSE)
        # Raised only now, so that what was signalled before the fault is not signalled again.
        if outcomes.fault is not None:
            raise outcomes.fault
        return len(outcomes.forwarded) + len(outcomes.late)

    async def _took_late(self, connection: Connection, event: inbox.WaitingEvent) -> bool:
        """Whether an event could be held against the bill of its session."""
        try:
            return await take_late(connection, self._keyring, event)
        except Unreadable:
            logger.error("session %s cannot be read; its late events wait", event.session_uuid)
            return False

    async def _forward(self, events: Sequence[inbox.WaitingEvent], outcomes: _Outcomes) -> None:
        """Signal one session's events, in their order; none after one that could not be."""
        # A workflow of revision 1 may still run on a worker that knows one signal for each event only.
        together = [events] if events[0].revision > 1 else [[event] for event in events]
        for some in together:
            try:
                if await self._signal(some):
                    outcomes.forwarded += (event.id for event in some)
                else:
                    outcomes.late += some
            except (RPCError, RuntimeError, KeysAway, Unreadable) as error:
                # A client that connects at its first call raises a RuntimeError while Temporal is away.
                if isinstance(error, RuntimeError | KeysAway) or (isinstance(error, RPCError) and error.status in AWAY):
                    outcomes.fault = error
                else:
                    why = error.status.name if isinstance(error, RPCError) else error
                    logger.warning("session %s takes no events now: %s", events[0].session_uuid, why)
                    outcomes.refused.append(events[0].session_uuid)
                return

    async def _signal(self, waiting: Sequence[inbox.WaitingEvent]) -> bool:
        """Whether the workflow took them; False when it had closed."""
        session_uuid, events = waiting[0].session_uuid, [each.event for each in waiting]
        handle = self._client.get_workflow_handle(session_workflow_id(session_uuid))
        signal, content = signal_of(events)
        header = await header_of(self._client, session_uuid, events)
        try:
            with told(header):
                await handle.signal(signal, content, rpc_timeout=SIGNAL_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND or lacks_namespace(error):
                raise
            return False
        return True
