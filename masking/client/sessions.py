"""The client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowHandle
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from masking.client.errors import (
    FAULTS,
    IdempotencyConflict,
    NotSettledYet,
    NumberPoolExhausted,
    SessionAlreadyExpired,
    named,
)
from masking.client.events import SessionEvent
from masking.client.fitness import check_encryption, check_models
from masking.client.new_session import NewSession
from masking.client.stream import events_of
from masking.contract import (
    MEMO_REQUEST,
    QUERY_SNAPSHOT,
    QUERY_STORY,
    TASK_QUEUE,
    UPDATE_EXPIRE,
    UPDATE_EXTEND,
    UPDATE_MODIFY,
    UPDATE_OPENED,
    WORKFLOW_TYPE,
    session_workflow_id,
)
from masking.domain.session import Bill, SessionSnapshot
from masking.domain.terms import Change, Expire, Extend, SessionRequest
from masking.lookup import PartyHash, told_at_start

DEFAULT_TIMEOUT = timedelta(seconds=4)
"""Within the 5 s that most of Plivo's SDKs wait for an answer (plivo-wire.md §1.8)."""

ATTEMPTS = 100
"""So many sessions under one key may be refused for want of a number before the key is used up."""

SUMMARY = "a masking session"

logger = logging.getLogger("masking.client")


