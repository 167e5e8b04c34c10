"""One masking session, from its creation to its final bill."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
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
    from masking.domain.deadlines import next_deadline, overdue_calls, waiting_for
    from masking.domain.events import AnyCarrierEvent, Call
    from masking.domain.lifecycle import (
        Rejected,
        Step,
        changed,
        check_changeable,
        elapsed,
        expired,
        given_up,
        opened,
        refused,
        remarked,
        requested,
        settled,
        took,
    )
    from masking.domain.session import Bill, Carried, Phase, SessionSnapshot, SessionStart, bill, snapshot
    from masking.domain.story import story
    from masking.domain.terms import Change, Expire, Extend, Terms

from workflows.carrier_orders import CarrierOrders
from workflows.carrier_signals import CarrierSignals
from workflows.courier import Courier
from workflows.movable_timer import MovableTimer

WRITE_TIMEOUT = timedelta(seconds=10)
# Without an end on purpose: a session must be written down some day, however long PostgreSQL is away.
WRITE_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=10)
)
LOOK_AGAIN_FIRST, LOOK_AGAIN_LAST = timedelta(seconds=2), timedelta(minutes=5)
WAIT_FOR_UNREPORTED = timedelta(hours=25)

BEFORE_CONTINUING = timedelta(milliseconds=10)

REMEMBERED_UPDATES = 50
"""So many answered updates does a session remember beyond a run of its workflow."""

ParamT = TypeVar("ParamT")
ResultT = TypeVar("ResultT")


@workflow.defn(name=WORKFLOW_TYPE)
class MaskingSession(CarrierSignals):
    """One masking session: opens, serves until it expires, drains, settles, and returns its bill.

    `masking.domain.lifecycle` decides everything. This class brings it the triggers (signals,
    updates, time) and carries out what follows: it records each step and delivers callbacks.
    """

    @workflow.init
    def __init__(self, start: SessionStart) -> None:
        # Signals and updates can come before `run` starts, so all state is made here.
        self._start, carried = start, start.carried
        self._session = carried.session if carried is not None else requested(start, workflow.info().start_time)
        self._recorded = self._session.version
        self._unqueued: list[Callback] = []
        self._touched: set[str] = set()
        self._unanchored = False
        self._routes_lost = False
        self._changing = asyncio.Lock()
        self._answered_before = carried.update_ids if carried is not None else ()
        self._answered: list[str] = []
        self._orders = CarrierOrders(
            self._hear,
            lambda calls: self._take_now(given_up(self._session, workflow.now(), calls)),
            lambda remark: self._take(remarked(self._session, remark)),
            carried.ending if carried is not None else (),
        )
        self._answers_seen = 0
        self._timer = MovableTimer()
        self._courier = Courier(DeliverCallbacks(session_uuid=start.session_uuid, account_id=self._session.owner_id))

    @workflow.run
    async def run(self, start: SessionStart) -> Bill:
        """The story of a session. Returns its final bill."""
        if start.carried is None:
            await self._open()
            if self._session.phase is not Phase.REFUSED:
                self._orders.opened(self._session)
        if self._session.phase is not Phase.REFUSED:
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
            workflow.set_current_details(story(self._session))
            return
        heard_meanwhile = self._session.version != asked
        self._take(opened(self._session, result.virtual_number, result.pins, result.revision))
        if not heard_meanwhile:
            self._recorded = self._session.version
        workflow.set_current_details(story(self._session))

    async def _advance_until(self, done: Callable[[], bool]) -> None:
        """Let time and triggers act on the session, recording each step, until `done`."""
        pause = LOOK_AGAIN_FIRST
        while True:
            self._take_now(elapsed(self._session, workflow.now()))
            await self._record()
            if done():
                self._timer.stop()
                return
            if self._session.phase is Phase.DRAINING and self._session.revision > 1:
                self._orders.expired(self._session)
            self._answers_seen = self._orders.answers
            if overdue := self._overdue():
                if await self._everything_reported():
                    if self._session.revision > 1:
                        self._orders.ask(self._session, overdue)
                    else:
                        self._take_now(given_up(self._session, workflow.now()))
                    pause = LOOK_AGAIN_FIRST
                    continue
                self._timer.set(self._look_again_at(pause, overdue), "wait for events on their way")
                pause = min(pause * 2, LOOK_AGAIN_LAST) if self._session.revision > 1 else pause
            elif deadline := next_deadline(self._session, besides=self._orders.asking):
                self._timer.set(deadline.at, deadline.why)
            else:
                self._timer.stop()
            await self._continue_if_long()
            await workflow.wait_condition(self._is_due)

    def _overdue(self) -> list[Call]:
        """The calls whose last events should have come, and of which the carrier is not being asked yet."""
        overdue = overdue_calls(self._session, workflow.now())
        return [call for call in overdue if call.call_uuid not in self._orders.asking]

    def _look_again_at(self, pause: timedelta, overdue: list[Call]) -> datetime:
        """When to look once more whether the last events of overdue calls came; no later than something else is due."""
        again = workflow.now() + pause
        waiting = self._orders.asking | {call.call_uuid for call in overdue}
        other = next_deadline(self._session, besides=waiting) if self._session.revision > 1 else None
        return min(again, other.at) if other is not None else again

    def _is_due(self) -> bool:
        """Whether there is something to look at: time, a trigger, or an answer of the carrier."""
        answered = self._orders.answers > self._answers_seen
        return self._timer.rang or self._recorded < self._session.version or answered

    async def _continue_if_long(self) -> None:
        """Go on in a new run once the history has grown long, at a moment when nothing is half done.

        Never straight after something was written: what was signalled while that went on may stand in the
        history without having been heard. A timer begins a workflow task, which hears everything first.
        """
        if not (workflow.info().is_continue_as_new_suggested() and self._is_quiet()):
            return
        await workflow.sleep(BEFORE_CONTINUING, summary="go on in a new run")
        if self._is_quiet() and not self._is_due():
            update_ids = (*self._answered_before, *self._answered)[-REMEMBERED_UPDATES:]
            carried = Carried(session=self._session, ending=self._orders.ending, update_ids=update_ids)
            workflow.continue_as_new(self._start.model_copy(update={"carried": carried}))

    def _is_quiet(self) -> bool:
        """Whether everything is written down and nothing under way."""
        idle = self._orders.idle and self._courier.idle and workflow.all_handlers_finished()
        return idle and self._recorded == self._session.version

    async def _record(self) -> None:
        """Write the newest state and its callbacks down, and have the callbacks delivered."""
        while self._recorded < self._session.version:
            # Once for all that arrived together: telling it costs more than hearing it.
            workflow.set_current_details(story(self._session))
            session, callbacks, touched = self._session, tuple(self._unqueued), tuple(sorted(self._touched))
            self._unqueued.clear()
            self._touched.clear()
            result = await self._write(
                SessionActivities.record_session,
                RecordSession(session=session, callbacks=callbacks, touched=touched),
                f"record version {session.version}",
            )
            self._recorded = session.version
            if callbacks and session.revision == 1:
                self._courier.wake()
            if not result.holds_routes and self._session.phase is Phase.ACTIVE:
                # Only a clock far off can bring this about. Ending the session is the safe side.
                workflow.logger.error("the session lost its routes and is ended")
                self._routes_lost = True
                self._take_now(expired(self._session, workflow.now()))

    async def _write(
        self, activity: Callable[[SessionActivities, ParamT], Awaitable[ResultT]], command: ParamT, summary: str
    ) -> ResultT:
        """Have something written to the database, by a local activity where that is safe.

        What a local activity did stays done when its workflow task is lost with its worker and done again.
        Signals then come in the order in which they stand in the history, and more may follow; but an
        update, or time, may act later than it did. So what these brought about has to stand in the
        history before it is written, for which an ordinary activity sees.
        """
        local = not self._unanchored or self._session.revision == 1
        self._unanchored = False
        execute = workflow.execute_local_activity_method if local else workflow.execute_activity_method
        return await execute(
            activity,
            command,
            start_to_close_timeout=WRITE_TIMEOUT,
            retry_policy=WRITE_RETRIES,
            summary=summary,
        )

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
        workflow.set_current_details(story(self._session))
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
        if step.session is self._session:
            return
        self._session = step.session
        self._unqueued += step.callbacks

    def _take_now(self, step: Step) -> None:
        """Put a step into effect that depends on the moment, or on an update, and not on the history alone."""
        self._unanchored = self._unanchored or step.session is not self._session
        self._take(step)

    def _hear(self, event: AnyCarrierEvent) -> None:
        self._touched.add(event.call.call_uuid)
        self._take(took(self._session, event))

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
        if not self._was_answered():
            self._take_now(await self._or_rejected(lambda: expired(self._session, workflow.now())))
        await self._written()
        return self._answer()

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
        if self._was_answered():
            return snapshot(self._session)
        async with self._changing:
            terms = (await self._or_rejected(lambda: changed(self._session, change, workflow.now()))).session.terms
            if terms.parties != self._session.terms.parties:
                await self._take_routes_of(terms)
            self._take_now(await self._or_rejected(lambda: changed(self._session, change, workflow.now())))
        await self._written()
        if self._routes_lost:
            raise ApplicationError("The session lost its number.", type=ErrorType.ROUTE_LOST, non_retryable=True)
        return self._answer()

    async def _take_routes_of(self, terms: Terms) -> None:
        """Hold the routes of new parties before they count as the session's."""
        self._unanchored = True
        command = ChangeParties(session=self._session, terms=terms)
        result = await self._write(SessionActivities.change_parties, command, "take the routes of the new parties")
        if not result.holds_routes:
            raise ApplicationError(
                "Another session holds this party on the session's virtual number; create a new session.",
                type=ErrorType.PARTY_TAKEN,
                non_retryable=True,
            )

    async def _or_rejected(self, decide: Callable[[], ResultT]) -> ResultT:
        """What was decided; a rejection is told only once what it rests on is written down."""
        try:
            return decide()
        except Rejected as rejection:
            await self._written()
            raise _told(rejection) from None

    async def _written(self) -> None:
        """Wait until everything up to now is in the database."""
        version = self._session.version
        await workflow.wait_condition(lambda: self._recorded >= version)

    def _was_answered(self) -> bool:
        """Whether an earlier run of this session answered this very update. Within a run, Temporal knows."""
        update = workflow.current_update_info()
        return update is not None and update.id in self._answered_before

    def _answer(self) -> SessionSnapshot:
        update = workflow.current_update_info()
        if update is not None:
            self._answered.append(update.id)
        return snapshot(self._session)

    def _check_changeable(self) -> None:
        """Reject at once, without a trace in the history, what surely comes to nothing.

        While the end of the session is not written down, calls may still be connected: nobody is
        told of it before.
        """
        unwritten = self._recorded < self._session.version
        if self._session.phase is Phase.OPENING or unwritten or self._was_answered():
            return
        try:
            check_changeable(self._session, workflow.now())
        except Rejected as rejection:
            raise _told(rejection) from None


def _told(rejection: Rejected) -> ApplicationError:
    """The error that an update may fail with."""
    return ApplicationError(str(rejection), type=rejection.code, non_retryable=True)
