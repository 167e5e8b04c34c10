"""A worker with activities that only remember, on a Temporal server whose time can be skipped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import TimeSkipper
from temporalio.worker import Worker, WorkflowRunner

from activities.callbacks import DeliverCallbacks, Delivered
from activities.carrier import AskMissed, CallFirstParty, EndCalls
from activities.sessions import (
    ChangeParties,
    Opened,
    OpenSession,
    PartiesChanged,
    Recorded,
    RecordSession,
    SessionRef,
    UnheededEvents,
    Unreported,
)
from masking.carriers.missed import Missed
from masking.client import MaskingClient
from masking.domain.agreement import Agreement, agreed
from masking.domain.bill.charges import Bill, bill
from masking.domain.callbacks import Callback
from masking.domain.events import Call, Placed, Side
from masking.domain.lifecycle import settled
from masking.domain.routing import Reason
from masking.domain.session import REVISION, Session
from masking.workflow_runner import workflow_runner
from tests.domain.conversation import FIRST, VIRTUAL
from workflows.masking_session import MaskingSession


class Remembered:
    """The activities of a session under their real names, with a memory instead of a database."""

    def __init__(self) -> None:
        self.number: str | None = VIRTUAL
        self.sessions: dict[str, Session] = {}
        self.callbacks: list[Callback] = []
        self.bills: list[Bill] = []
        self.unreported: list[int] = []
        self.waiting: list[int] = []
        self.unheard = 0
        self.heard: list[tuple[str, ...]] = []
        self.put_back: list[str] = []
        self.endpoint_down = False
        self.carrier_refuses = False
        self.party_taken = False
        self.orders: list[str] = []
        self.deliveries = 0
        self.missed = Missed()
        self.thinks: asyncio.Event | None = None
        self.held: asyncio.Event | None = None
        self.waits_to_write = asyncio.Event()
        self.held_locally: asyncio.Event | None = None
        self.revision = REVISION
        self.house: Agreement | None = None
        self.parties: tuple[str, ...] = ()
        self.outlives_cancel = True
        self.opening: asyncio.Event | None = None
        self.opened = 0

    @activity.defn
    async def open_session(self, command: OpenSession) -> Opened:
        self.sessions[command.session.session_uuid] = command.session
        self.opened += 1
        if self.opening is not None:
            # PostgreSQL takes its time.
            self.opening.set()
            await asyncio.sleep(8)
        agreement = agreed(command.session, self.house, command.left) if self.house is not None else None
        parties = self.parties if command.asks_parties else ()
        return Opened(
            virtual_number=self.number,
            revision=self.revision,
            agreement=agreement,
            parties=parties,
            outlives_cancel=self.outlives_cancel,
        )

    @activity.defn
    async def record_session(self, command: RecordSession) -> Recorded:
        if self.held is not None:
            self.waits_to_write.set()
            await self.held.wait()
        if self.held_locally is not None and activity.info().is_local:
            await self.held_locally.wait()
        # A workflow task that is lost and done again may write again, and more; never anything else.
        known = {callback.callback_id: callback for callback in self.callbacks}
        assert all(known.get(callback.callback_id, callback) == callback for callback in command.callbacks)
        self.callbacks += [callback for callback in command.callbacks if callback.callback_id not in known]
        if command.session.version > self.sessions[command.session.session_uuid].version:
            self.sessions[command.session.session_uuid] = command.session
        unreported = self._unreported() if command.asks_unreported else None
        closes = command.settle_at is not None and not unreported and not self.unheard
        self.unheard = max(self.unheard - 1, 0)
        self.heard += [command.heard] if command.settle_at is not None else []
        if closes and command.settle_at is not None:
            self._close(settled(command.session, command.settle_at).session)
        return Recorded(holds_routes=True, unreported=unreported, settled=closes)

    @activity.defn
    async def count_unreported(self, command: SessionRef) -> Unreported:
        return Unreported(count=self._unreported(), waiting=self.waiting.pop() if self.waiting else 0)

    def _unreported(self) -> int:
        return self.unreported.pop() if self.unreported else 0

    @activity.defn
    async def settle_session(self, command: RecordSession) -> Bill:
        return self._close(command.session)

    def _close(self, session: Session) -> Bill:
        final = bill(session)
        self.sessions[session.session_uuid] = session
        self.bills.append(final)
        return final

    @activity.defn
    async def put_back_events(self, command: UnheededEvents) -> None:
        self.put_back += command.event_ids

    @activity.defn
    async def deliver_callbacks(self, command: DeliverCallbacks) -> Delivered:
        if self.endpoint_down:
            raise ApplicationError("not taken", type="CallbackUndelivered")
        self.deliveries += 1
        return Delivered(count=len(self.callbacks))

    @activity.defn
    async def change_parties(self, command: ChangeParties) -> PartiesChanged:
        self.orders.append("change parties")
        return PartiesChanged(holds_routes=not self.party_taken)

    @activity.defn
    async def call_first_party(self, command: CallFirstParty) -> Placed:
        self.orders.append("call first party")
        if self.carrier_refuses:
            raise ApplicationError("the carrier refused with 400", type="CarrierRefused", non_retryable=True)
        call = Call(
            call_uuid="placed", caller=Side.FIRST, from_number=FIRST, to_number="", dialled=False,
            reason=Reason.FIRST_PARTY_CALLED,
        )  # fmt: skip
        return Placed(event_id="placed:placed", at=self.sessions[command.session_uuid].created_at, call=call)

    @activity.defn
    async def warn_calls(self, command: EndCalls) -> None:
        self.orders.append(f"warn {', '.join(command.call_uuids)}")

    @activity.defn
    async def end_calls(self, command: EndCalls) -> None:
        self.orders.append(f"end {', '.join(command.call_uuids)}")
        if self.carrier_refuses:
            raise ApplicationError("the carrier refused with 401", type="CarrierRefused", non_retryable=True)

    @activity.defn
    async def ask_missed(self, command: AskMissed) -> Missed:
        self.orders.append(f"ask {', '.join(call.call_uuid for call in command.calls)}")
        if self.thinks is not None:
            await self.thinks.wait()
        return self.missed

    def activities(self) -> list[Callable[..., Any]]:
        """What to register with a worker."""
        return [
            self.open_session,
            self.record_session,
            self.count_unreported,
            self.settle_session,
            self.put_back_events,
            self.deliver_callbacks,
            self.change_parties,
            self.call_first_party,
            self.warn_calls,
            self.end_calls,
            self.ask_missed,
        ]

    @property
    def names(self) -> list[str]:
        """The names of the callbacks so far, in their order."""
        return [callback.name for callback in self.callbacks]


@pytest.fixture
def client(environment: TimeSkipper) -> Client:
    return environment.client


@pytest.fixture
def task_queue() -> str:
    """A queue of the test's own: what an earlier test left running is not served here."""
    return f"masking-{uuid4()}"


@pytest.fixture
def runner() -> WorkflowRunner:
    """What runs the session: as in our workers."""
    return workflow_runner()


@pytest.fixture
async def remembered(environment: TimeSkipper, task_queue: str, runner: WorkflowRunner) -> AsyncIterator[Remembered]:
    remembered = Remembered()
    async with Worker(
        environment.client,
        task_queue=task_queue,
        workflows=[MaskingSession],
        activities=remembered.activities(),
        workflow_runner=runner,
    ):
        yield remembered


@pytest.fixture
def sessions(client: Client, task_queue: str) -> MaskingClient:
    # In the 4 s for which it waits otherwise, a busy machine may stand still.
    return MaskingClient(client, task_queue=task_queue, timeout=timedelta(seconds=20))
