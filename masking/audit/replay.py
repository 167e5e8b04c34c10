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
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
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
from masking.contract import session_workflow_id
from masking.domain.callbacks import Callback
from masking.domain.lifecycle import settled
from masking.domain.session import Bill, Session
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
        continued: what each run but the last handed to the next.
        failure: why a history does not fit the code; then the rest is not to be relied on.
    """

    bill: Bill | None
    session: Session | None
    callbacks: dict[str, Callback]
    continued: list[SessionStart]
    failure: str = ""


class _Seen:
    """What the workflow did at its borders, run after run."""

    def __init__(self) -> None:
        self.bill: Bill | None = None
        self.session: Session | None = None
        self.callbacks: dict[str, Callback] = {}
        self.continued: list[SessionStart] = []
        self._closing: RecordSession | None = None

    def note_activity(self, args: Sequence[Any]) -> None:
        for each in args:
            if isinstance(each, RecordSession):
                if self.session is None or each.session.version >= self.session.version:
                    self.session = each.session
                self.callbacks |= {callback.callback_id: callback for callback in each.callbacks}
                self._closing = each if each.settle_at is not None else self._closing

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

            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
                returned = await super().execute_workflow(input)
                seen.note_end(returned)
                return returned

        return Inbound


async def replay(session_uuid: str, runs: Sequence[Sequence[HistoryEvent]]) -> Replayed:
    """Play the histories of a session's runs, in the clear, in their order.

    Outside the sandbox, which would load the workflow anew for each: workflows read no clock and no chance, which
    `tests/domain/test_purity.py` sees to, and nothing that they do reaches anything here.
    """
    seen = _Seen()
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
        with _silent():
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
    return Replayed(seen.bill, seen.session, seen.callbacks, seen.continued, failure)


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


@contextmanager
def _silent() -> Iterator[None]:
    """Let the SDK log nothing: what does not fit is told once, and by us."""
    logger = logging.getLogger("temporalio")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
