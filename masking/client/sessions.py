"""The client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta
from uuid import uuid4

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from masking.client.errors import FAULTS, NotSettledYet, SessionAlreadyExpired, SessionNotFound, named, refused
from masking.client.events import SessionEvent
from masking.client.fitness import check_models
from masking.client.new_session import NamedSession, NewSession, session_uuid_of
from masking.client.starting import ATTEMPTS, Starter, used_up
from masking.client.stream import events_of
from masking.contract import (
    QUERY_SNAPSHOT,
    QUERY_STORY,
    TASK_QUEUE,
    UPDATE_EXPIRE,
    UPDATE_EXTEND,
    UPDATE_MODIFY,
    UPDATE_OPENED,
    session_workflow_id,
)
from masking.domain.bill.charges import Bill
from masking.domain.snapshot import SessionSnapshot
from masking.domain.terms import Change, Expire, Extend, SessionRequest
from masking.lookup import PartyHash

DEFAULT_TIMEOUT = timedelta(seconds=4)
"""Within the 5 s that most of Plivo's SDKs wait for an answer (plivo-wire.md §1.8)."""


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
        self._timeout = timeout
        self._starter = Starter(client, task_queue, timeout, lookup=lookup, party_hash=party_hash)

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
            return await self._starter.open(wanted)
        if wanted.idempotency_key is None:
            return await self._starter.open(wanted.request(str(uuid4())))
        return await self._starter.once(wanted, self._starter.open, self.snapshot)

    async def opened(self, session_uuid: str, *, update_id: str | None = None) -> SessionSnapshot:
        """Wait until a session that somebody started has its virtual number, and return it as it is then.

        Raises:
            NumberPoolExhausted, AccountUnknown, SessionRefused: it was refused.
            SessionAlreadyExpired, SessionNotFound, OutcomeUnknown: as of `modify`.
        """
        try:
            return await self._update(session_uuid, UPDATE_OPENED, None, update_id)
        except (SessionAlreadyExpired, SessionNotFound):
            # One that was refused has ended at once.
            if reason := await self._starter.refusal(session_uuid):
                raise refused(reason) from None
            raise

    async def session_of(self, account_id: str, idempotency_key: str) -> str:
        """The id of the session that a key names, whoever started it. Asks Temporal, and no worker.

        Raises:
            SessionNotFound: none was started.
            NumberPoolExhausted, AccountUnknown, SessionRefused: it was refused.
            OutcomeUnknown: Temporal did not answer.
        """
        named_now = await self.named_by(account_id, idempotency_key)
        if named_now.exists:
            return named_now.session_uuid
        if named_now.refusal:
            raise refused(named_now.refusal)
        raise SessionNotFound("no session was started under this key; check it, the account, and the namespace")

    async def named_by(self, account_id: str, idempotency_key: str, wanted: NewSession | None = None) -> NamedSession:
        """The session that a key names, or would name if it were started now. Asks Temporal, and no worker.

        Args:
            wanted: what it is to have been started with; None for whatever it was.

        Raises:
            IdempotencyConflict: it was started with other terms.
            NumberPoolExhausted: the key is used up.
            OutcomeUnknown: Temporal did not answer.
        """
        refusal = ""
        for attempt in range(ATTEMPTS):
            session_uuid = session_uuid_of(account_id, idempotency_key, attempt)
            try:
                described = await self._handle(session_uuid).describe(rpc_timeout=self._timeout)
            except FAULTS as error:
                told = named(error)
                if isinstance(told, SessionNotFound):
                    return NamedSession(session_uuid=session_uuid, exists=False, refusal=refusal)
                raise told from None
            has_ended = described.status == WorkflowExecutionStatus.COMPLETED
            refusal = await self._starter.refusal(session_uuid) if has_ended else ""
            if not refusal:
                if wanted is not None:
                    await self._starter.must_be_the_same(session_uuid, wanted.digest(session_uuid))
                return NamedSession(session_uuid=session_uuid, exists=True)
        raise used_up()

    async def extend(self, session_uuid: str, session_expiry: int, *, update_id: str | None = None) -> SessionSnapshot:
        """Let the session expire `session_expiry` seconds from now, 1 to 86400. Raises what `modify` raises."""
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
            SessionRefused: its workflow was ended from outside. Once its operator has it go on, asking again waits.
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
            SessionRefused: its workflow was ended from outside. Once its operator has it go on, so does a stream that
                is begun again `after` the last event.
            OutcomeUnknown: Temporal was away for minutes; go on later with `after`.
        """
        return events_of(self._client, session_uuid, after)

    async def _update(
        self, session_uuid: str, name: str, argument: Change | Extend | Expire | None, update_id: str | None
    ) -> SessionSnapshot:
        try:
            answer: SessionSnapshot = await self._handle(session_uuid).execute_update(
                name,
                args=[] if argument is None else [argument],
                id=update_id or uuid4().hex,
                result_type=SessionSnapshot,
                rpc_timeout=self._timeout,
            )
            return answer
        except FAULTS as error:
            raise named(error) from None

    def _handle(self, session_uuid: str) -> WorkflowHandle[object, Bill]:
        return self._client.get_workflow_handle(session_workflow_id(session_uuid), result_type=Bill)
