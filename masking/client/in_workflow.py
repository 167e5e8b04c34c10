"""Sessions from within a workflow of the caller's own, in Python.

A workflow can start a session as its child, but it can neither send it an update nor query it: its worker does that, by
the activities here. Register `MaskingActivities(client).all` with the worker that runs the workflow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import Field
from temporalio import activity, workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from masking.client.errors import SessionError, failure_of
from masking.client.new_session import NamedSession, NewSession
from masking.client.sessions import MaskingClient
from masking.client.starting import SUMMARY
from masking.contract import MEMO_REQUEST, TASK_QUEUE, WORKFLOW_TYPE, session_workflow_id
from masking.domain.bill.charges import Bill
from masking.domain.model import Model
from masking.domain.snapshot import SessionSnapshot
from masking.domain.terms import Change
from masking.lookup import told_at_start

ANSWER_TIMEOUT = timedelta(seconds=30)
WAIT = timedelta(seconds=45)
RETRIES = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))
PATIENCE = timedelta(minutes=10)
"""For how long a session is asked while nobody answers."""

OPENED, EXTEND, MODIFY, EXPIRE = "masking_opened", "masking_extend", "masking_modify", "masking_expire"
SNAPSHOT, BILL, NAMED = "masking_snapshot", "masking_bill", "masking_named"

ResultT = TypeVar("ResultT")


class Asked(Model):
    """What an activity is asked for; of a session, by its id."""

    session_uuid: str
    change: Change | None = None
    session_expiry: int = 0
    reason: str = ""


class Key(Model):
    """A key, and whose it is. `wanted`: what its session is to have been started with; None for whatever it was."""

    account_id: str
    idempotency_key: str
    wanted: NewSession | None = Field(default=None, exclude_if=lambda wanted: wanted is None)


class MaskingActivities:
    """The activities, for the worker of whoever calls. What is retried happens once.

    Args:
        sessions: a client in the service's namespace.
    """

    def __init__(self, sessions: MaskingClient) -> None:
        self._sessions = sessions

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        """To register with a worker."""
        return (self.opened, self.extend, self.modify, self.expire, self.snapshot, self.bill, self.named)

    @activity.defn(name=OPENED)
    async def opened(self, asked: Asked) -> SessionSnapshot:
        """Wait for the virtual number."""
        return await _told(self._sessions.opened(asked.session_uuid, update_id=_update_id()))

    @activity.defn(name=EXTEND)
    async def extend(self, asked: Asked) -> SessionSnapshot:
        """Extend."""
        uuid, seconds = asked.session_uuid, asked.session_expiry
        return await _told(self._sessions.extend(uuid, seconds, update_id=_update_id()))

    @activity.defn(name=MODIFY)
    async def modify(self, asked: Asked) -> SessionSnapshot:
        """Modify."""
        change = asked.change or Change()
        return await _told(self._sessions.modify(asked.session_uuid, change, update_id=_update_id()))

    @activity.defn(name=EXPIRE)
    async def expire(self, asked: Asked) -> SessionSnapshot:
        """Expire."""
        uuid, reason = asked.session_uuid, asked.reason
        return await _told(self._sessions.expire(uuid, update_id=_update_id(), reason=reason))

    @activity.defn(name=SNAPSHOT)
    async def snapshot(self, asked: Asked) -> SessionSnapshot:
        """Look."""
        return await _told(self._sessions.snapshot(asked.session_uuid))

    @activity.defn(name=BILL)
    async def bill(self, asked: Asked) -> Bill:
        """Wait for the bill for a while; the next try goes on waiting."""
        return await _told(self._sessions.final_bill(asked.session_uuid, timeout=WAIT))

    @activity.defn(name=NAMED)
    async def named(self, key: Key) -> NamedSession:
        """Find the session that a key names by now."""
        return await _told(self._sessions.named_by(key.account_id, key.idempotency_key, key.wanted))


@dataclass(frozen=True)
class WorkflowSession:
    """A session as a workflow holds it. Its methods raise `ActivityError`, whose cause has the contract's error type.

    Attributes:
        child: the session as a child of this workflow; None where it is not, or no more.
    """

    session_uuid: str
    child: workflow.ChildWorkflowHandle[Any, Bill] | None = None

    async def opened(self) -> SessionSnapshot:
        """Wait for its virtual number."""
        return await self._ask(OPENED, SessionSnapshot)

    async def extend(self, session_expiry: int) -> SessionSnapshot:
        """Let it expire so many seconds from now."""
        return await self._ask(EXTEND, SessionSnapshot, session_expiry=session_expiry)

    async def modify(self, change: Change) -> SessionSnapshot:
        """Change its terms."""
        return await self._ask(MODIFY, SessionSnapshot, change=change)

    async def expire(self, reason: str = "") -> SessionSnapshot:
        """End it now."""
        return await self._ask(EXPIRE, SessionSnapshot, reason=reason)

    async def snapshot(self) -> SessionSnapshot:
        """It now, in short."""
        return await self._ask(SNAPSHOT, SessionSnapshot)

    async def bill(self) -> Bill:
        """Wait until it is settled. Of a child that costs nothing; of another, an Action every few minutes at most."""
        if self.child is not None:
            return await self.child
        retries = RetryPolicy(initial_interval=timedelta(seconds=5), maximum_interval=timedelta(minutes=5))
        bill: Bill = await workflow.execute_activity(
            BILL,
            Asked(session_uuid=self.session_uuid),
            result_type=Bill,
            start_to_close_timeout=2 * WAIT,
            retry_policy=retries,
            summary="wait for the session's bill",
        )
        return bill

    async def _ask(self, name: str, result_type: type[SessionSnapshot], **details: Any) -> SessionSnapshot:
        snapshot: SessionSnapshot = await workflow.execute_activity(
            name,
            Asked(session_uuid=self.session_uuid, **details),
            result_type=result_type,
            start_to_close_timeout=ANSWER_TIMEOUT,
            schedule_to_close_timeout=PATIENCE,
            retry_policy=RETRIES,
            summary=f"{name.removeprefix('masking_')} of the masking session",
        )
        return snapshot


async def start_session(wanted: NewSession, *, task_queue: str = TASK_QUEUE, lookup: bool = True) -> WorkflowSession:
    """Start a session as a child of this workflow, or find the one that its key names.

    The session goes on when this workflow ends, fails or is cancelled: expire it, or let it expire. A child whose
    number could not be had ends with a refusal; `opened` raises it.

    Args:
        wanted: in the namespace of the service, which a child shares with its parent.
        lookup: whether the session gets search attributes. Where the namespace has none of ours, starting a child with
            them fails this workflow's task until they are registered.

    Raises:
        ActivityError: its cause is of type `IdempotencyConflict`: the key was used for a session with other terms.
    """
    if wanted.idempotency_key is None:
        return await _child(wanted, str(workflow.uuid4()), task_queue, lookup=lookup)
    try:
        return await _child(wanted, wanted.session_uuid(), task_queue, lookup=lookup)
    except WorkflowAlreadyStartedError:
        named = await workflow.execute_activity(
            NAMED,
            Key(account_id=wanted.account_id, idempotency_key=wanted.idempotency_key, wanted=wanted),
            result_type=NamedSession,
            start_to_close_timeout=ANSWER_TIMEOUT,
            schedule_to_close_timeout=PATIENCE,
            retry_policy=RETRIES,
            summary="find the masking session of this key",
        )
    if not named.exists:
        # Those before were refused for want of a number.
        with suppress(WorkflowAlreadyStartedError):
            return await _child(wanted, named.session_uuid, task_queue, lookup=lookup)
    return WorkflowSession(named.session_uuid)


async def _child(wanted: NewSession, session_uuid: str, task_queue: str, *, lookup: bool) -> WorkflowSession:
    request = wanted.request(session_uuid)
    child: workflow.ChildWorkflowHandle[Any, Bill] = await workflow.start_child_workflow(
        WORKFLOW_TYPE,
        request,
        id=session_workflow_id(session_uuid),
        task_queue=task_queue,
        result_type=Bill,
        parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        memo={MEMO_REQUEST: wanted.digest(session_uuid)},
        search_attributes=told_at_start(request, workflow.now(), carrier=request.carrier) if lookup else None,
        static_summary=SUMMARY,
    )
    return WorkflowSession(session_uuid, child)


async def _told(answer: Awaitable[ResultT]) -> ResultT:
    try:
        return await answer
    except SessionError as error:
        raise failure_of(error) from None


def _update_id() -> str:
    info = activity.info()
    return f"{info.workflow_run_id}-{info.activity_id}"
