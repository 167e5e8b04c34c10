"""Playing a session's history through today's workflow code, and what that comes to."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleSignalInput,
    Interceptor,
    Replayer,
    StartActivityInput,
    StartLocalActivityInput,
    UnsandboxedWorkflowRunner,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from activities.sessions import RecordSession
from masking.audit.history import resets, signals_in, start_in
from masking.audit.resumed import Led, Resumed, combined, in_chains, taken_version
from masking.contract import session_workflow_id
from masking.domain.bill.charges import Bill
from masking.domain.callbacks import Callback
from masking.domain.events import AnyCarrierEvent, CarrierEvents
from masking.domain.hearing import heard
from masking.domain.lifecycle import settled
from masking.domain.session import Session
from masking.domain.start import SessionStart
from masking.log_format import redacted
from workflows.masking_session import MaskingSession

REPLAYED_WITHIN_S = 120.0
LONGEST_REASON = 300


class Replayed(NamedTuple):
    """What the workflow code made of a history.

    Attributes:
        bill: what the last run returned; None if it did not end.
        session: the state that it wrote last; None for a session that was refused.
        callbacks: all that it queued, by their ids.
        continued: what runs handed to the next, when they had grown long.
        failure: why a history does not fit the code; then the rest is not to be relied on.
        resumed: what there is to say of the runs from which others took over, because they were lost.
    """

    bill: Bill | None
    session: Session | None
    callbacks: dict[str, Callback]
    continued: list[SessionStart]
    failure: str = ""
    resumed: Resumed = Resumed()


class _Seen:
    """What the workflow did at its borders, run after run, as long as each handed over to the next.

    Args:
        start: of the first run.
        wanted: the version of the state that another run took over; None where none did.
    """

    def __init__(self, start: SessionStart | None, wanted: int | None) -> None:
        self.led = Led(start)
        self.bill: Bill | None = None
        self.session: Session | None = None
        self.continued: list[SessionStart] = []
        self._wanted = wanted
        self._closing: RecordSession | None = None
        if start is not None and start.carried is not None:
            self.note_state(start.carried.session)
        self.running: object = None
        self.signals = 0

    def note_activity(self, args: Sequence[Any]) -> None:
        for each in args:
            if isinstance(each, RecordSession):
                if self.session is None or each.session.version >= self.session.version:
                    self.session = each.session
                self.note_callbacks(each.callbacks)
                self.note_state(each.session)
                self._closing = each if each.settle_at is not None else self._closing

    def note_signal(self, args: Sequence[Any], session: Session) -> None:
        self.signals += 1
        if self._wanted is None:
            return
        for each in args:
            self.led.heard.extend(each.events if isinstance(each, CarrierEvents) else [each])
        self.note_state(session)

    def note_unheeded(self, signals: Sequence[Sequence[AnyCarrierEvent]], session: Session) -> None:
        """What reached a run in no workflow task that its history has whole; it may have written it all the same.

        A local activity does so. Its state follows from the signals alone (`workflows/recorded_state.py`).
        """
        for events in signals:
            for event in events:
                session, callbacks = heard(session, event)
                self.note_callbacks(callbacks)
            self.led.heard.extend(events)
            self.note_state(session)

    def note_callbacks(self, callbacks: Sequence[Callback]) -> None:
        self.led.callbacks |= {callback.callback_id: callback for callback in callbacks}

    def note_state(self, session: Session) -> None:
        self.led.newest = max(self.led.newest, session.version)
        if session.version == self._wanted:
            self.led.states.append(session)

    def note_end(self, bill: Bill) -> None:
        self.bill = bill
        closing = self._closing
        if closing is not None and closing.settle_at is not None and closing.settle_at == bill.settled_at:
            # The last write closed the bill as well.
            self.session = settled(closing.session, closing.settle_at).session


class _Listening(Interceptor):
    """Sees what a workflow asks for and returns. The state it writes is the state it has."""

    def __init__(self, seen: _Seen) -> None:
        self._seen = seen

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        """A class that knows where to note things."""
        del input
        seen = self._seen

        class Outbound(WorkflowOutboundInterceptor):
            def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
                seen.note_activity(input.args)
                return super().start_activity(input)

            def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
                seen.note_activity(input.args)
                return super().start_local_activity(input)

            def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
                seen.continued += [each for each in input.args if isinstance(each, SessionStart)]
                super().continue_as_new(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))
                seen.signals = 0

            async def handle_signal(self, input: HandleSignalInput) -> None:
                # As it was opened, or taken over: that was written by other means.
                seen.note_state(_session_of(workflow.instance()))
                await super().handle_signal(input)
                seen.note_signal(input.args, _session_of(workflow.instance()))

            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
                seen.running = workflow.instance()
                returned = await super().execute_workflow(input)
                seen.note_end(returned)
                return returned

        return Inbound


async def replay(session_uuid: str, runs: Sequence[Sequence[HistoryEvent]]) -> Replayed:
    """Play the histories of a session's runs, in the clear, in their order.

    Outside the sandbox, which would load the workflow anew for each: workflows read no clock and no chance, which
    `tests/domain/test_purity.py` sees to, and nothing that they do reaches anything here.
    """
    chains = in_chains(runs)
    played: list[_Seen] = []
    for n, chain in enumerate(chains):
        following = start_in(chains[n + 1][0]) if n + 1 < len(chains) else None
        seen = _Seen(
            start_in(chain[0]), taken_version(following, start_in(chain[0])) if following is not None else None
        )
        seen.led.was_reset = any(resets(events) for events in chain)
        seen.led.failure = await _play(session_uuid, [each for each in chain if _did_something(each)], seen)
        if following is not None:
            _note_rest(chain[-1], seen)
        played.append(seen)
    last = played[-1]
    callbacks, resumed = combined([each.led for each in played])
    continued = [each for seen in played for each in seen.continued]
    return Replayed(last.bill, last.session, callbacks, continued, last.led.failure, resumed)


def _did_something(events: Sequence[HistoryEvent]) -> bool:
    """Whether a run had a workflow task; the SDK would wait for one for ever."""
    return any(each.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED for each in events)


def _note_rest(events: Sequence[HistoryEvent], seen: _Seen) -> None:
    """Note what a lost run had come to at its end, and what reached it then."""
    start, state, told = start_in(events), None, 0
    if not _did_something(events):
        if start is not None and start.carried is not None:
            state = start.carried.session
            seen.note_callbacks(start.carried.callbacks)
    elif isinstance(seen.running, MaskingSession):
        state, told = seen.running.session, seen.signals
        seen.note_callbacks(seen.running.unwritten)
    if state is not None:
        seen.note_state(state)
        seen.note_unheeded(signals_in(events)[told:], state)


def _session_of(instance: object) -> Session:
    if not isinstance(instance, MaskingSession):
        raise TypeError("this is no session's workflow")
    return instance.session


async def _play(session_uuid: str, runs: Sequence[Sequence[HistoryEvent]], seen: _Seen) -> str:
    """Play runs that handed over to each other; why they do not fit the code, empty if they do."""
    replayer = Replayer(
        workflows=[MaskingSession],
        workflow_task_executor=_threads(),
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=pydantic_data_converter,
        interceptors=[_Listening(seen)],
        build_id="audit",
    )
    failure = ""
    try:
        with SILENCE.kept():
            async with (
                asyncio.timeout(REPLAYED_WITHIN_S),
                replayer.workflow_replay_iterator(_histories(session_uuid, runs)) as results,
            ):
                async for result in results:
                    if result.replay_failure is not None:
                        failure = _reason(result.replay_failure)
                        break
    except TimeoutError:
        failure = f"it was not played through within {REPLAYED_WITHIN_S:g} s"
    return failure


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Where workflow code runs; the SDK would make threads anew for each pack."""
    return ThreadPoolExecutor(2)


async def _histories(session_uuid: str, runs: Sequence[Sequence[HistoryEvent]]) -> AsyncIterator[WorkflowHistory]:
    for events in runs:
        yield WorkflowHistory(session_workflow_id(session_uuid), events)


def _reason(failure: Exception) -> str:
    """A line of what the SDK says, without what looks like a number."""
    return redacted(" ".join(str(failure).split()))[:LONGEST_REASON]


class _Silence:
    """Lets the SDK log nothing while anybody needs that: what does not fit is told once, and by us.

    Histories are replayed side by side, and one that ends must neither let the others be heard nor leave it silent.
    """

    def __init__(self) -> None:
        self._logger, self._level, self._needed_by = logging.getLogger("temporalio"), logging.NOTSET, 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep it while the context lasts."""
        if self._needed_by == 0:
            self._level = self._logger.level
            self._logger.setLevel(logging.CRITICAL + 1)
        self._needed_by += 1
        try:
            yield
        finally:
            self._needed_by -= 1
            if self._needed_by == 0:
                self._logger.setLevel(self._level)


SILENCE = _Silence()
