"""What Temporal keeps of a session: its closed executions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from masking.contract import session_workflow_id

DELETED_WITHIN_S = 120.0
"""The server deletes when it gets to it; by its default settings that is half a minute."""

LOOK_EVERY_S = 0.5


async def delete_executions(client: Client, session_uuid: str) -> set[str]:
    """Have the histories of every run of a session's workflow deleted. Returns the runs' ids.

    Raises:
        RPCError: Temporal did not take it; repeat it.
    """
    workflow_id = session_workflow_id(session_uuid)
    runs = {run.run_id async for run in client.list_workflows(f"WorkflowId = '{workflow_id}'")}
    with _missing_is_fine():
        # The list may lag behind; this is the newest run.
        runs.add((await client.get_workflow_handle(workflow_id).describe()).run_id)
    for run_id in runs:
        with _missing_is_fine():
            await client.workflow_service.delete_workflow_execution(
                DeleteWorkflowExecutionRequest(
                    namespace=client.namespace,
                    workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
                )
            )
    return runs


async def are_deleted(client: Client, session_uuid: str, runs: Iterable[str], until: float) -> bool:
    """Whether Temporal has none of these runs any more by then, by the event loop's clock.

    Raises:
        RPCError: Temporal does not tell.
    """
    loop, left = asyncio.get_running_loop(), list(runs)
    while left:
        with _missing_is_fine():
            await client.get_workflow_handle(session_workflow_id(session_uuid), run_id=left[-1]).describe()
            if loop.time() > until:
                return False
            await asyncio.sleep(LOOK_EVERY_S)
            continue
        left.pop()
    return True


@contextmanager
def _missing_is_fine() -> Iterator[None]:
    """That it is not there is as good."""
    try:
        yield
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
