"""Starting sessions, each once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import uuid4

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import RawValue, TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from masking.client.errors import FAULTS, IdempotencyConflict, NumberPoolExhausted, SessionAlreadyExpired, named
from masking.client.fitness import check_encryption
from masking.client.new_session import NewSession
from masking.contract import MEMO_REQUEST, MEMO_RESUMES, UPDATE_OPENED, WORKFLOW_TYPE, session_workflow_id
from masking.domain.bill.charges import Bill
from masking.domain.snapshot import SessionSnapshot
from masking.domain.start import SessionStart
from masking.domain.terms import SessionRequest
from masking.lookup import PartyHash, told_at_start
from masking.privacy.payload_codec import mark_for_caller

ATTEMPTS = 100
"""So many sessions under one key may be refused for want of a number before the key is used up."""

SUMMARY = "a masking session"

logger = logging.getLogger("masking.client")

ResultT = TypeVar("ResultT")


class Starter:
    """Starts sessions' workflows. Arguments as of `MaskingClient`."""

    def __init__(
        self, client: Client, task_queue: str, timeout: timedelta, *, lookup: bool, party_hash: PartyHash | None
    ) -> None:
        self._client, self._task_queue, self._timeout = client, task_queue, timeout
        self._lookup, self._party_hash = lookup, party_hash
        self._fit = False

    async def once(
        self,
        wanted: NewSession,
        open_: Callable[[SessionRequest, str], Awaitable[ResultT]],
        ended: Callable[[str], Awaitable[ResultT]],
    ) -> ResultT:
        """Open the session that a key names, unless there is one already, or has been.

        Args:
            wanted: with a key.
            open_: opens a session, or joins the one that lives, given its request and that request's digest. Raises
                `SessionAlreadyExpired` where its workflow has ended.
            ended: what to answer with where the session with this id has run its course.

        Raises:
            IdempotencyConflict: the key was used for another request.
            NumberPoolExhausted: too often.
        """
        for attempt in range(ATTEMPTS):
            session_uuid = wanted.session_uuid(attempt)
            digest = wanted.digest(session_uuid)
            try:
                answer = await open_(wanted.request(session_uuid), digest)
            except SessionAlreadyExpired:
                if await self.refusal(session_uuid):
                    # There never was a session; the next id of this key is tried.
                    continue
                await self.must_be_the_same(session_uuid, digest)
                return await ended(session_uuid)
            await self.must_be_the_same(session_uuid, digest)
            return answer
        raise used_up()

    async def open(self, request: SessionRequest, digest: str | None = None) -> SessionSnapshot:
        """Start a session, or join the one that lives, and wait for its number."""
        await self.must_fit(request.session_uuid)
        opening = self.with_attributes_or_without(lambda: self._started(request, digest))
        try:
            return await asyncio.wait_for(opening, self._timeout.total_seconds())
        except FAULTS as error:
            raise named(error) from None
        except WorkflowAlreadyStartedError:
            raise SessionAlreadyExpired("a session with this id has already ended") from None

    async def must_fit(self, session_uuid: str) -> None:
        """Raise `UnfitClient` for a client that would send numbers in the clear."""
        if not self._fit:
            await check_encryption(self._client, session_uuid)
            self._fit = True

    async def refusal(self, session_uuid: str) -> str:
        """Why a session whose workflow has ended was refused; empty if it was not. Asks Temporal, and no worker."""
        handle: WorkflowHandle[object, Bill] = self._client.get_workflow_handle(
            session_workflow_id(session_uuid), result_type=Bill
        )
        try:
            return (await handle.result(rpc_timeout=self._timeout)).refusal
        except FAULTS as error:
            raise named(error) from None

    async def has_ended(self, session_uuid: str) -> bool:
        """Whether the workflow of a session that was started has ended. Asks Temporal, and no worker."""
        handle = self._client.get_workflow_handle(session_workflow_id(session_uuid))
        try:
            return (await handle.describe(rpc_timeout=self._timeout)).status is WorkflowExecutionStatus.COMPLETED
        except FAULTS as error:
            raise named(error) from None

    async def resume(self, start: SessionStart, digest: str | None = None) -> bool:
        """Start the workflow of a session anew, whose last run has ended before its bill was closed, or is gone.

        Args:
            start: what the run begins with, its state among it.
            digest: of the request by which it was started under a key, if it was.

        Returns:
            Whether it was started; False where a run goes on.
        """
        await self.must_fit(start.session_uuid)
        try:
            await self.with_attributes_or_without(lambda: self._begin_anew(start, digest))
        except WorkflowAlreadyStartedError:
            return False
        except FAULTS as error:
            raise named(error) from None
        return True

    async def _begin_anew(self, start: SessionStart, digest: str | None) -> None:
        created_at = start.carried.session.created_at if start.carried is not None else None
        await self._client.start_workflow(
            WORKFLOW_TYPE,
            start,
            id=session_workflow_id(start.session_uuid),
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            static_summary=SUMMARY,
            memo=self._memo_of_resumed(start, digest),
            search_attributes=self.attributes(start, created_at),
            rpc_timeout=self._timeout,
        )

    def _memo_of_resumed(self, start: SessionStart, digest: str | None) -> dict[str, RawValue]:
        """For whoever started the session, who may hold other keys than we do."""
        told = {MEMO_RESUMES: (start.carried.resumes or "") if start.carried is not None else ""}
        told |= {MEMO_REQUEST: digest} if digest is not None else {}
        convert = self._client.data_converter.payload_converter.to_payload
        return {name: RawValue(mark_for_caller(convert(value))) for name, value in told.items()}

    def attributes(self, request: SessionRequest, created_at: datetime | None = None) -> TypedSearchAttributes | None:
        """What a session is found by; None where it is not to be.

        Args:
            created_at: UTC; now when None.
        """
        if not self._lookup:
            return None
        return told_at_start(request, created_at or datetime.now(UTC), self._party_hash, request.carrier)

    async def with_attributes_or_without(self, begin: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Start a workflow with `attributes`; once more where the namespace knows none: then it is to have none."""
        try:
            return await begin()
        except RPCError as error:
            if not self._do_without_attributes(error):
                raise
        return await begin()

    def _do_without_attributes(self, error: RPCError) -> bool:
        """Whether to try again without search attributes, of which the namespace knows none; tells it once."""
        if error.status is not RPCStatusCode.INVALID_ARGUMENT or "search attribute" not in error.message.lower():
            return False
        if not self._lookup:
            # Another start was told so meanwhile.
            return True
        # A list's convenience keeps no session from being made.
        self._lookup = False
        logger.error(
            "the Temporal namespace %s lacks our search attributes: sessions are started without them, and lists do not"
            " find them; register them (docs/client.md), or set MASKING_LOOKUP=false",
            self._client.namespace,
        )
        return True

    async def _started(self, request: SessionRequest, digest: str | None) -> SessionSnapshot:
        start: WithStartWorkflowOperation[object, Bill] = WithStartWorkflowOperation(
            WORKFLOW_TYPE,
            request,
            id=session_workflow_id(request.session_uuid),
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            result_type=Bill,
            static_summary=SUMMARY,
            memo={MEMO_REQUEST: digest} if digest is not None else None,
            search_attributes=self.attributes(request),
        )
        # The same update again is answered as it was then; whoever repeats a key wants the session as it is now.
        asked = request.session_uuid if digest is None else uuid4().hex
        started = asyncio.ensure_future(start.workflow_handle())
        try:
            snapshot: SessionSnapshot = await self._client.execute_update_with_start_workflow(
                UPDATE_OPENED,
                start_workflow_operation=start,
                id=f"{UPDATE_OPENED}-{asked}",
                result_type=SessionSnapshot,
            )
            return snapshot
        finally:
            # The SDK tells it here once more, or never: asyncio would log what nobody reads.
            started.cancel()
            await asyncio.gather(started, return_exceptions=True)

    async def must_be_the_same(self, session_uuid: str, digest: str) -> None:
        """See that the session was started by the same request. Asks Temporal, and no worker."""
        try:
            handle = self._client.get_workflow_handle(session_workflow_id(session_uuid))
            described = await handle.describe(rpc_timeout=self._timeout)
            known = await described.memo_value(MEMO_REQUEST, default=digest, type_hint=str)
        except FAULTS as error:
            raise named(error) from None
        if known != digest:
            raise IdempotencyConflict(
                "this idempotency_key was used for a session with other terms; use a key of its own, or modify that one"
            )


def used_up() -> NumberPoolExhausted:
    """What to tell of a key that was refused too often."""
    return NumberPoolExhausted(f"refused {ATTEMPTS} times under this key; add numbers, and use another key")
