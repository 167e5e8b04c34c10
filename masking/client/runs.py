"""The runs of a session's workflow: where they begin, and which one took over from one that was lost."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from masking.contract import MEMO_RESUMES

TIMEOUT = timedelta(seconds=10)


class Beginning(NamedTuple):
    """A run that began a session, or that took over from a lost one.

    Attributes:
        resumes: the id of that one; empty of a session's first run, and where Temporal had none.
    """

    run_id: str
    resumes: str


async def beginnings(client: Client, workflow_id: str) -> list[Beginning]:
    """Where a session began and was resumed, oldest first, as far as Temporal has it. Asks Temporal, and no worker.

    Raises:
        RPCError: there is no such session, or Temporal does not answer.
        KeysAway, Unreadable: a key cannot be had at the moment, or is not this client's.
    """
    found: list[Beginning] = []
    run_id: str | None = None
    while run_id != "":
        try:
            described = await client.get_workflow_handle(workflow_id, run_id=run_id).describe(rpc_timeout=TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND or not found:
                raise
            # What was before has been kept for long enough.
            break
        # Runs that go on after a long history have it from the first of them.
        run_id = await described.memo_value(MEMO_RESUMES, default="", type_hint=str)
        first = described.raw_description.workflow_execution_info.first_run_id or described.run_id
        found.insert(0, Beginning(first, run_id or ""))
    return found
