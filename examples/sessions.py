"""What the examples' workflows ask of masked sessions.

Their sessions are opened by an activity, so that they are no children: a ride and its session each go by a clock of
their own where tests skip time. `masking.client.in_workflow.start_session` starts a child instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.exceptions import ActivityError, ApplicationError

from masking.client import MaskingClient, NewSession, SessionError, SessionSnapshot
from masking.client.errors import failure_of
from masking.client.in_workflow import MaskingActivities, WorkflowSession
from masking.contract import ErrorType

TRY_FOR, WITHIN = timedelta(seconds=30), timedelta(minutes=10)
"""How long one try to open a session may take, and all of them."""


class SessionActivities(MaskingActivities):
    """The client's activities, and one that opens a session. Register `all` with the worker of the workflows."""

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        """To register with a worker."""
        return (*super().all, self.open)

    def __init__(self, sessions: MaskingClient) -> None:
        super().__init__(sessions)
        self._client = sessions

    @activity.defn(name="open_masked_session")
    async def open(self, wanted: NewSession) -> SessionSnapshot:
        """Open a session, once for its `idempotency_key` however often this is tried."""
        try:
            return await self._client.start(wanted)
        except SessionError as error:
            raise failure_of(error) from None


class Masked:
    """An open session, and the number on which its two parties reach each other."""

    def __init__(self, opened: SessionSnapshot) -> None:
        self.session = WorkflowSession(opened.session_uuid)
        self.virtual_number = opened.virtual_number

    async def extend(self, seconds: int) -> bool:
        """Let it expire so many seconds from now. Whether it was still there to be extended."""
        try:
            await self.session.extend(seconds)
        except ActivityError as error:
            if _is(error, ErrorType.SESSION_ALREADY_EXPIRED):
                return False
            raise
        return True

    async def expire(self) -> None:
        """End it, unless it has ended. A call in progress goes on, no new one is connected."""
        try:
            await self.session.expire()
        except ActivityError as error:
            if not _is(error, ErrorType.SESSION_ALREADY_EXPIRED):
                raise


async def open_session(wanted: NewSession) -> Masked | None:
    """Open a session; None when no number is free for its parties."""
    try:
        opened = await workflow.execute_activity_method(
            SessionActivities.open,
            wanted,
            start_to_close_timeout=TRY_FOR,
            schedule_to_close_timeout=WITHIN,
            summary="open a masked session",
        )
    except ActivityError as error:
        if _is(error, ErrorType.NUMBER_POOL_EXHAUSTED):
            return None
        raise
    return Masked(opened)


def _is(error: ActivityError, kind: ErrorType) -> bool:
    return isinstance(error.cause, ApplicationError) and error.cause.type == kind
