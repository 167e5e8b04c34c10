"""A session's state in its workflow, and how much of it is written down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.sessions import RecordSession, SessionActivities, UnheededEvents
    from masking.domain.callbacks import Callback
    from masking.domain.events import AnyCarrierEvent
    from masking.domain.hearing import heard
    from masking.domain.lifecycle import Step, expired, settled
    from masking.domain.session import Phase, Session, check_known_rules
    from masking.domain.start import Carried
    from masking.domain.story import story

from workflows.heard_events import HeardEvents

WRITE_TIMEOUT = timedelta(seconds=10)
# Without an end on purpose: a session must be written down some day, however long PostgreSQL is away.
WRITE_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=10)
)

ParamT = TypeVar("ParamT")
ResultT = TypeVar("ResultT")


class RecordedState:
    """Holds a session, puts steps into effect, and has each version written to the database.

    What a local activity did stays done when its workflow task is lost with its worker and done again.
    Signals then come in the order in which they stand in the history, and more may follow; but an
    update, or time, may act later than it did. So what these brought about has to stand in the
    history before it is written, for which an ordinary activity sees. So does one once the session has
    expired: what comes next then depends on that it is written. It writes again whatever a local
    activity still has in hand: nothing waits for that one, and a run may end before it does.

    Args:
        session: as it is at the beginning of the run.
        queued: called when callbacks were queued with a version.
        may_close: whether nothing is under way that could still change the bill.
        carried: what an earlier run handed over; None where all of the session is written down.
    """

    def __init__(
        self, session: Session, queued: Callable[[], None], may_close: Callable[[], bool], carried: Carried | None
    ) -> None:
        check_known_rules(session)
        self.session = session
        self.routes_lost = False
        self._queued = queued
        self._may_close = may_close
        self._heard = HeardEvents(whole=carried is None)
        self._recorded = session.version if carried is None or carried.written is None else carried.written
        self._owed = self._confirmed = self._recorded
        self._early: list[AnyCarrierEvent] = []
        self._unqueued: list[Callback] = list(carried.callbacks) if carried is not None else []
        self._touched: set[str] = set(carried.touched) if carried is not None else set()
        self._begun = self._recorded
        self._being_written: list[RecordSession] = []
        self._promised = self._begun
        self._local_writer: asyncio.Task[None] | None = None
        self._unanchored = False
        self._reported = -1

    @property
    def is_reported(self) -> bool:
        """Whether everything that the gateway took was known to be in the newest version when that was written."""
        return self._reported >= self.session.version

    @property
    def is_written(self) -> bool:
        """Whether the newest version is in the database."""
        return self._recorded >= self.session.version

    @property
    def is_begun(self) -> bool:
        """Whether the newest version is in the database, on its way there, or the next to be."""
        return max(self._begun, self._promised) >= self.session.version

    @property
    def unwritten(self) -> tuple[Callback, ...]:
        """The callbacks of which nobody knows yet that they are queued, in their order."""
        return self._unwritten()[0]

    def take(self, step: Step) -> None:
        """Put a decided step into effect."""
        self.session = step.session
        self._unqueued += step.callbacks

    def take_now(self, step: Step) -> None:
        """Put a step into effect that depends on the moment, or on an update, and not on the history alone."""
        changed = step.session is not self.session
        self._unanchored = self._unanchored or changed
        self.take(step)
        if changed:
            self._owed = self.session.version

    def take_all_calls(self, step: Step) -> None:
        """Put a step into effect that may concern every call."""
        self._touched.update(step.session.interactions)
        self.take_now(step)

    def hear(self, event: AnyCarrierEvent) -> None:
        """Take in what a carrier told; once the session is open, where that is not known yet. Never raises.

        A worker may die between opening the session in the database and saying so: its parties may call by then.
        """
        self._heard.note(event.event_id)
        if self.session.phase is Phase.OPENING:
            self._early.append(event)
        else:
            self._take_in(event)

    def hear_early(self) -> None:
        """Take in what was told before the session was known to be open."""
        early, self._early = self._early, []
        for event in early:
            self._take_in(event)

    def _take_in(self, event: AnyCarrierEvent) -> None:
        before = self.session.interactions
        self.take(heard(self.session, event))
        if self.session.carrier == "voice":
            self._touched.add(event.call.call_uuid)
        else:
            # Such a carrier does not name the call.
            changed = self.session.interactions
            self._touched.update(call for call in changed if changed[call] is not before.get(call))

    def carried(self, ending: tuple[str, ...], update_ids: tuple[str, ...], *, outlives_cancel: bool) -> Carried:
        """What the next run needs to go on where this one ends. What is being written, it writes again."""
        callbacks, touched = self._unwritten()
        return Carried(
            session=self.session,
            ending=ending,
            update_ids=update_ids,
            written=self._recorded,
            callbacks=callbacks,
            touched=touched,
            outlives_cancel=outlives_cancel,
        )

    def _unwritten(self) -> tuple[tuple[Callback, ...], tuple[str, ...]]:
        """The callbacks and the touched calls of which nobody knows yet that they are written, in their order."""
        callbacks = (*(each for command in self._being_written for each in command.callbacks), *self._unqueued)
        touched = self._touched.union(*(command.touched or () for command in self._being_written))
        return callbacks, tuple(sorted(touched))

    def note_written(self) -> None:
        """The newest version was written down by other means than `record`."""
        self._recorded = self._begun = self._confirmed = self.session.version

    def let_go(self) -> None:
        """Do not wait for a local activity under way: the run ends.

        Else the SDK would record its result behind the command that ends the run, and the server would
        refuse that again and again (https://github.com/temporalio/sdk-rust/issues/659).
        """
        if self._local_writer is not None:
            self._local_writer.cancel()

    def tell(self) -> None:
        """Show the session's story in the Temporal UI. It costs more than hearing an event: once for many."""
        workflow.set_current_details(story(self.session))

    async def record(self) -> None:
        """Write the newest state down, and what comes meanwhile, and wait for it."""
        while not self.is_begun:
            await self._write(self._begin(local=False), local=False)

    async def record_newest(self) -> None:
        """Begin to write the newest state down, unless that has begun; return once it stands in the history.

        Not: once it is written. A query can make the result of a local activity come one workflow task
        later than its history tells, behind what that task brings. So no command may depend on whether it
        has come, and what is written later does not wait for it.
        """
        if self.is_begun:
            return
        if self._unanchored or self.session.phase is not Phase.ACTIVE:
            await self._write(self._begin(local=False), local=False)
        elif self._local_writer is not None and not self._local_writer.done():
            self._promised = self.session.version
        else:
            self._local_writer = asyncio.create_task(self._write_locally(self._begin(local=True)))

    async def _write_locally(self, command: RecordSession) -> None:
        """One write after the other, so that callbacks are queued in their order."""
        try:
            await self._write(command, local=True)
            # What was changed by other than events meanwhile is on its way already, or about to be, all of it.
            while self._begun < self.session.version and not self._unanchored and self.session.phase is Phase.ACTIVE:
                await self._write(self._begin(local=True), local=True)
        except (ActivityError, asyncio.CancelledError) as error:
            # What it had in hand stays unwritten as far as one knows, and goes along with the next ordinary write.
            if not is_cancelled_exception(error):
                workflow.logger.error("a write failed for good")

    def _begin(self, *, local: bool) -> RecordSession:
        """The newest version, to be written now."""
        self.tell()
        if local:
            callbacks, touched = tuple(self._unqueued), tuple(sorted(self._touched))
        else:
            callbacks, touched = self._unwritten()
        settle_at = None if local else self._settle_at()
        command = RecordSession(
            session=self.session,
            callbacks=callbacks,
            touched=touched,
            asks_unreported=not local and self.session.revision > 1 and self.session.phase is Phase.DRAINING,
            settle_at=settle_at,
            heard=(self._heard.all or ()) if settle_at is not None else (),
        )
        if settle_at is not None:
            self._heard.closing()
        self._unqueued.clear()
        self._touched.clear()
        self._unanchored = False
        self._begun = self.session.version
        self._being_written.append(command)
        return command

    def _settle_at(self) -> datetime | None:
        """When to close the bill with the next write: now, where nothing more is awaited; None where it stays open."""
        if self.session.revision < 3 or self._heard.all is None or not self._may_close():
            return None
        now = workflow.now()
        return now if settled(self.session, now).session.phase is Phase.SETTLED else None

    def settle(self) -> None:
        """Close the bill, as far as the workflow goes."""
        if self.session.revision > 2:
            self._heard.closing()
        self.take(settled(self.session, workflow.now()))
        self.tell()

    def _note_settled(self, command: RecordSession, settled_at: datetime) -> None:
        """The bill was closed with this version. What was heard meanwhile is not in it."""
        self.session = settled(command.session, settled_at).session
        self._unqueued.clear()
        self._touched.clear()
        self.note_written()
        self.tell()

    async def put_back_unheeded(self) -> None:
        """Let what came too late for the bill be told again, once the workflow has closed: it corrects the bill."""
        while event_ids := self._heard.taken_too_late():
            await workflow.execute_activity_method(
                SessionActivities.put_back_events,
                UnheededEvents(session_uuid=self.session.session_uuid, event_ids=event_ids),
                start_to_close_timeout=WRITE_TIMEOUT,
                retry_policy=WRITE_RETRIES,
                summary="put back what came too late",
            )

    async def _write(self, command: RecordSession, *, local: bool) -> None:
        session = command.session
        result = await self.write(
            SessionActivities.record_session, command, f"record version {session.version}", local=local
        )
        self._being_written.remove(command)
        self._recorded = max(self._recorded, session.version)
        if not local:
            self._confirmed = max(self._confirmed, session.version)
        if result.unreported == 0:
            # An ordinary activity looked, so what was signalled before stands before its result.
            self._reported = session.version
        if command.callbacks:
            self._queued()
        if command.settle_at is not None:
            if result.settled:
                self._note_settled(command, command.settle_at)
                return
            self._heard.left_open()
        if not result.holds_routes and self.session.phase is Phase.ACTIVE:
            # Only a clock far off can bring this about. Ending the session is the safe side.
            workflow.logger.error("the session lost its routes and is ended")
            self.routes_lost = True
            self.take_now(expired(self.session, workflow.now()))

    async def written(self) -> None:
        """Wait until all that updates and time brought about up to now is in the database.

        What signals brought stands in the history, which is enough. Nobody waits for a local activity here
        either: whether an update is over decides whether a long session goes on in a new run.
        """
        if self.session.revision == 1:
            version = self.session.version
            await workflow.wait_condition(lambda: self._recorded >= version)
        else:
            owed = self._owed
            await workflow.wait_condition(lambda: self._confirmed >= owed)

    async def write(
        self,
        activity: Callable[[SessionActivities, ParamT], Awaitable[ResultT]],
        command: ParamT,
        summary: str,
        *,
        local: bool,
    ) -> ResultT:
        """Have something written to the database.

        Args:
            local: whether it follows from the history alone. Sessions of revision 1 wrote all such things so.
        """
        if local or self.session.revision == 1:
            return await workflow.execute_local_activity_method(
                activity,
                command,
                start_to_close_timeout=WRITE_TIMEOUT,
                retry_policy=WRITE_RETRIES,
                cancellation_type=workflow.ActivityCancellationType.ABANDON,
                summary=summary,
            )
        return await workflow.execute_activity_method(
            activity,
            command,
            start_to_close_timeout=WRITE_TIMEOUT,
            retry_policy=WRITE_RETRIES,
            summary=summary,
        )
