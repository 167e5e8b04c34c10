"""What our worker does for the Nexus service's callers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import nexusrpc
from nexusrpc import HandlerError, HandlerErrorType, OperationError, OperationErrorState
from nexusrpc.handler import OperationHandler, StartOperationContext, operation_handler, service_handler, sync_operation
from temporalio import nexus
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from masking.client import (
    MaskingClient,
    NewSession,
    OutcomeUnknown,
    SessionAlreadyExpired,
    SessionError,
    SessionRefused,
)
from masking.client.errors import failure_of
from masking.client.starting import SUMMARY, Starter
from masking.contract import MEMO_REQUEST, TASK_QUEUE, WORKFLOW_TYPE, session_of, session_workflow_id
from masking.domain.bill.charges import Bill
from masking.domain.snapshot import SessionSnapshot
from masking.domain.terms import SessionRequest
from masking.errors import KeysAway
from masking.lookup import PartyHash
from masking.nexus import ExpireSession, ExtendSession, MaskingService, ModifySession, Named
from masking.privacy.callers_codec import written_under
from masking.privacy.ingress import ingress_day
from masking.storage.payload_keys import StoredPayloadKeys
from masking.storage.session_keys import CLEAR, MASTER

TIMEOUT = timedelta(seconds=4)
"""For one answer of a session; the server gives a whole operation 10 s to begin, of which one may need two."""

Started = nexus.TemporalOperationResult[Bill]


@service_handler(service=MaskingService)
class MaskingServiceHandler:
    """Serves `MaskingService`. What a caller's server sends again, by the same request id, happens once.

    Args:
        client: the worker's.
        task_queue: the one that the sessions' workers serve.
        lookup: whether sessions get search attributes.
        party_hash: what parties are found by among them; None leaves the parties out.
        keys: what the client's codec has its keys from; None where it has the key ring alone.
    """

    def __init__(
        self,
        client: Client,
        task_queue: str = TASK_QUEUE,
        *,
        lookup: bool = True,
        party_hash: PartyHash | None = None,
        keys: StoredPayloadKeys | None = None,
    ) -> None:
        self._sessions = MaskingClient(client, task_queue=task_queue, timeout=TIMEOUT, lookup=lookup)
        self._starter = Starter(client, task_queue, TIMEOUT, lookup=lookup, party_hash=party_hash)
        self._task_queue, self._keys = task_queue, keys

    @operation_handler
    def start(self) -> OperationHandler[NewSession, Bill]:
        """Open a session; its result is the final bill."""
        return _Start(self._sessions, self._starter, self._task_queue, self._keys)

    @sync_operation
    async def opened(self, context: StartOperationContext, named: Named) -> SessionSnapshot:
        """Wait for the virtual number."""
        return await self._on(named, lambda uuid: self._sessions.opened(uuid, update_id=_update_id(context)))

    @sync_operation
    async def extend(self, context: StartOperationContext, asked: ExtendSession) -> SessionSnapshot:
        """Let the session expire so many seconds from now."""
        seconds, update_id = asked.session_expiry, _update_id(context)
        return await self._on(asked, lambda uuid: self._sessions.extend(uuid, seconds, update_id=update_id))

    @sync_operation
    async def modify(self, context: StartOperationContext, asked: ModifySession) -> SessionSnapshot:
        """Change terms."""
        update_id = _update_id(context)
        return await self._on(asked, lambda uuid: self._sessions.modify(uuid, asked.change, update_id=update_id))

    @sync_operation
    async def expire(self, context: StartOperationContext, asked: ExpireSession) -> SessionSnapshot:
        """End the session."""
        reason, update_id = asked.reason, _update_id(context)
        return await self._on(asked, lambda uuid: self._sessions.expire(uuid, update_id=update_id, reason=reason))

    @sync_operation
    async def snapshot(self, context: StartOperationContext, named: Named) -> SessionSnapshot:
        """The session now."""
        return await self._on(named, self._sessions.snapshot)

    async def _on(self, named: Named, act: Callable[[str], Awaitable[SessionSnapshot]]) -> SessionSnapshot:
        try:
            session_uuid = await self._uuid(named)
            if self._keys is not None:
                # Another worker may have opened what was started here.
                await self._keys.look_again(session_uuid)
            return await act(session_uuid)
        except SessionError as error:
            raise told(error) from failure_of(error)
        except KeysAway as error:
            raise away(error) from None

    async def _uuid(self, named: Named) -> str:
        return named.session_uuid or await self._sessions.session_of(named.account_id, named.idempotency_key)


class _Start(nexus.TemporalOperationHandler[NewSession, Bill]):
    def __init__(
        self, sessions: MaskingClient, starter: Starter, task_queue: str, keys: StoredPayloadKeys | None
    ) -> None:
        self._sessions, self._starter, self._task_queue, self._keys = sessions, starter, task_queue, keys

    async def start_operation(
        self, ctx: nexus.TemporalStartOperationContext, client: nexus.TemporalNexusClient, input: NewSession
    ) -> Started:
        """Start the workflow, or join the one that has this key, and see that it gets its number."""
        if input.idempotency_key is None:
            raise HandlerError(
                "idempotency_key is needed: it names the session in every later operation",
                type=HandlerErrorType.BAD_REQUEST,
            )

        async def open_(request: SessionRequest, digest: str) -> Started:
            await self._bill_must_be_readable(request.session_uuid)
            return await self._started(client, request, digest)

        async def ended(session_uuid: str) -> Started:
            return Started.sync(await self._sessions.final_bill(session_uuid, timeout=TIMEOUT))

        try:
            return await self._starter.once(input, open_, ended)
        except SessionError as error:
            raise told(error) from failure_of(error)
        except KeysAway as error:
            raise away(error) from None

    async def _bill_must_be_readable(self, session_uuid: str) -> None:
        """Have a new session begin under its caller's key. Of one that is there, the bill is under another's, maybe.

        The bill is the workflow's result, which Temporal itself hands to every caller as it is.
        """
        if self._keys is None:
            return
        key_id = written_under()
        under = await self._keys.begin(session_uuid, key_id or await self._keys.today(), bill_in_clear=not key_id)
        if under == CLEAR or _same_kind(key_id, under):
            return
        if await self._starter.has_ended(session_uuid):
            raise SessionAlreadyExpired("a session with this key has already ended")
        raise SessionRefused(
            "the session of this key was started by a caller with other keys, who alone can read its bill: wait for the"
            " bill there; the other operations are open to you"
        )

    async def _started(self, client: nexus.TemporalNexusClient, request: SessionRequest, digest: str) -> Started:
        # Before the operation hangs on it: else a refused session's end could be told as the operation's result.
        # A worker that is slow to answer is no reason to fail: the workflow goes on.
        with suppress(OutcomeUnknown):
            await self._starter.open(request, digest)
        return await self._starter.with_attributes_or_without(lambda: self._begun(client, request, digest))

    async def _begun(self, client: nexus.TemporalNexusClient, request: SessionRequest, digest: str) -> Started:
        try:
            return await client.start_workflow(
                WORKFLOW_TYPE,
                request,
                id=session_workflow_id(request.session_uuid),
                task_queue=self._task_queue,
                result_type=Bill,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=SUMMARY,
                memo={MEMO_REQUEST: digest},
                search_attributes=self._starter.attributes(request),
            )
        except WorkflowAlreadyStartedError:
            raise SessionAlreadyExpired("a session with this key has already ended") from None

    async def cancel_workflow_run(
        self, ctx: nexus.TemporalCancelOperationContext, options: nexus.CancelWorkflowRunOptions
    ) -> None:
        """Expire the session by an update, which answers whether that could be done, and is one if it is sent twice."""
        session_uuid = session_of(options.workflow_id)
        if session_uuid is None:
            return
        try:
            with suppress(SessionAlreadyExpired):
                await self._sessions.expire(session_uuid, update_id=f"cancel-{session_uuid}", reason="cancelled")
        except SessionError as error:
            raise told(error) from failure_of(error)


def _same_kind(key_id: str, answers_under: str) -> bool:
    """Whether who writes under a key reads what is under another one: services have ingress keys of several days."""
    if ingress_day(key_id):
        return ingress_day(answers_under) is not None
    return bool(key_id) and answers_under == MASTER


def away(error: KeysAway) -> HandlerError:
    """What the caller's server is told while no key can be had: to try again."""
    return HandlerError(str(error), type=HandlerErrorType.UNAVAILABLE)


def _update_id(context: StartOperationContext) -> str:
    return f"nexus-{context.request_id}"


def told(error: SessionError) -> nexusrpc.OperationError | HandlerError:
    """What the caller is told: to try again, or what came of it."""
    if isinstance(error, OutcomeUnknown):
        return HandlerError(str(error), type=HandlerErrorType.UNAVAILABLE)
    return OperationError(str(error), state=OperationErrorState.FAILED)
