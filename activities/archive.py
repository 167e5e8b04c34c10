"""What the archive's workflow asks for: packs of closed sessions, a batch at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
from psycopg_pool import PoolTimeout
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from masking.audit.archive import Archive
from masking.audit.export import export
from masking.domain.model import Model
from masking.errors import ArchiveAway, KeysAway
from masking.privacy.keyring import Keyring
from masking.storage.archiving import Due, due, note_archived, postpone
from masking.storage.database import Database

AT_ONCE = 2
HEARTBEAT_EVERY_S = 10.0

TEMPORAL_IS_AWAY = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNAUTHENTICATED,
)


class ArchiveBatch(Model):
    """Archive at most so many sessions."""

    most: int


class Archived(Model):
    """How many were, and how many could not be and are tried later."""

    archived: int = 0
    failed: int = 0


class ArchiveActivities:
    """Writes packs from Temporal's histories and PostgreSQL to the archive.

    Args:
        after: how long after their bills were closed sessions are archived.
        commit: of the code that runs.
    """

    def __init__(
        self, client: Client, database: Database, keyring: Keyring, archive: Archive, after: timedelta, commit: str
    ) -> None:
        self._client, self._database, self._keyring = client, database, keyring
        self._archive, self._after, self._commit = archive, after, commit

    @activity.defn
    async def archive_batch(self, command: ArchiveBatch) -> Archived:
        """Archive the sessions that were closed longest ago. Safe to stop anywhere, to repeat, and to do twice at once.

        A pack that is written and not noted is found, and noted, the next time.
        """
        async with _heartbeats():
            return await self._batch(command.most)

    async def _batch(self, most: int) -> Archived:
        await asyncio.to_thread(self._archive.prepare)
        async with self._database.transaction() as connection:
            sessions = await due(connection, self._after, most)
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(session: Due) -> bool:
            async with slots:
                return await self._archived(session)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(session)) for session in sessions]
        except ExceptionGroup as errors:
            # One is enough to tell what concerns all.
            raise errors.exceptions[0] from None
        done = sum(task.result() for task in tasks)
        return Archived(archived=done, failed=len(sessions) - done)

    async def _archived(self, session: Due) -> bool:
        """Archive one. One that cannot be must hold up no other; what concerns all of them is raised."""
        uuid = session.session_uuid
        try:
            made = await export(self._client, self._database, self._keyring, uuid, commit=self._commit)
            root = await asyncio.to_thread(self._archive.keep, uuid, session.settled_at, made.lines)
        except (ArchiveAway, KeysAway, OSError, psycopg.Error, PoolTimeout):
            raise
        except Exception as error:
            if isinstance(error, RPCError) and error.status in TEMPORAL_IS_AWAY:
                raise
            activity.logger.error("session %s cannot be archived: %s: %s", uuid, type(error).__name__, error)
            async with self._database.transaction() as connection:
                await postpone(connection, uuid)
            return False
        async with self._database.transaction() as connection:
            await note_archived(connection, uuid, root)
        return True


@asynccontextmanager
async def _heartbeats() -> AsyncIterator[None]:
    """Tell Temporal that the activity lives, however long the archive takes for one pack; its time-out bounds it."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_EVERY_S)
            activity.heartbeat()

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
