"""A session's state in its workflow, and how much of it is written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.sessions import RecordSession, SessionActivities
    from masking.domain.callbacks import Callback
    from masking.domain.events import AnyCarrierEvent
    from masking.domain.lifecycle import Step, expired, took
    from masking.domain.session import Phase, Session
    from masking.domain.story import story

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
    history before it is written, for which an ordinary activity sees.

    Args:
        session: as it is written down already.
        queued: called when callbacks were queued with a version.
    """

    def __init__(self, session: Session, queued: Callable[[], None]) -> None:
        self.session = session
        self.routes_lost = False
        self._queued = queued
        self._recorded = session.version
        self._unqueued: list[Callback] = []
        self._touched: set[str] = set()
        self._unanchored = False

    @property
    def is_written(self) -> bool:
        """Whether the newest version is in the database."""
        return self._recorded >= self.session.version

    def take(self, step: Step) -> None:
        """Put a decided step into effect."""
        self.session = step.session
        self._unqueued += step.callbacks

    def take_now(self, step: Step) -> None:
        """Put a step into effect that depends on the moment, or on an update, and not on the history alone."""
        self._unanchored = self._unanchored or step.session is not self.session
        self.take(step)

    def hear(self, event: AnyCarrierEvent) -> None:
        """Take in what a carrier told. Never raises."""
        self._touched.add(event.call.call_uuid)
        self.take(took(self.session, event))

    def note_written(self) -> None:
        """The newest version was written down by other means than `record`."""
        self._recorded = self.session.version

    def tell(self) -> None:
        """Show the session's story in the Temporal UI. It costs more than hearing an event: once for many."""
        workflow.set_current_details(story(self.session))

    async def record(self) -> None:
        """Write the newest state and its callbacks down."""
        while not self.is_written:
            self.tell()
            session, callbacks, touched = self.session, tuple(self._unqueued), tuple(sorted(self._touched))
            local = not self._unanchored
            self._unqueued.clear()
            self._touched.clear()
            self._unanchored = False
            result = await self.write(
                SessionActivities.record_session,
                RecordSession(session=session, callbacks=callbacks, touched=touched),
                f"record version {session.version}",
                local=local,
            )
            self._recorded = session.version
            if callbacks:
                self._queued()
            if not result.holds_routes and self.session.phase is Phase.ACTIVE:
                # Only a clock far off can bring this about. Ending the session is the safe side.
                workflow.logger.error("the session lost its routes and is ended")
                self.routes_lost = True
                self.take_now(expired(self.session, workflow.now()))

    async def written(self) -> None:
        """Wait until everything up to now is in the database."""
        version = self.session.version
        await workflow.wait_condition(lambda: self._recorded >= version)

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
        as_local = local or self.session.revision == 1
        execute = workflow.execute_local_activity_method if as_local else workflow.execute_activity_method
        return await execute(
            activity,
            command,
            start_to_close_timeout=WRITE_TIMEOUT,
            retry_policy=WRITE_RETRIES,
            summary=summary,
        )
