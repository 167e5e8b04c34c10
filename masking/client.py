"""What another service imports to start, extend, modify, expire and await a session.

Needs a `temporalio` client that carries `masking.temporal.masking_plugin`; imports neither
the gateway nor the database.

MaskingError
└── SessionError                a session did not do what was asked
    ├── NumberPoolExhausted     no virtual number is free for both parties; add numbers or wait
    ├── SessionAlreadyExpired   it has ended; start another
    ├── SessionNotFound         Temporal knows no such session
    ├── SessionRefused          refused for another reason, which the message tells
    └── OutcomeUnknown          no answer in time; repeat with the same id, nothing happens twice
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TypeVar
from uuid import uuid4

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from masking.contract import (
    QUERY_SNAPSHOT,
    QUERY_STORY,
    TASK_QUEUE,
    UPDATE_EXPIRE,
    UPDATE_EXTEND,
    UPDATE_MODIFY,
    UPDATE_OPENED,
    WORKFLOW_TYPE,
    ErrorType,
    session_workflow_id,
)
from masking.domain.session import Bill, SessionSnapshot
from masking.domain.terms import Change, Expire, Extend, SessionRequest
from masking.errors import MaskingError

DEFAULT_TIMEOUT = timedelta(seconds=4)
"""Within the 5 s that most of Plivo's SDKs wait for an answer (plivo-wire.md §1.8)."""

FAULTS = (
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    RPCError,
    TimeoutError,
    # What a client that connects at its first call raises while Temporal is away.
    RuntimeError,
)

ResultT = TypeVar("ResultT")


class SessionError(MaskingError):
    """A session did not do what was asked of it."""


class NumberPoolExhausted(SessionError):
    """No virtual number is free for both parties."""


class SessionAlreadyExpired(SessionError):
    """The session has ended."""


class SessionNotFound(SessionError):
    """Temporal knows no such session."""


class SessionRefused(SessionError):
    """The session refused, for a reason that the message tells."""


class OutcomeUnknown(SessionError):
    """No answer came in time: it may or may not have happened. Repeat with the same id."""


_BY_TYPE: dict[str | None, type[SessionError]] = {
    ErrorType.NUMBER_POOL_EXHAUSTED: NumberPoolExhausted,
    ErrorType.SESSION_ALREADY_EXPIRED: SessionAlreadyExpired,
}


class MaskingClient:
    """Sessions, through a Temporal client.

    Args:
        client: connected with `masking.temporal.masking_plugin`.
        timeout: how long to wait for an answer.
    """

    def __init__(self, client: Client, *, task_queue: str = TASK_QUEUE, timeout: timedelta = DEFAULT_TIMEOUT) -> None:
        self._client = client
        self._task_queue = task_queue
        self._timeout = timeout

    async def start(self, request: SessionRequest) -> SessionSnapshot:
        """Open a session. The same `session_uuid` again answers with the same session.

        Raises:
            NumberPoolExhausted: no number is free for both parties.
            OutcomeUnknown: repeat with the same request.
        """
        start: WithStartWorkflowOperation[object, Bill] = WithStartWorkflowOperation(
            WORKFLOW_TYPE,
            request,
            id=session_workflow_id(request.session_uuid),
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            result_type=Bill,
            static_summary="a masking session",
        )
        started = asyncio.ensure_future(start.workflow_handle())
        try:
            return await asyncio.wait_for(
                self._client.execute_update_with_start_workflow(
                    UPDATE_OPENED,
                    start_workflow_operation=start,
                    id=f"{UPDATE_OPENED}-{request.session_uuid}",
                    result_type=SessionSnapshot,
                ),
                self._timeout.total_seconds(),
            )
        except FAULTS as error:
            raise _named(error) from None
        except WorkflowAlreadyStartedError:
            raise SessionAlreadyExpired("a session with this id has already ended") from None
        finally:
            # The SDK tells it here once more, or never: asyncio would log what nobody reads.
            started.cancel()
            await asyncio.gather(started, return_exceptions=True)

    async def extend(self, session_uuid: str, session_expiry: int, *, update_id: str | None = None) -> SessionSnapshot:
        """Let the session expire `session_expiry` seconds from now. Raises what `modify` raises."""
        return await self._update(session_uuid, UPDATE_EXTEND, Extend(session_expiry=session_expiry), update_id)

    async def modify(self, session_uuid: str, change: Change, *, update_id: str | None = None) -> SessionSnapshot:
        """Change terms.

        Args:
            update_id: names this change; repeated with the same id it happens once.

        Raises:
            SessionAlreadyExpired: it has ended.
            SessionNotFound: there is no such session.
            OutcomeUnknown: repeat with the same `update_id`.
        """
        return await self._update(session_uuid, UPDATE_MODIFY, change, update_id)

    async def expire(self, session_uuid: str, *, update_id: str | None = None) -> SessionSnapshot:
        """End the session now. Raises what `modify` raises."""
        return await self._update(session_uuid, UPDATE_EXPIRE, Expire(), update_id)

    async def snapshot(self, session_uuid: str) -> SessionSnapshot:
        """The session now, in short, also after its end. Raises `SessionNotFound` and `OutcomeUnknown`."""
        handle = self._handle(session_uuid)
        try:
            told: SessionSnapshot = await handle.query(
                QUERY_SNAPSHOT, result_type=SessionSnapshot, rpc_timeout=self._timeout
            )
            return told
        except FAULTS as error:
            raise _named(error) from None

    async def story(self, session_uuid: str) -> str:
        """What has happened, in words and without numbers. Raises what `snapshot` raises."""
        try:
            told: str = await self._handle(session_uuid).query(QUERY_STORY, result_type=str, rpc_timeout=self._timeout)
            return told
        except FAULTS as error:
            raise _named(error) from None

    async def final_bill(self, session_uuid: str) -> Bill:
        """Wait for the session to be settled, however long, and return its bill. Raises `SessionNotFound`."""
        try:
            return await self._handle(session_uuid).result()
        except FAULTS as error:
            raise _named(error) from None

    async def _update(
        self, session_uuid: str, name: str, argument: Change | Extend | Expire, update_id: str | None
    ) -> SessionSnapshot:
        try:
            answer: SessionSnapshot = await self._handle(session_uuid).execute_update(
                name,
                argument,
                id=update_id or uuid4().hex,
                result_type=SessionSnapshot,
                rpc_timeout=self._timeout,
            )
            return answer
        except FAULTS as error:
            raise _named(error) from None

    def _handle(self, session_uuid: str) -> WorkflowHandle[object, Bill]:
        return self._client.get_workflow_handle(session_workflow_id(session_uuid), result_type=Bill)


def _named(error: Exception) -> SessionError:
    """Our exception for one of Temporal's."""
    if isinstance(error, WorkflowUpdateFailedError) and isinstance(error.cause, ApplicationError):
        kind = _BY_TYPE.get(error.cause.type, SessionRefused)
        return kind(error.cause.message)
    if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
        return SessionNotFound("Temporal knows no open session with this id")
    return OutcomeUnknown("no answer came in time; repeat with the same id, nothing happens twice")
