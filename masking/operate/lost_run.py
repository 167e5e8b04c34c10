"""What the history of a lost run tells that the database does not: the updates that were answered."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.converter import WorkflowSerializationContext
from temporalio.service import RPCError, RPCStatusCode

from masking.domain.start import SessionStart
from masking.errors import KeysAway, MaskingError


async def answered_updates(client: Client, workflow_id: str, run_id: str) -> tuple[str, ...]:
    """The ids of the updates that a run answered, and those that it knew of from runs before it, oldest first.

    What an update brings about is written down before it is answered. So one that is sent again has happened.

    Raises:
        RPCError: Temporal does not answer.
        KeysAway: PostgreSQL does not.
    """
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    try:
        events = (await handle.fetch_history()).events
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return ()
    context = WorkflowSerializationContext(namespace=client.namespace, workflow_id=workflow_id)
    converter = client.data_converter.with_context(context)
    try:
        payloads = events[0].workflow_execution_started_event_attributes.input.payloads
        (start,) = await converter.decode(payloads, [SessionStart])
    except KeysAway:
        raise
    except (MaskingError, ValueError, RuntimeError):
        start = None
    before = start.carried.update_ids if isinstance(start, SessionStart) and start.carried is not None else ()
    completed = (
        each.workflow_execution_update_completed_event_attributes
        for each in events
        if each.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED
    )
    return (*before, *(each.meta.update_id for each in completed if each.outcome.HasField("success")))
