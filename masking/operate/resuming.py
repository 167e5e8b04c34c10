"""Looking at sessions' workflows, and having those sessions go on whose workflow was lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import psycopg
from psycopg_pool import PoolTimeout
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from masking.audit.live import recomputed
from masking.client.errors import SessionError
from masking.client.sessions import DEFAULT_TIMEOUT
from masking.client.starting import Starter
from masking.contract import MEMO_REQUEST, TASK_QUEUE, session_workflow_id
from masking.domain.resuming import start_of_resumed
from masking.domain.session import Phase
from masking.errors import KeysAway, MaskingError
from masking.operate.known import account_must_be_known
from masking.operate.lost_run import answered_updates
from masking.operate.many import FAILED, Outcome
from masking.operate.system import operated_system
from masking.operate.temporal_client import operated_client
from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.party_hash import party_hash
from masking.privacy.payload_codec import EncryptingCodec
from masking.settings import Settings
from masking.storage import restoring
from masking.storage import resuming as stored
from masking.storage.database import Connection, Database
from masking.storage.payload_keys import StoredPayloadKeys
from masking.storage.sessions import session_cipher, settle_session
from masking.temporal import lacks_namespace

LOST, RUNS, NOT_FOUND, RESUMED = "lost", "running", "not_found", "resumed"

_UNFIT = {
    "settled": "its bill is closed: it has ended",
    "erased": "it was erased: nothing of it can be read any more",
    "unknown": "there is no session with this id",
}


class Resumer:
    """Has sessions go on.

    Args:
        starter: starts their workflows; `client` asks about these.
        temporal_lost: whether one that Temporal does not know is lost.
    """

    def __init__(
        self, database: Database, keyring: Keyring, client: Client, starter: Starter, *, temporal_lost: bool = False
    ) -> None:
        self.database, self.keyring, self.client, self._starter = database, keyring, client, starter
        self._temporal_lost = temporal_lost

    async def unsettled(self, account: str | None) -> list[str]:
        """The sessions whose bill is open; of an account or subaccount, which must exist, or all."""
        async with self.database.transaction() as connection:
            found = await stored.unsettled(connection, account)
            if not found:
                await account_must_be_known(connection, account)
            return found

    async def look(self, session_uuid: str) -> Outcome:
        """How it stands with a session: lost, and how; or running, not known to Temporal, or failed, and why."""
        async with telling(session_uuid) as told, self.database.autocommit() as connection:
            told.outcome, _ = await self._look(connection, session_uuid)
        return told.outcome

    async def resume(self, session_uuid: str) -> Outcome:
        """Have a lost session go on. Safe to repeat, and to do twice at once: one of two has it go on."""
        async with (
            telling(session_uuid) as told,
            self.database.autocommit() as connection,
            stored.alone(connection, session_uuid) as is_alone,
        ):
            if not is_alone:
                told.outcome = Outcome(session_uuid, RUNS, "somebody else resumes it at this moment")
            else:
                told.outcome, found = await self._look(connection, session_uuid)
                if told.outcome.state == LOST:
                    told.outcome = await self._resume(connection, session_uuid, found)
        return told.outcome

    async def _look(self, connection: Connection, session_uuid: str) -> tuple[Outcome, Found]:
        standing = await stored.standing(connection, session_uuid)
        if standing != "open":
            return Outcome(session_uuid, FAILED, _UNFIT[standing]), Found()
        found = await self.found(session_uuid)
        if found.goes_on:
            return Outcome(session_uuid, RUNS), found
        if found.status is None and not self._temporal_lost:
            return Outcome(session_uuid, NOT_FOUND), found
        return Outcome(session_uuid, LOST, found.how), found

    async def _resume(self, connection: Connection, session_uuid: str, found: Found) -> Outcome:
        if found.status is WorkflowExecutionStatus.COMPLETED and (ended := await self._ended(session_uuid)) is not None:
            return Outcome(session_uuid, RESUMED, f"{found.how}: it is now, as it ended{_told_again(ended)}")
        digest = await _digest(found.described) if found.described is not None else None
        async with connection.transaction():
            # Whatever the lost run still writes is refused from here on, and only then does another one begin.
            taken = await stored.take_over(connection, self.keyring, session_uuid)
        if taken is None:
            return Outcome(session_uuid, FAILED, _UNFIT["settled"])
        workflow_id = session_workflow_id(session_uuid)
        answered = await answered_updates(self.client, workflow_id, found.run_id) if found.run_id else ()
        if not await self._starter.resume(start_of_resumed(taken.session, found.run_id, answered), digest):
            return Outcome(session_uuid, FAILED, "another run of its workflow was begun at the same moment; look again")
        await stored.tell_now(connection, session_uuid)
        told = f", and is told {taken.again} events" if taken.again else ""
        return Outcome(session_uuid, RESUMED, f"{found.how}{told}")

    async def _ended(self, session_uuid: str) -> int | None:
        """Write down how a session has ended, as its history tells; how many callbacks were queued that were lacking.

        The database was set back: what it has is of before that. None where it has a later state than the history.
        """
        codec = EncryptingCodec(self.keyring, StoredPayloadKeys(self.database, self.keyring))
        try:
            found = await recomputed(self.client, codec, session_uuid)
        except Unreadable as error:
            raise MaskingError(f"it has ended, and its history cannot be read: {error}") from None
        if found.failure:
            raise MaskingError(f"it has ended, and its history does not fit this code: {found.failure}")
        session = found.session
        if session is None or session.phase is not Phase.SETTLED:
            return None
        async with self.database.transaction() as connection:
            if (await restoring.stored_version(connection, session_uuid)).version >= session.version:
                return None
            cipher = await session_cipher(connection, self.keyring, session_uuid)
            if cipher is None:
                return None
            await settle_session(connection, self.keyring, session)
            queued = await restoring.queue_again(connection, session, cipher, found.callbacks.values())
            await stored.tell_now(connection, session_uuid)
        return queued

    async def found(self, session_uuid: str) -> Found:
        """What Temporal knows of a session."""
        handle = self.client.get_workflow_handle(session_workflow_id(session_uuid))
        try:
            described = await handle.describe(rpc_timeout=DEFAULT_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND or lacks_namespace(error):
                raise
            return Found()
        return Found(described)


@dataclass
class Told:
    """What there is to tell of a session."""

    outcome: Outcome


@asynccontextmanager
async def telling(session_uuid: str) -> AsyncIterator[Told]:
    """Tell what goes wrong with one session, and go on with the others."""
    told = Told(Outcome(session_uuid, FAILED, "nothing is known of it"))
    try:
        yield told
    except RPCError as error:
        told.outcome = Outcome(session_uuid, FAILED, f"Temporal does not answer ({error.status.name})")
    except (psycopg.Error, PoolTimeout, KeysAway) as error:
        told.outcome = Outcome(session_uuid, FAILED, f"PostgreSQL does not answer ({type(error).__name__})")
    except RuntimeError as error:
        # The SDK's, where there is no connection.
        told.outcome = Outcome(session_uuid, FAILED, f"Temporal does not answer ({type(error).__name__})")
    except (MaskingError, SessionError) as error:
        told.outcome = Outcome(session_uuid, FAILED, str(error))


_ENDED = {
    WorkflowExecutionStatus.COMPLETED,
    WorkflowExecutionStatus.FAILED,
    WorkflowExecutionStatus.CANCELED,
    WorkflowExecutionStatus.TERMINATED,
    WorkflowExecutionStatus.TIMED_OUT,
}


class Found(NamedTuple):
    """What Temporal knows of a session: its newest run; nothing where that is None."""

    described: WorkflowExecutionDescription | None = None

    @property
    def run_id(self) -> str:
        """Of its newest run; empty where there is none."""
        return self.described.run_id if self.described is not None else ""

    @property
    def status(self) -> WorkflowExecutionStatus | None:
        """Of its newest run; None where there is none."""
        return self.described.status if self.described is not None else None

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended."""
        return self.status is not None and self.status not in _ENDED

    @property
    def how(self) -> str:
        """How it was lost, in words."""
        match self.status:
            case None:
                return "Temporal does not know it"
            case WorkflowExecutionStatus.TIMED_OUT:
                return "its workflow timed out"
            case WorkflowExecutionStatus.COMPLETED:
                return "its workflow has ended, and its bill is not stored"
            case ended:
                return f"its workflow was {ended.name.lower()}" if ended.name != "FAILED" else "its workflow failed"


def _told_again(callbacks: int) -> str:
    return f", with {callbacks} callbacks that were lacking" if callbacks else ""


async def _digest(described: WorkflowExecutionDescription) -> str | None:
    """Of the request under whose key a session was started, if it was."""
    try:
        digest: str | None = await described.memo_value(MEMO_REQUEST, default=None, type_hint=str)
    except Unreadable:
        return None
    return digest


@asynccontextmanager
async def resuming(settings: Settings, at_once: int, *, temporal_lost: bool) -> AsyncIterator[Resumer]:
    """What resumes the sessions of the system that these settings, or the data folder, name.

    Raises:
        StartupError: it cannot be reached.
    """
    async with operated_system(settings, connections=at_once) as system:
        client = await operated_client(settings)
        hashed = party_hash(system.keyring) if settings.lookup else None
        starter = Starter(client, TASK_QUEUE, timedelta(seconds=10), lookup=settings.lookup, party_hash=hashed)
        yield Resumer(system.database, system.keyring, client, starter, temporal_lost=temporal_lost)
