"""A database that is set back while we run, as by a failover to a standby that lagged: seen, and made good at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import psycopg
from psycopg_pool import PoolTimeout
from temporalio.client import Client

from masking.client.errors import FAULTS
from masking.contract import UPDATE_RECORD_AGAIN, session_workflow_id
from masking.domain.snapshot import SessionSnapshot
from masking.last_written import LastWritten
from masking.lookout import Lookout
from masking.storage.database import Database
from masking.storage.restoring import behind, timeline

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
ANSWERED_WITHIN = timedelta(seconds=10)
AT_ONCE = 20


class SetBackWatch:
    """Has sessions written down again when PostgreSQL goes on from an earlier moment than it had told.

    A standby that takes over, and a database that was restored, begin another timeline. What this process wrote and is
    there no more is then asked of the sessions' workflows.
    """

    def __init__(self, database: Database, client: Client, written: LastWritten) -> None:
        self._database, self._client, self._written = database, client, written
        self._timeline: str | None = None
        self._tells = True
        self._lookout = Lookout(self._look, LOOK_EVERY_S)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Watch until the context ends."""
        # From which timeline on is known at once.
        self._lookout.wake()
        return self._lookout.running()

    async def _look(self) -> None:
        if not self._tells:
            return
        try:
            async with self._database.transaction() as connection:
                now = await timeline(connection)
                if now == self._timeline:
                    return
                lost = await behind(connection, self._written.versions) if self._timeline is not None else []
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.InsufficientPrivilege):
            # Such a database does not say, and has a failover of its own.
            self._tells = False
            return
        except (psycopg.Error, PoolTimeout):
            # It is away, or is a standby still.
            return
        self._timeline = now
        if lost:
            await self._write_again(lost)

    async def _write_again(self, lost: Sequence[str]) -> None:
        logger.error(
            "PostgreSQL was set back: it lacks what was written of %d sessions, which are written down again now; see"
            " docs/operations.md, After a restore, for the rest",
            len(lost),
        )
        room = asyncio.Semaphore(AT_ONCE)
        done = await asyncio.gather(*(self._one(each, room) for each in lost))
        if failed := done.count(False):
            logger.error("%d of them could not be: `masking sessions restore` and `masking sessions resume`", failed)

    async def _one(self, session_uuid: str, room: asyncio.Semaphore) -> bool:
        handle = self._client.get_workflow_handle(session_workflow_id(session_uuid))
        async with room:
            try:
                await handle.execute_update(
                    UPDATE_RECORD_AGAIN,
                    id=f"{UPDATE_RECORD_AGAIN}-{self._timeline}",
                    result_type=SessionSnapshot,
                    rpc_timeout=ANSWERED_WITHIN,
                )
            except FAULTS:
                return False
        return True
