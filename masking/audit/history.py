"""The history in a pack: its runs in the clear, and whether they are whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from typing import NamedTuple, TypeVar

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.contrib.pydantic import pydantic_data_converter

from masking.audit.contents import HISTORY
from masking.audit.opening import WrongContents
from masking.audit.pack import Header, Record
from masking.audit.payloads import unsealed
from masking.contract import EVENTS, SIGNAL_EVENTS, WORKFLOW_TYPE, session_workflow_id
from masking.domain.bill.charges import Bill
from masking.domain.events import AnyCarrierEvent, CarrierEvents
from masking.domain.lifecycle import refused, requested
from masking.domain.model import Model
from masking.domain.session import Session
from masking.domain.start import SessionStart
from masking.privacy.session_cipher import SessionCipher

LOST = (
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
)
"""How a run may have ended from which another one took over."""

SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
RESET = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW

ModelT = TypeVar("ModelT", bound=Model)


class Run(NamedTuple):
    """A run of the session's workflow, its events in the clear."""

    run_id: str
    events: list[HistoryEvent]


def runs_of(records: Iterable[Record], cipher: SessionCipher | None) -> list[Run]:
    """The runs in a pack, in their order.

    Raises:
        Unreadable: they are under another key.
        WrongContents: a record is no event.
    """
    runs: dict[int, Run] = {}
    for record in records:
        if record.section != HISTORY:
            continue
        number, run_id, event = (record.body.get(key) for key in ("run", "run_id", "event"))
        if not isinstance(number, int) or not isinstance(run_id, str) or not isinstance(event, dict):
            raise WrongContents(f"{record.section} {record.record} is no event")
        run = runs.setdefault(number, Run(run_id, []))
        if run.run_id != run_id:
            raise WrongContents(f"{record.section} {record.record} is of another run")
        run.events.append(unsealed(event, cipher))
    return [runs[number] for number in sorted(runs)]


def faults(runs: Sequence[Run], header: Header) -> Iterator[str]:
    """Why these are not the whole history of the session that the header names."""
    if len(runs) != header.runs:
        yield f"the header tells of {header.runs} runs, there are {len(runs)}"
        return
    for number, run in enumerate(runs):
        name = f"run {number + 1}" if header.runs > 1 else "the history"
        if [event.event_id for event in run.events] != list(range(1, len(run.events) + 1)):
            yield f"{name} lacks events, or has them in a wrong order"
            return
        before = runs[number - 1] if number else None
        after = runs[number + 1] if number + 1 < len(runs) else None
        yield from _of_run(name, run, header.session_uuid, before, after)


def _of_run(name: str, run: Run, session_uuid: str, run_before: Run | None, after: Run | None) -> Iterator[str]:
    before = run_before.run_id if run_before is not None else ""
    before_is_called = {before, *resets(run_before.events)} if run_before is not None else set[str]()
    first, last = run.events[0], run.events[-1]
    if first.event_type != EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
        yield f"{name} does not begin with its start"
        return
    started, start = first.workflow_execution_started_event_attributes, start_of(run)
    workflow_id = session_workflow_id(session_uuid)
    if (started.workflow_type.name, started.workflow_id) != (WORKFLOW_TYPE, workflow_id):
        yield f"{name} is of another workflow"
    if started.original_execution_run_id != run.run_id:
        yield f"{name} is of another run than it says"
    lost = resumes(start)
    follows = started.continued_execution_run_id == before if lost is None else not before or lost in before_is_called
    if not follows or (lost is not None and started.continued_execution_run_id):
        yield f"{name} does not follow from the one before it"
    begins_so = (start is not None and start.carried is not None) is (before != "" or lost is not None)
    if start is None or start.session_uuid != session_uuid or not begins_so:
        yield f"{name} does not begin with this session"
    ends: Sequence[EventType.ValueType] = [EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED]
    if after is not None and resumes(start_of(after)) is not None:
        ends = LOST
    elif after is not None:
        ends = [EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW]
    if last.event_type not in ends:
        yield f"{name} does not end as it should"


def start_of(run: Run) -> SessionStart | None:
    """What a run began with; None if that is something else."""
    return start_in(run.events)


def start_in(events: Sequence[HistoryEvent]) -> SessionStart | None:
    """What a run with these events began with, in the clear; None if that is something else."""
    return start_in_payloads(events[0].workflow_execution_started_event_attributes.input.payloads)


def start_in_payloads(payloads: Sequence[Payload]) -> SessionStart | None:
    """The same, by what the run's start holds."""
    return _decoded(payloads, SessionStart)


def resumes(start: SessionStart | None) -> str | None:
    """The id of the run from which one that began so took over, since it was lost, empty where Temporal had none."""
    return start.carried.resumes if start is not None and start.carried is not None else None


def resets(events: Sequence[HistoryEvent]) -> list[str]:
    """The ids under which a run went on once it was reset; its history keeps the first one's."""
    failures = (event.workflow_task_failed_event_attributes for event in events)
    return [each.new_run_id for each in failures if each.cause == RESET]


def signals_in(events: Sequence[HistoryEvent]) -> list[tuple[AnyCarrierEvent, ...]]:
    """What each signal of a history told, in their order; nothing where one is something else."""
    signals = [each.workflow_execution_signaled_event_attributes for each in events if each.event_type == SIGNALED]
    return [_told(signal.signal_name, signal.input.payloads) for signal in signals]


def _told(name: str, payloads: Sequence[Payload]) -> tuple[AnyCarrierEvent, ...]:
    if name == SIGNAL_EVENTS:
        several = _decoded(payloads, CarrierEvents)
        return several.events if several is not None else ()
    alone = _decoded(payloads, EVENTS[name]) if name in EVENTS else None
    return (alone,) if alone is not None else ()


def result_of(run: Run) -> Bill | None:
    """What a run ended with; None if that is something else."""
    return _decoded(run.events[-1].workflow_execution_completed_event_attributes.result.payloads, Bill)


def refused_session(runs: Sequence[Run]) -> Session | None:
    """The session that a history of a refusal tells of; None if it tells of something else."""
    start, result = start_of(runs[0]), result_of(runs[-1])
    if start is None or result is None or not result.refusal:
        return None
    return refused(requested(start, runs[0].events[0].event_time.ToDatetime(tzinfo=UTC)), result.refusal).session


def _decoded(payloads: Sequence[Payload], model_type: type[ModelT]) -> ModelT | None:
    try:
        (found,) = pydantic_data_converter.payload_converter.from_payloads(payloads, [model_type])
    except (ValueError, RuntimeError):
        return None
    return found if isinstance(found, model_type) else None
