"""One masking session, from its creation to its final bill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.callbacks import DeliverCallbacks
    from activities.sessions import ChangeParties, OpenSession, RecordSession, SessionActivities, SessionRef
    from masking.contract import (
        PIN_TAKEN,
        QUERY_SNAPSHOT,
        QUERY_STORY,
        UPDATE_EXPIRE,
        UPDATE_EXTEND,
        UPDATE_MODIFY,
        UPDATE_OPENED,
        WORKFLOW_TYPE,
        ErrorType,
    )
    from masking.domain.callbacks import Callback
    from masking.domain.events import (
        Answer,
        AnyCarrierEvent,
        Declined,
        Hangup,
        PinStatus,
        RecordingCompleted,
        RecordingFailed,
        RecordingInitiated,
        Ring,
    )
    from masking.domain.lifecycle import (
        Rejected,
        Step,
        changed,
        check_changeable,
        elapsed,
        expired,
        given_up,
        is_overdue,
        next_deadline,
        opened,
        refused,
        remarked,
        requested,
        settled,
        took,
        waiting_for,
    )
    from masking.domain.session import Bill, Phase, SessionSnapshot, bill, snapshot
    from masking.domain.story import story
    from masking.domain.terms import Change, Expire, Extend, SessionRequest, Terms

from workflows.carrier_orders import CarrierOrders
from workflows.courier import Courier
from workflows.movable_timer import MovableTimer

WRITE_TIMEOUT = timedelta(seconds=10)
# Without an end on purpose: a session must be written down some day, however long PostgreSQL is away.
WRITE_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=10)
)
LOOK_AGAIN_FIRST, LOOK_AGAIN_LAST = timedelta(seconds=2), timedelta(minutes=5)
WAIT_FOR_UNREPORTED = timedelta(hours=25)


@workflow.defn(name=WORKFLOW_TYPE)
class MaskingSession:
    """One masking session: opens, serves until it expires, drains, settles, and returns its bill.

    `masking.domain.lifecycle` decides everything. This class brings it the triggers (signals,
    updates, time) and carries out what follows: it records each step and delivers callbacks.
    """

    @workflow.init
    def __init__(self, request: SessionRequest) -> None:
        # Signals and updates can come before `run` starts, so all state is made here.
        self._session = requested(request, workflow.now())
        self._recorded = self._session.version
        self._unqueued: list[Callback] = []
        self._routes_lost = False
        self._changing = asyncio.Lock()
        self._orders = CarrierOrders(self._hear, lambda remark: self._take(remarked(self._session, remark)))
        self._timer = MovableTimer()
        self._courier = Courier(DeliverCallbacks(session_uuid=request.session_uuid, account_id=self._session.owner_id))

    @workflow.run
    async def run(self, request: SessionRequest) -> Bill:
        """The story of a session. Returns its final bill."""
        await self._open()
        if self._session.phase is not Phase.REFUSED:
            self._orders.opened(self._session)
            await self._advance_until(lambda: self._session.phase is not Phase.ACTIVE)
            await self._drain()
            await self._settle()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return bill(self._session)

    async def _open(self) -> None:
        asked = self._session.version
        result = await workflow.execute_local_activity_method(
            SessionActivities.open_session,
            OpenSession(session=self._session),
            start_to_close_timeout=WRITE_TIMEOUT,
            retry_policy=WRITE_RETRIES,
            summary="choose a virtual number",
        )
        if result.virtual_number is None:
            self._take(refused(self._session, result.refusal))
            return
        heard_meanwhile = self._session.version != asked
        self._take(opened(self._session, result.virtual_number, result.pins))
        if not heard_meanwhile:
            self._recorded = self._session.version

    async def _advance_until(self, done: Callable[[], bool]) -> None:
        """Let time and triggers act on the session, recording each step, until `done`."""
        while True:
            self._take(elapsed(self._session, workflow.now()))
            await self._record()
            if done():
                self._timer.stop()
                return
            deadline = next_deadline(self._session)
            if is_overdue(self._session, workflow.now()):
                if await self._everything_reported():
                    self._take(given_up(self._session, workflow.now()))
                    continue
                deadline = workflow.now() + LOOK_AGAIN_FIRST
            at_expiry = deadline == self._session.expires_at
            self._timer.set(deadline, "session expiry" if at_expiry else "give up waiting for the carrier")
            await workflow.wait_condition(lambda: self._timer.rang or self._recorded < self._session.version)

    async def _record(self) -> None:
        """Write the newest state and its callbacks down, and have the callbacks delivered."""
        while self._recorded < self._session.version:
            session, callbacks = self._session, tuple(self._unqueued)
            self._unqueued.clear()
            result = await workflow.execute_local_activity_method(
                SessionActivities.record_session,
                RecordSession(session=session, callbacks=callbacks),
                start_to_close_timeout=WRITE_TIMEOUT,
                retry_policy=WRITE_RETRIES,
                summary=f"record version {session.version}",
            )
            self._recorded = session.version
            if callbacks:
                self._courier.wake()
            if not result.holds_routes and self._session.phase is Phase.ACTIVE:
                # Only a clock far off can bring this about. Ending the session is the safe side.
                workflow.logger.error("the session lost its routes and is ended")
                self._routes_lost = True
                self._take(expired(self._session, workflow.now()))

    async def _drain(self) -> None:
        """Wait for what the session's calls still owe: their ends, their recordings, events on their way."""
        self._orders.expired(self._session)
        give_up_at = self._session.expires_at + WAIT_FOR_UNREPORTED
        pause = LOOK_AGAIN_FIRST
        while True:
            await self._advance_until(lambda: not waiting_for(self._session))
            reported = await self._everything_reported()
            if self._recorded < self._session.version:
                continue
            if reported or workflow.now() >= give_up_at:
                return
            try:
                await workflow.wait_condition(
                    lambda: self._recorded < self._session.version,
                    timeout=pause,
                    timeout_summary="wait for events on their way",
                )
            except TimeoutError:
                pause = min(pause * 2, LOOK_AGAIN_LAST)

    async def _everything_reported(self) -> bool:
        """Whether every event that the gateway took is in this history.

        An ordinary activity on purpose: what was signalled before it looked stands before its
        result in the history, which a local activity could not promise.
        """
        unreported = await workflow.execute_activity_method(
            SessionActivities.count_unreported,
            SessionRef(session_uuid=self._session.session_uuid),
            start_to_close_timeout=WRITE_TIMEOUT,
            retry_policy=WRITE_RETRIES,
            summary="ask for events on their way",
        )
        return unreported.count == 0

    async def _settle(self) -> None:
        # What orders still have to say comes before the bill.
        await self._orders.finished()
        await self._courier.finished()
        while self._recorded < self._session.version:
            await self._record()
            await self._courier.finished()
        self._take(settled(self._session, workflow.now()))
        # An ordinary activity on purpose: that this state is the final one stands in the history before it is written.
        await workflow.execute_activity_method(
            SessionActivities.settle_session,
            RecordSession(session=self._session),
            start_to_close_timeout=WRITE_TIMEOUT,
            retry_policy=WRITE_RETRIES,
            summary="close the bill",
        )
        self._recorded = self._session.version

    def _take(self, step: Step) -> None:
        """Put a decided step into effect."""
        self._session = step.session
        self._unqueued += step.callbacks
        workflow.set_current_details(story(self._session))

    # What carriers tell. Synchronous, and the domain ignores what it knows already: a signal
    # that is repeated, late or out of order does no harm.

    def _hear(self, event: AnyCarrierEvent) -> None:
        self._take(took(self._session, event))

    @workflow.signal(description="A leg was answered.")
    def answer(self, event: Answer) -> None:
        """A leg was answered."""
        self._hear(event)

    @workflow.signal(description="A call about this session was not connected.")
    def declined(self, event: Declined) -> None:
        """A call about this session was not connected."""
        self._hear(event)

    @workflow.signal(description="The callee's phone began to ring.")
    def ring(self, event: Ring) -> None:
        """The callee's phone began to ring."""
        self._hear(event)

    @workflow.signal(description="A leg ended.")
    def hangup(self, event: Hangup) -> None:
        """A leg ended."""
        self._hear(event)

    @workflow.signal(description="A caller was asked for a PIN, or did not need one.")
    def pin_status(self, event: PinStatus) -> None:
        """A caller was asked for a PIN, or did not need one."""
        self._hear(event)

    @workflow.signal(description="Both parties are connected and the recording began.")
    def recording_initiated(self, event: RecordingInitiated) -> None:
        """Both parties are connected and the recording began."""
        self._hear(event)

    @workflow.signal(description="The recording's file is ready.")
    def recording_completed(self, event: RecordingCompleted) -> None:
        """The recording's file is ready."""
        self._hear(event)

    @workflow.signal(description="No recording came of a conversation that was to be recorded.")
    def recording_failed(self, event: RecordingFailed) -> None:
        """No recording came of a conversation that was to be recorded."""
        self._hear(event)

    # What the account asks for. Each answers once the change is written down.

    @workflow.update(name=UPDATE_OPENED, description="Wait until the session is open.")
    async def opened(self) -> SessionSnapshot:
        """The session once it is open.

        Raises:
            ApplicationError: `NumberPoolExhausted`, `PinTaken`.
        """
        await workflow.wait_condition(lambda: self._session.phase is not Phase.OPENING)
        if self._session.phase is Phase.REFUSED:
            why = ErrorType.PIN_TAKEN if self._session.refusal == PIN_TAKEN else ErrorType.NUMBER_POOL_EXHAUSTED
            raise ApplicationError(self._session.refusal, type=why, non_retryable=True)
        await self._written()
        return snapshot(self._session)

    @workflow.update(name=UPDATE_MODIFY, description="Change terms, the expiry among them.")
    async def modify(self, change: Change) -> SessionSnapshot:
        """Change terms, the expiry among them.

        Raises:
            ApplicationError: `SessionAlreadyExpired`, `SamePartyTwice`, `PartyTaken`.
        """
        return await self._change(change)

    @modify.validator
    def _may_modify(self, change: Change) -> None:
        self._check_changeable()

    @workflow.update(name=UPDATE_EXTEND, description="Let the session expire so many seconds from now.")
    async def extend(self, extend: Extend) -> SessionSnapshot:
        """Let the session expire so many seconds from now, later or earlier than it would.

        Raises:
            ApplicationError: `SessionAlreadyExpired`.
        """
        return await self._change(Change(session_expiry=extend.session_expiry))

    @extend.validator
    def _may_extend(self, extend: Extend) -> None:
        self._check_changeable()

    @workflow.update(name=UPDATE_EXPIRE, description="End the session now.")
    async def expire(self, expire: Expire) -> SessionSnapshot:
        """End the session now. A call in progress goes on.

        Raises:
            ApplicationError: `SessionAlreadyExpired`.
        """
        await workflow.wait_condition(lambda: self._session.phase is not Phase.OPENING)
        self._take(_or_application_error(lambda: expired(self._session, workflow.now())))
        await self._written()
        return snapshot(self._session)

    @expire.validator
    def _may_expire(self, expire: Expire) -> None:
        self._check_changeable()

    @workflow.query(name=QUERY_SNAPSHOT, description="The session now, in short.")
    def snapshot(self) -> SessionSnapshot:
        """The session now, in short."""
        return snapshot(self._session)

    @workflow.query(name=QUERY_STORY, description="What has happened, in words.")
    def story(self) -> str:
        """What has happened, in words and without numbers."""
        return story(self._session)

    async def _change(self, change: Change) -> SessionSnapshot:
        await workflow.wait_condition(lambda: self._session.phase is not Phase.OPENING)
        async with self._changing:
            terms = _or_application_error(lambda: changed(self._session, change, workflow.now())).session.terms
            if terms.parties != self._session.terms.parties:
                await self._take_routes_of(terms)
            self._take(_or_application_error(lambda: changed(self._session, change, workflow.now())))
        await self._written()
        if self._routes_lost:
            raise ApplicationError("The session lost its number.", type=ErrorType.ROUTE_LOST, non_retryable=True)
        return snapshot(self._session)

    async def _take_routes_of(self, terms: Terms) -> None:
        """Hold the routes of new parties before they count as the session's."""
        result = await workflow.execute_local_activity_method(
            SessionActivities.change_parties,
            ChangeParties(session=self._session, terms=terms),
            start_to_close_timeout=WRITE_TIMEOUT,
            retry_policy=WRITE_RETRIES,
            summary="take the routes of the new parties",
        )
        if not result.holds_routes:
            raise ApplicationError(
                "Another session holds this party on the session's virtual number; create a new session.",
                type=ErrorType.PARTY_TAKEN,
                non_retryable=True,
            )

    async def _written(self) -> None:
        """Wait until everything up to now is in the database."""
        version = self._session.version
        await workflow.wait_condition(lambda: self._recorded >= version)

    def _check_changeable(self) -> None:
        if self._session.phase is not Phase.OPENING:
            _or_application_error(lambda: check_changeable(self._session, workflow.now()))


T = TypeVar("T")


def _or_application_error(decide: Callable[[], T]) -> T:
    """Turn a rejection into the error that an update may fail with."""
    try:
        return decide()
    except Rejected as rejection:
        raise ApplicationError(str(rejection), type=rejection.code, non_retryable=True) from None