class MaskingClient:
    """Starts and steers sessions.

    Args:
        client: carries `masking.temporal.masking_plugin`, or its data converter; any namespace, TLS or API key.
        task_queue: the one that the service's workers serve.
        timeout: how long to wait for an answer.
        lookup: whether new sessions get search attributes, by which Temporal's lists find them.
        party_hash: what parties are found by among them; None leaves the parties out.

    Raises:
        UnfitClient: the client's converter does not keep our models.
    """

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str = TASK_QUEUE,
        timeout: timedelta = DEFAULT_TIMEOUT,
        lookup: bool = True,
        party_hash: PartyHash | None = None,
    ) -> None:
        check_models(client)
        self._client = client
        self._task_queue = task_queue
        self._timeout = timeout
        self._lookup = lookup
        self._party_hash = party_hash
        self._fit = False

    async def start(self, wanted: NewSession | SessionRequest) -> SessionSnapshot:
        """Open a session, and answer once it has its virtual number.

        A `NewSession` with an `idempotency_key` is opened once: the same again answers with the same session, as it
        is by then, also after its end and for as long as Temporal keeps it. A start that was refused for want of a
        number may be repeated with its key. A `SessionRequest` names its session by an id of the caller's.

        Raises:
            NumberPoolExhausted: no number is free for both parties.
            IdempotencyConflict: the key was used for a session with other terms.
            AccountUnknown: there is no such account, or it is disabled.
            SessionRefused: refused for another reason, which the message tells.
            SessionAlreadyExpired: a `SessionRequest` whose session has ended.
            OutcomeUnknown: repeat with the same key or request.
            UnfitClient: the client would send numbers in the clear.
        """
        if isinstance(wanted, SessionRequest):
            return await self._open(wanted)
        if wanted.idempotency_key is None:
            return await self._open(wanted.request(str(uuid4())))
        for attempt in range(ATTEMPTS):
            session_uuid = wanted.session_uuid(attempt) or ""
            digest = wanted.digest(session_uuid)
            try:
                snapshot = await self._open(wanted.request(session_uuid), digest)
            except SessionAlreadyExpired:
                if (await self.final_bill(session_uuid, timeout=self._timeout)).refusal:
                    # There never was a session; the next id of this key is tried.
                    continue
                await self._must_be_the_same(session_uuid, digest)
                return await self.snapshot(session_uuid)
            await self._must_be_the_same(session_uuid, digest)
            return snapshot
        raise NumberPoolExhausted(f"refused {ATTEMPTS} times under this key; add numbers, and use another key")

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
            SessionRefused: for another reason, which the message tells.
            OutcomeUnknown: repeat with the same `update_id`.
        """
        return await self._update(session_uuid, UPDATE_MODIFY, change, update_id)

    async def expire(self, session_uuid: str, *, update_id: str | None = None, reason: str = "") -> SessionSnapshot:
        """End the session now; a call in progress goes on. Raises what `modify` raises.

        Args:
            reason: for whoever reads the session's history; no numbers.
        """
        return await self._update(session_uuid, UPDATE_EXPIRE, Expire(reason=reason), update_id)

    async def snapshot(self, session_uuid: str) -> SessionSnapshot:
        """The session now, in short, also after its end. Raises `SessionNotFound` and `OutcomeUnknown`."""
        handle = self._handle(session_uuid)
        try:
            told: SessionSnapshot = await handle.query(
                QUERY_SNAPSHOT, result_type=SessionSnapshot, rpc_timeout=self._timeout
            )
            return told
        except FAULTS as error:
            raise named(error) from None

    async def story(self, session_uuid: str) -> str:
        """What has happened, in words and without numbers. Raises what `snapshot` raises."""
        try:
            told: str = await self._handle(session_uuid).query(QUERY_STORY, result_type=str, rpc_timeout=self._timeout)
            return told
        except FAULTS as error:
            raise named(error) from None

    async def final_bill(self, session_uuid: str, *, timeout: timedelta | None = None) -> Bill:
        """Wait for the session to be settled, and return its bill. Needs no worker, and costs no Action.

        Args:
            timeout: how long to wait; None for however long it takes.

        Raises:
            NotSettledYet: it was not settled within `timeout`.
            SessionNotFound: there is no such session.
            SessionRefused: its workflow was ended from outside.
        """
        within: AbstractAsyncContextManager[object] = (
            nullcontext() if timeout is None else asyncio.timeout(timeout.total_seconds())
        )
        try:
            async with within:
                return await self._handle(session_uuid).result()
        except TimeoutError:
            raise NotSettledYet("the session is not settled yet; ask again later, or wait longer") from None
        except FAULTS as error:
            raise named(error) from None

    def events(self, session_uuid: str, *, after: str | None = None) -> AsyncGenerator[SessionEvent, None]:
        """What happens to the session, as it happens, until it is settled.

        Read from Temporal's own record: it needs no worker, costs no Action, and goes on by itself after a broken
        connection. Any number may listen, also when the session has ended.

        Args:
            after: the `position` of the last event that was taken; from the session's beginning when None.

        Raises:
            ValueError: `after` is no position of an event.
            SessionNotFound: there is no such session.
            SessionRefused: its workflow was ended from outside.
            OutcomeUnknown: Temporal was away for minutes; go on later with `after`.
        """
        return events_of(self._client, session_uuid, after)

    async def _open(self, request: SessionRequest, digest: str | None = None) -> SessionSnapshot:
        if not self._fit:
            await check_encryption(self._client, request.session_uuid)
            self._fit = True
        try:
            return await asyncio.wait_for(self._opened(request, digest), self._timeout.total_seconds())
        except FAULTS as error:
            raise named(error) from None
        except WorkflowAlreadyStartedError:
            raise SessionAlreadyExpired("a session with this id has already ended") from None

    async def _opened(self, request: SessionRequest, digest: str | None) -> SessionSnapshot:
        try:
            return await self._started(request, digest)
        except RPCError as error:
            if not self._lookup or not _lacks_attributes(error):
                raise
        # A list's convenience keeps no session from being made.
        self._lookup = False
        logger.error(
            "the Temporal namespace %s lacks our search attributes: sessions are started without them, and lists do not"
            " find them; register them (docs/client.md), or set MASKING_LOOKUP=false",
            self._client.namespace,
        )
        return await self._started(request, digest)

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
            search_attributes=self._attributes(request),
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

    def _attributes(self, request: SessionRequest) -> TypedSearchAttributes | None:
        return told_at_start(request, datetime.now(UTC), self._party_hash) if self._lookup else None

    async def _must_be_the_same(self, session_uuid: str, digest: str) -> None:
        """See that the session was started by the same request. Asks Temporal, and no worker."""
        try:
            described = await self._handle(session_uuid).describe(rpc_timeout=self._timeout)
            known = await described.memo_value(MEMO_REQUEST, default=digest, type_hint=str)
        except FAULTS as error:
            raise named(error) from None
        if known != digest:
            raise IdempotencyConflict(
                "this idempotency_key was used for a session with other terms; use a key of its own, or modify that one"
            )

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
            raise named(error) from None

    def _handle(self, session_uuid: str) -> WorkflowHandle[object, Bill]:
        return self._client.get_workflow_handle(session_workflow_id(session_uuid), result_type=Bill)


def _lacks_attributes(error: RPCError) -> bool:
    return error.status is RPCStatusCode.INVALID_ARGUMENT and "search attribute" in error.message.lower()
