"""The history in a pack: its runs in the clear, and whether they are whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from typing import NamedTuple, TypeVar

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.contrib.pydantic import pydantic_data_converter

from masking.audit.contents import HISTORY
from masking.audit.opening import WrongContents
from masking.audit.pack import Header, Record
from masking.audit.payloads import unsealed
from masking.contract import WORKFLOW_TYPE, session_workflow_id
from masking.domain.lifecycle import refused, requested
from masking.domain.model import Model
from masking.domain.session import Bill, Session
from masking.domain.start import SessionStart
from masking.privacy.session_cipher import SessionCipher

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
        before = runs[number - 1].run_id if number else ""
        yield from _of_run(name, run, header.session_uuid, before, is_last=number == len(runs) - 1)


def _of_run(name: str, run: Run, session_uuid: str, before: str, *, is_last: bool) -> Iterator[str]:
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
    if started.continued_execution_run_id != before:
        yield f"{name} does not follow from the one before it"
    if start is None or start.session_uuid != session_uuid or (start.carried is None) is not (before == ""):
        yield f"{name} does not begin with this session"
    ended = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
    went_on = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW
    if last.event_type != (ended if is_last else went_on):
        yield f"{name} does not end as it should"


def start_of(run: Run) -> SessionStart | None:
    """What a run began with; None if that is something else."""
    return _decoded(run.events[0].workflow_execution_started_event_attributes.input, SessionStart)


def result_of(run: Run) -> Bill | None:
    """What a run ended with; None if that is something else."""
    return _decoded(run.events[-1].workflow_execution_completed_event_attributes.result, Bill)


def refused_session(runs: Sequence[Run]) -> Session | None:
    """The session that a history of a refusal tells of; None if it tells of something else."""
    start, result = start_of(runs[0]), result_of(runs[-1])
    if start is None or result is None or not result.refusal:
        return None
    return refused(requested(start, runs[0].events[0].event_time.ToDatetime(tzinfo=UTC)), result.refusal).session


def _decoded(payloads: Payloads, model_type: type[ModelT]) -> ModelT | None:
    try:
        (found,) = pydantic_data_converter.payload_converter.from_payloads(payloads.payloads, [model_type])
    except (ValueError, RuntimeError):
        return None
    return found if isinstance(found, model_type) else None
