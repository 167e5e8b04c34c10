"""Comparing what runs in Temporal with what PostgreSQL has, and making it agree after one of them was set back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from masking.audit.live import recomputed
from masking.client.errors import FAULTS, OutcomeUnknown, SessionAlreadyExpired, named
from masking.contract import (
    QUERY_SNAPSHOT,
    UPDATE_RECORD_AGAIN,
    WORKFLOW_TYPE,
    session_of,
    session_workflow_id,
)
from masking.domain.bill.charges import Bill
from masking.domain.session import Phase
from masking.domain.snapshot import SessionSnapshot
from masking.errors import MaskingError
from masking.operate.many import FAILED, Outcome
from masking.operate.progress import Done
from masking.operate.resuming import RESUMED, Resumer, resuming, telling
from masking.privacy.payload_codec import EncryptingCodec
from masking.settings import Settings
from masking.storage.payload_keys import StoredPayloadKeys
from masking.storage.restoring import StoredVersion, lacking_callbacks, queue_again, stored_version
from masking.storage.sessions import session_cipher

AGREES, LACKED, BEHIND, CLOSED, RESTORED, ENDED = "agrees", "lacked", "behind", "closed", "restored", "ended"

LOOK_AGAIN_S = 2.0
"""What is under way at the first look is written down by the second one."""

ANSWERED_WITHIN = timedelta(seconds=10)

_RUNNING = f"WorkflowType = '{WORKFLOW_TYPE}' AND ExecutionStatus = 'Running'"
_TERMINATED = "the database has a later state of this session (masking sessions restore)"

UNANSWERED = (
    "no worker answers for it. If workers run, its key was lost with its row: nothing of it can be read any more, so"
    " terminate it (docs/operations.md, After a restore)"
)


class _Compared(NamedTuple):
    """What differs.

    Attributes:
        state: `AGREES`, `LACKED`, `BEHIND` or `CLOSED`.
        before: the session as its workflow has it; None where that cannot be asked or does not run.
    """

    state: str
    reason: str = ""
    before: SessionSnapshot | None = None


class Restorer:
    """Makes the sessions that run and the database agree again."""

    def __init__(self, resumer: Resumer) -> None:
        self._database, self._keyring, self._client = resumer.database, resumer.keyring, resumer.client
        self._resumer = resumer

    async def all(self, done: Done) -> list[str]:
        """The sessions to look at: those that run, and those of which the database lacks callbacks."""
        running = []
        async for each in self._client.list_workflows(_RUNNING):
            running.append(session_of(each.id))
            done(1)
        async with self._database.transaction() as connection:
            lacking = await lacking_callbacks(connection)
        return sorted({*lacking, *(each for each in running if each is not None)})

    async def look(self, session_uuid: str) -> Outcome:
        """What the database or the workflow lacks of a session, if anything."""
        async with telling(session_uuid) as told:
            compared = await self._compared(session_uuid)
            told.outcome = Outcome(session_uuid, compared.state, compared.reason)
        return told.outcome

    async def restore(self, session_uuid: str) -> Outcome:
        """Make it agree. Safe to repeat."""
        async with telling(session_uuid) as told:
            told.outcome = await self._restored(session_uuid, await self._compared(session_uuid))
        return told.outcome

    async def _restored(self, session_uuid: str, compared: _Compared) -> Outcome:
        match compared.state:
            case "agrees":
                return Outcome(session_uuid, AGREES)
            case "closed":
                await self._handle(session_uuid).terminate(_TERMINATED)
                return Outcome(session_uuid, RESTORED, f"{compared.reason}; that was terminated")
            case "behind":
                await self._handle(session_uuid).terminate(_TERMINATED)
                resumed = await self._resumer.resume(session_uuid)
                if resumed.state != RESUMED:
                    return resumed._replace(state=FAILED)
                return Outcome(session_uuid, RESTORED, f"{compared.reason}; another run goes on from what is stored")
            case _:
                return await self._written_again(session_uuid, compared)

    async def _written_again(self, session_uuid: str, compared: _Compared) -> Outcome:
        ended = await self._is_running(session_uuid) and await self._recorded_again(session_uuid, compared.before)
        queued = await self._callbacks_queued(session_uuid)
        told = f", with {queued} callbacks that it lacked" if queued else ""
        if ended:
            why = "another session has its number by now, so that it was ended: tell its customer"
            return Outcome(session_uuid, ENDED, f"{compared.reason}; {why}")
        return Outcome(session_uuid, RESTORED, f"{compared.reason}; it is written down again{told}")

    async def _recorded_again(self, session_uuid: str, before: SessionSnapshot | None) -> bool:
        """Have its workflow write it down. Whether it was ended by that, because it could not have its number again."""
        try:
            told: SessionSnapshot = await self._handle(session_uuid).execute_update(
                UPDATE_RECORD_AGAIN, result_type=SessionSnapshot, rpc_timeout=ANSWERED_WITHIN
            )
        except FAULTS as error:
            fault = named(error)
            if isinstance(fault, SessionAlreadyExpired):
                return False
            if before is None and isinstance(fault, OutcomeUnknown):
                raise MaskingError(UNANSWERED) from None
            raise fault from None
        if told.phase is Phase.ACTIVE:
            return False
        if before is not None:
            return told.expires_at < before.expires_at
        async with self._database.transaction() as connection:
            held = await connection.execute("SELECT 1 FROM routes WHERE session_uuid = %s LIMIT 1", (session_uuid,))
            return await held.fetchone() is None

    async def _callbacks_queued(self, session_uuid: str) -> int:
        """Queue the callbacks that the history tells of and the database lacks. How many."""
        codec = EncryptingCodec(self._keyring, StoredPayloadKeys(self._database, self._keyring))
        found = await recomputed(self._client, codec, session_uuid)
        if found.failure:
            raise MaskingError(f"its callbacks are unknown, since its history does not fit this code: {found.failure}")
        async with self._database.transaction() as connection:
            cipher = await session_cipher(connection, self._keyring, session_uuid)
            if cipher is None or found.session is None:
                return 0
            return await queue_again(connection, found.session, cipher, found.callbacks.values())

    async def _compared(self, session_uuid: str) -> _Compared:
        """Two looks: a write that is under way at the first is no difference."""
        compared = await self._looked(session_uuid)
        if compared.state == AGREES:
            return compared
        await asyncio.sleep(LOOK_AGAIN_S)
        again = await self._looked(session_uuid)
        return again if again.state == compared.state else _Compared(AGREES)

    async def _looked(self, session_uuid: str) -> _Compared:
        stored = await self._stored(session_uuid)
        if stored.standing == "erased":
            return _Compared(AGREES)
        runs = await self._is_running(session_uuid)
        if stored.standing == "unknown":
            if not runs:
                raise MaskingError("the database does not know it, and no workflow of it runs")
            return _Compared(LACKED, "the database has no row of it")
        if not runs:
            return await self._with_callbacks(session_uuid)
        if stored.standing == "settled":
            return _Compared(CLOSED, "its bill is closed, and its workflow is of before that")
        before = await self._snapshot(session_uuid)
        if before.version < stored.version:
            return _Compared(BEHIND, "its workflow is older than what is stored", before)
        if before.version > (await self._stored(session_uuid)).version:
            return _Compared(LACKED, "the database has an older state of it", before)
        return await self._with_callbacks(session_uuid, before)

    async def _with_callbacks(self, session_uuid: str, before: SessionSnapshot | None = None) -> _Compared:
        async with self._database.transaction() as connection:
            gaps = await lacking_callbacks(connection, session_uuid)
        return _Compared(LACKED, "the database lacks callbacks of it", before) if gaps else _Compared(AGREES)

    async def _stored(self, session_uuid: str) -> StoredVersion:
        async with self._database.transaction() as connection:
            return await stored_version(connection, session_uuid)

    async def _is_running(self, session_uuid: str) -> bool:
        return (await self._resumer.found(session_uuid)).status is WorkflowExecutionStatus.RUNNING

    async def _snapshot(self, session_uuid: str) -> SessionSnapshot:
        try:
            told: SessionSnapshot = await self._handle(session_uuid).query(
                QUERY_SNAPSHOT, result_type=SessionSnapshot, rpc_timeout=ANSWERED_WITHIN
            )
        except FAULTS as error:
            raise named(error) from None
        return told

    def _handle(self, session_uuid: str) -> WorkflowHandle[object, Bill]:
        return self._client.get_workflow_handle(session_workflow_id(session_uuid))


@asynccontextmanager
async def restoring(settings: Settings, at_once: int) -> AsyncIterator[Restorer]:
    """What restores the sessions of the system that these settings, or the data folder, name.

    Raises:
        StartupError: it cannot be reached.
    """
    async with resuming(settings, at_once, temporal_lost=False) as resumer:
        yield Restorer(resumer)
