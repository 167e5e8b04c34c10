"""One masking session, from its creation to its final bill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.callbacks import DeliverCallbacks
    from activities.sessions import RecordSession, SessionActivities, SessionRef, Unreported
    from masking.contract import (
        QUERY_SNAPSHOT,
        QUERY_STORY,
        UPDATE_EXPIRE,
        UPDATE_EXTEND,
        UPDATE_MODIFY,
        UPDATE_OPENED,
        UPDATE_RECORD_AGAIN,
        WORKFLOW_TYPE,
        refusal_type,
    )
    from masking.domain.bill.charges import Bill, bill
    from masking.domain.callbacks import Callback
    from masking.domain.counterpart.following import followed
    from masking.domain.counterpart.reconciling import reconciled
    from masking.domain.counterpart.told import ToldSession
    from masking.domain.deadlines import Deadline, calls_deadline, overdue_calls, own_deadline, soonest, waiting_for
    from masking.domain.events import AnyCarrierEvent, Call
    from masking.domain.lifecycle import (
        elapsed,
        given_up,
        remarked,
        requested,
        stepped,
    )
    from masking.domain.resuming import owes_first_call
    from masking.domain.session import Phase, Session
    from masking.domain.snapshot import SessionSnapshot, snapshot
    from masking.domain.start import SessionStart
    from masking.domain.story import story
    from masking.domain.terms import Change, Expire, Extend

from workflows.answered_updates import AnsweredUpdates
from workflows.asked_changes import AskedChanges
from workflows.cancellation import outliving_cancellation
from workflows.carrier_orders import CarrierOrders
from workflows.carrier_signals import CarrierSignals
from workflows.counterpart import CounterpartOrders
from workflows.courier import Courier
from workflows.lists import tell_lists
from workflows.movable_timer import SessionTimers
from workflows.opening import Opening
from workflows.recorded_state import WRITE_RETRIES, WRITE_TIMEOUT, RecordedState

LOOK_AGAIN_FIRST, LOOK_AGAIN_LAST = timedelta(seconds=2), timedelta(minutes=5)
WAIT_FOR_UNREPORTED = timedelta(hours=25)

BEFORE_CONTINUING = timedelta(milliseconds=10)

CATCH_UP, CATCH_UP_PAUSE = timedelta(minutes=1), timedelta(seconds=1)
"""How long a run that takes over waits for the events that come again, and how long at first between two looks."""


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
        session = carried.session if carried is not None else requested(start, workflow.info().start_time)
        self._courier = Courier(DeliverCallbacks(session_uuid=session.session_uuid, account_id=session.owner_id))
        self._state = RecordedState(session, self._queued, self._may_close, carried)
        self._updates = AnsweredUpdates(carried.update_ids if carried is not None else ())
        # Where the carrier masks: the session there, which this one follows.
        self._counterpart = (
            CounterpartOrders(lambda: self.session, self._give_up, self._remark, self._move_along, self._reconcile)
            if session.carrier != "voice"
            else None
        )
        self._changes = AskedChanges(self._state, self._updates, self._counterpart)
        ending = carried.ending if carried is not None else ()
        self._orders = self._counterpart or CarrierOrders(self._hear, self._give_up, self._remark, ending)
        # Comes with the opening's result: workflows that began before this was decided are broken off, as they were.
        self._outlives_cancel = carried is not None and carried.outlives_cancel
        self._answers_seen = 0
        self._held_up = False
        self._timers = SessionTimers()

    @property
    def session(self) -> Session:
        """The session as it is now."""
        return self._state.session

    @property
    def unwritten(self) -> tuple[Callback, ...]:
        """The callbacks of which it does not know yet that they are queued, for whoever replays it."""
        return self._state.unwritten

    @workflow.run
    async def run(self, start: SessionStart) -> Bill:
        """The story of a session. Returns its final bill."""
        if start.carried is None:
            await self._open_though_cancelled()
        if self._outlives_cancel:
            return await outliving_cancellation(self._live(), self._changes.end)
        return await self._live()

    async def _live(self) -> Bill:
        """What follows once it is clear whether the session is open."""
        if self.session.phase is not Phase.REFUSED:
            if self._start.carried is None:
                self._orders.opened(self.session)
            elif self._start.carried.resumes is not None:
                await self._take_over()
            await self._advance_until(lambda: self.session.phase is not Phase.ACTIVE)
            await self._drain()
            if self._counterpart is not None:
                # What the carrier's record adds may have to be waited for in its turn.
                await self._orders_finished()
                await self._drain()
            await self._settle()
        await self._orders.finished()
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self._state.put_back_unheeded()
        self._state.let_go()
        return bill(self.session)

    async def _take_over(self) -> None:
        """Hear first what the lost run may have heard and not written down; then see to what it may not have begun.

        Else time would act on a state of long ago: give up calls whose ends are known, and tell of the session's end
        before what came before it. What does not come keeps the bill open as ever, and nothing else.
        """
        self._state.tell()
        until, pause = workflow.now() + CATCH_UP, CATCH_UP_PAUSE
        while not await self._all_forwarded() and workflow.now() < until:
            await workflow.sleep(pause, summary="hear again what the lost run may have heard")
            pause *= 2
        if owes_first_call(self.session):
            self._orders.opened(self.session)

    async def _open_though_cancelled(self) -> None:
        """Open the session; one that is cancelled meanwhile may be open already, so that it ends as any other."""
        opening = Opening(self._state, self._counterpart, self._start)
        try:
            self._outlives_cancel = await opening.carry_out()
        except (ActivityError, asyncio.CancelledError) as error:
            # A worker that evicts the workflow cancels its tasks, too.
            if workflow.cancellation_reason() is None or not is_cancelled_exception(error):
                raise
            self._outlives_cancel = await opening.carry_out()
            await self._changes.end()

    async def _advance_until(self, done: Callable[[], bool]) -> None:
        """Let time and triggers act on the session, recording each step, until `done`.

        Nothing here waits for a local activity (see `RecordedState.record_newest`).
        """
        if self.session.revision == 1:
            await self._advance_until_as_revision_1(done)
            return
        pause = LOOK_AGAIN_FIRST
        while True:
            self._continue_if_due()
            if self._counterpart is not None:
                await self._counterpart.look_if_due()
            self._state.take_now(elapsed(self.session, workflow.now()))
            if self.session.phase is Phase.DRAINING:
                self._orders.expired(self.session)
            self._answers_seen = self._orders.answers
            again = None
            if overdue := self._overdue():
                if await self._everything_reported():
                    self._orders.ask(self.session, overdue)
                    pause = LOOK_AGAIN_FIRST
                else:
                    again = Deadline(workflow.now() + pause, "wait for events on their way")
                    pause = min(pause * 2, LOOK_AGAIN_LAST)
            self._set_timers(again, besides=self._orders.asking | {call.call_uuid for call in overdue})
            await self._state.record_newest()
            if done():
                self._timers.stop()
                return
            await workflow.wait_condition(lambda: self._is_due() or (self.session.revision > 4 and done()))

    async def _advance_until_as_revision_1(self, done: Callable[[], bool]) -> None:
        while True:
            self._state.take_now(elapsed(self.session, workflow.now()))
            await self._state.record()
            if done():
                self._timers.stop()
                return
            if self._overdue():
                if await self._everything_reported():
                    self._state.take_now(given_up(self.session, workflow.now()))
                    continue
                self._timers.own.set(Deadline(workflow.now() + LOOK_AGAIN_FIRST, "wait for events on their way"))
            else:
                self._timers.own.set(soonest(own_deadline(self.session), calls_deadline(self.session)))
            await workflow.wait_condition(self._is_due)

    def _overdue(self) -> list[Call]:
        """The calls whose last events should have come, and of which the carrier is not being asked yet."""
        overdue = overdue_calls(self.session, workflow.now())
        return [call for call in overdue if call.call_uuid not in self._orders.asking]

    def _set_timers(self, again: Deadline | None, besides: Collection[str]) -> None:
        """Ring when time alone changes something next, or before."""
        own = own_deadline(self.session)
        first = soonest(own, again, calls_deadline(self.session, besides))
        is_long = workflow.info().is_continue_as_new_suggested()
        self._held_up = is_long and self.session.revision > 4 and not self._is_idle()
        continues = is_long and not self._held_up
        self._timers.own.set(own)
        self._timers.calls.set(first if first != own else None)
        self._timers.long.set(Deadline(workflow.now() + BEFORE_CONTINUING, "go on in a new run") if continues else None)

    def _is_due(self) -> bool:
        """Whether there is something to look at: time, a trigger, an answer of the carrier, or that nothing holds a
        new run up any more."""
        has_answer = self._orders.answers > self._answers_seen
        return self._timers.rang or not self._state.is_begun or has_answer or (self._held_up and self._is_idle())

    def _continue_if_due(self) -> None:
        """Go on in a new run once the history has grown long, at a moment when nothing is under way.

        Only in a workflow task that a timer began: it has heard everything that stands in the history. What
        of that is not written yet, the new run writes, so that a session that is told something all the time
        goes on too.
        """
        if self._timers.long.rang and self._is_idle():
            carried = self._state.carried(self._orders.ending, self._updates.ids, outlives_cancel=self._outlives_cancel)
            self._state.let_go()
            workflow.continue_as_new(self._start.model_copy(update={"carried": carried}))

    def _is_idle(self) -> bool:
        """Whether no order, delivery or update is under way."""
        return self._orders.idle and self._courier.idle and workflow.all_handlers_finished()

    def _may_close(self) -> bool:
        """Whether nothing is under way, or to be asked, that could still change the bill."""
        return self._orders.idle and (self._counterpart is None or not self._counterpart.owes_look)

    def _give_up(self, calls: frozenset[str]) -> None:
        self._state.take_now(given_up(self.session, workflow.now(), calls))

    def _remark(self, remark: str) -> None:
        self._state.take(remarked(self.session, remark))

    def _move_along(self, told: ToldSession) -> None:
        self._state.take_now(followed(self.session, told, workflow.now()))

    def _reconcile(self, told: ToldSession) -> None:
        self._state.take_all_calls(reconciled(self.session, told))

    async def _drain(self) -> None:
        """Wait for what the session's calls still owe: their ends, their recordings, events on their way."""
        tell_lists(self.session, "expired")
        self._orders.expired(self.session)
        # Of a session that was resumed long after its end, events are on their way only since then.
        give_up_at = max((self.session.expires_at, *self.session.resumed)) + WAIT_FOR_UNREPORTED
        pause = LOOK_AGAIN_FIRST
        while True:
            await self._advance_until(lambda: not waiting_for(self.session))
            if self.session.phase is Phase.SETTLED:
                return
            if self.session.revision > 2 and not self._state.is_begun:
                continue
            reported = self._state.is_reported or await self._everything_reported()
            if not self._state.is_begun:
                continue
            if reported or workflow.now() >= give_up_at:
                return
            try:
                await workflow.wait_condition(
                    lambda: not self._state.is_begun,
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
        return (await self._unreported()).count == 0

    async def _all_forwarded(self) -> bool:
        """Whether no event that the gateway took is on its way; calls that have not ended may tell more."""
        return (await self._unreported()).waiting == 0

    async def _unreported(self) -> Unreported:
        return await workflow.execute_activity_method(
            SessionActivities.count_unreported,
            SessionRef(session_uuid=self.session.session_uuid),
            start_to_close_timeout=WRITE_TIMEOUT,
            retry_policy=WRITE_RETRIES,
            summary="ask for events on their way",
        )

    async def _orders_finished(self) -> None:
        """Wait for what was asked of the carrier, and serve the session meanwhile."""
        if self.session.revision > 4:
            if not self._orders.idle:
                await self._advance_until(lambda: self._orders.idle)
        else:
            await self._orders.finished()

    async def _settle(self) -> None:
        # What orders still have to say comes before the bill.
        await self._orders_finished()
        await self._courier.finished()
        while not self._state.is_begun:
            await self._state.record()
            await self._courier.finished()
        if self.session.phase is Phase.SETTLED:
            return
        self._state.settle()
        # An ordinary activity on purpose: that this state is the final one stands in the history before it is written.
        await workflow.execute_activity_method(
            SessionActivities.settle_session,
            RecordSession(session=self.session),
            start_to_close_timeout=WRITE_TIMEOUT,
            retry_policy=WRITE_RETRIES,
            summary="close the bill",
        )
        self._state.note_written()

    def _hear(self, event: AnyCarrierEvent) -> None:
        self._state.hear(event)

    def _queued(self) -> None:
        if self.session.revision == 1:
            self._courier.wake()

    # What the account asks for. Each answers once the change is written down.

    @workflow.update(name=UPDATE_OPENED, description="Wait until the session is open.")
    async def opened(self) -> SessionSnapshot:
        """The session once it is open.

        Raises:
            ApplicationError: `NumberPoolExhausted`, `PinTaken`, `AccountUnknown`, `RequestInvalid`.
        """
        await workflow.wait_condition(lambda: self.session.phase is not Phase.OPENING)
        if self.session.phase is Phase.REFUSED:
            raise ApplicationError(self.session.refusal, type=refusal_type(self.session), non_retryable=True)
        await self._state.written()
        return snapshot(self.session)

    @workflow.update(name=UPDATE_MODIFY, description="Change terms, the expiry among them.")
    async def modify(self, change: Change) -> SessionSnapshot:
        """Change terms, the expiry among them.

        Raises:
            ApplicationError: `SessionAlreadyExpired`, `RequestInvalid`, `SamePartyTwice`, `PartyTaken`.
        """
        return await self._changes.change(change)

    @modify.validator
    def _may_modify(self, change: Change) -> None:
        self._changes.check(change)

    @workflow.update(name=UPDATE_EXTEND, description="Let the session expire so many seconds from now.")
    async def extend(self, extend: Extend) -> SessionSnapshot:
        """Let the session expire so many seconds from now, later or earlier than it would.

        Raises:
            ApplicationError: `SessionAlreadyExpired`, `RequestInvalid`.
        """
        return await self._changes.change(Change(session_expiry=extend.session_expiry))

    @extend.validator
    def _may_extend(self, extend: Extend) -> None:
        self._changes.check(Change(session_expiry=extend.session_expiry))

    @workflow.update(name=UPDATE_EXPIRE, description="End the session now.")
    async def expire(self, expire: Expire) -> SessionSnapshot:
        """End the session now. A call in progress goes on.

        Raises:
            ApplicationError: `SessionAlreadyExpired`.
        """
        return await self._changes.expire()

    @expire.validator
    def _may_expire(self, expire: Expire) -> None:
        self._changes.check()

    @workflow.update(name=UPDATE_RECORD_AGAIN, description="Write the session down again, as it is.")
    async def record_again(self) -> SessionSnapshot:
        """The session once all of it is written down again: the database may have lost some of it."""
        await workflow.wait_condition(lambda: self.session.phase is not Phase.OPENING)
        if self.session.phase not in (Phase.REFUSED, Phase.SETTLED):
            self._state.take_all_calls(stepped(self.session))
            await self._state.written()
        return snapshot(self.session)

    @workflow.query(name=QUERY_SNAPSHOT, description="The session now, in short.")
    def snapshot(self) -> SessionSnapshot:
        """The session now, in short."""
        return snapshot(self.session)

    @workflow.query(name=QUERY_STORY, description="What has happened, in words.")
    def story(self) -> str:
        """What has happened, in words and without numbers."""
        return story(self.session)
