"""A run that takes over from a lost one, in tests of workflows."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.testing import TimeSkipper

from masking.client import Bill
from masking.contract import WORKFLOW_TYPE, session_workflow_id
from masking.domain.resuming import resumed, start_of_resumed
from masking.domain.session import Session
from tests.workflow.conftest import Remembered


class TakenOver:
    """A session that goes on from a state in which it was left for a while."""

    def __init__(self, environment: TimeSkipper, remembered: Remembered, task_queue: str) -> None:
        self._environment, self._remembered, self._task_queue = environment, remembered, task_queue

    async def begins(self, session: Session, *, still: bool = False) -> WorkflowHandle[Any, Bill]:
        """`still`: time passes as it does, and is not skipped."""
        session = resumed(session, datetime.now(UTC))
        self._remembered.sessions[session.session_uuid] = session
        with self._environment.with_time_skipping_disabled() if still else nullcontext():
            return await self._environment.client.start_workflow(
                WORKFLOW_TYPE,
                start_of_resumed(session, ""),
                id=session_workflow_id(session.session_uuid),
                task_queue=self._task_queue,
                result_type=Bill,
            )
