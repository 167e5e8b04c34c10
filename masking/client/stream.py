"""The stream of a session's events, read from the history of its workflow.

A history is there without a worker, costs no Action to read or to wait for, and has an order of its own, in which a
reader can go on where it was. So the stream needs nothing that the session would have to do for it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import NamedTuple

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.converter import WorkflowSerializationContext
from temporalio.service import RPCError, RPCStatusCode

from masking.client.errors import OutcomeUnknown, SessionRefused, named
from masking.client.events import CallEvent, SessionEvent
from masking.client.history import RunReader
from masking.client.runs import Beginning, beginnings
from masking.contract import session_workflow_id

POLL_TIMEOUT = timedelta(seconds=70)
"""Of one request; the server answers a waiting one after 20 to 60 s, with nothing if nothing happened."""

PATIENCE_S = 300.0
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 5.0

_PASSING = {
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.INTERNAL,
    RPCStatusCode.UNKNOWN,
    RPCStatusCode.ABORTED,
}

_STOPPED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT,
}


class Position(NamedTuple):
    """A place in a session's histories.

    Attributes:
        run_id: of the run; empty for the first one.
        event: the event of its history, from 1.
        part: the what-th thing that it tells, from 0.
    """

    run_id: str
    event: int
    part: int

    def __str__(self) -> str:
        return f"{self.run_id}/{self.event}/{self.part}"

    @classmethod
    def read(cls, written: str) -> Position:
        """Raises `ValueError` for what is no position."""
        try:
            run_id, event, part = written.split("/")
            return cls(run_id, int(event), int(part))
        except ValueError:
            raise ValueError("after must be the position of an event of this session") from None


async def events_of(client: Client, session_uuid: str, after: str | None) -> AsyncGenerator[SessionEvent, None]:
    """See `MaskingClient.events`."""
    workflow_id = session_workflow_id(session_uuid)
    converter = client.data_converter.with_context(
        WorkflowSerializationContext(namespace=client.namespace, workflow_id=workflow_id)
    )
    at = Position.read(after) if after is not None else None
    known = await _known(client, workflow_id)
    run_id: str | None = at.run_id if at is not None else known[0].run_id
    told_before = await _told_before(client, RunReader(converter, session_uuid), workflow_id, known, run_id)
    while run_id is not None:
        reader, calls = RunReader(converter, session_uuid), set[str]()
        following: str | None = None
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        heard, pause = asyncio.get_running_loop().time(), FIRST_PAUSE_S
        while following is None:
            try:
                # A broken connection is taken up again from the run's beginning: what was told already is skipped.
                reader.rewind()
                async for event in handle.fetch_history_events(wait_new_event=True, rpc_timeout=POLL_TIMEOUT):
                    heard, pause = asyncio.get_running_loop().time(), FIRST_PAUSE_S
                    for part, told in enumerate(await reader.read(event)):
                        here = Position(run_id, event.event_id, part)
                        if isinstance(told, CallEvent):
                            calls.add(told.event_id)
                        if at is not None and at.run_id == run_id and here[1:] <= at[1:]:
                            continue
                        # A run that took over from a lost one is told again what that may not have written down.
                        if isinstance(told, CallEvent) and told.event_id in told_before:
                            continue
                        yield told.model_copy(update={"position": str(here)})
                        at = here
                    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
                        return
                    if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
                        following = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
                    if event.event_type in _STOPPED:
                        following = _after(run_id, await _known(client, workflow_id))
                        if following is not None:
                            break
                        raise SessionRefused(
                            "the session's workflow was ended from outside, and its bill not closed; its operator can"
                            " have it go on"
                        )
            except (RPCError, TimeoutError, RuntimeError) as error:
                if isinstance(error, RPCError) and error.status not in _PASSING:
                    raise named(error) from None
                if asyncio.get_running_loop().time() - heard > PATIENCE_S + POLL_TIMEOUT.total_seconds():
                    raise OutcomeUnknown("Temporal does not answer; go on later, after the last position") from None
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 no secret
                pause = min(pause * 2, LAST_PAUSE_S)
        told_before |= calls
        run_id = following


async def _told_before(
    client: Client, reader: RunReader, workflow_id: str, known: list[Beginning], until: str | None
) -> set[str]:
    """The ids of what was told of calls in the runs before one, as far as Temporal still has these."""
    calls: set[str] = set()
    run_id: str | None = known[0].run_id
    while run_id is not None and run_id != until:
        handle, following = client.get_workflow_handle(workflow_id, run_id=run_id), None
        reader.rewind()
        try:
            async for event in handle.fetch_history_events(rpc_timeout=POLL_TIMEOUT):
                calls.update(told.event_id for told in await reader.read(event) if isinstance(told, CallEvent))
                if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
                    following = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
                if event.event_type in _STOPPED:
                    following = _after(run_id, known)
        except (RPCError, TimeoutError, RuntimeError) as error:
            if not isinstance(error, RPCError) or error.status is not RPCStatusCode.NOT_FOUND:
                raise named(error) from None
        run_id = following
    return calls


async def _known(client: Client, workflow_id: str) -> list[Beginning]:
    """Where the session began and was resumed. Raises what `MaskingClient.events` does."""
    try:
        return await beginnings(client, workflow_id)
    except (RPCError, RuntimeError) as error:
        raise named(error) from None


def _after(lost: str, known: list[Beginning]) -> str | None:
    """The run that took over from a lost one; None where none did."""
    return next((each.run_id for each in known if each.resumes == lost), None)
