"""What came of callbacks, written down while the next are sent."""

from __future__ import annotations

import asyncio
import logging

import psycopg
from psycopg_pool import PoolTimeout

from masking.storage import callbacks
from masking.storage.callbacks import Note
from masking.storage.database import Database

logger = logging.getLogger(__name__)

WRITE_AGAIN_S = (0.2, 0.5, 1.0, 2.0, 4.0)

GATHER_S = 0.02
"""How long a first note waits for others: a transaction for each would cost as much as to send a callback."""


class Notebook:
    """Writes notes down, in one transaction those that come soon after each other or while it writes.

    What was sent and is not noted when the process is killed, is sent again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Note, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    def note(self, note: Note) -> asyncio.Future[None]:
        """Done once it is written, never before what was noted earlier.

        Raises psycopg.Error or PoolTimeout when the database was away for longer than a moment.
        """
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((note, written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return written

    async def _write_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            some, self._waiting = self._waiting, []
            try:
                await self._write([note for note, _ in some])
            except (psycopg.Error, PoolTimeout) as error:
                for _, written in some:
                    written.set_exception(error)
            else:
                for _, written in some:
                    written.set_result(None)
        self._writing = None

    async def _write(self, notes: list[Note]) -> None:
        """Write; while the database is away for a moment, again, since else they would be sent again."""
        for pause_s in WRITE_AGAIN_S:
            try:
                await self._write_once(notes)
                return
            except (psycopg.Error, PoolTimeout):
                await asyncio.sleep(pause_s)
        await self._write_once(notes)

    async def _write_once(self, notes: list[Note]) -> None:
        # One statement: it needs no transaction besides.
        async with self._database.autocommit() as connection:
            await callbacks.note(connection, notes)
        if dead := sum(note.is_last_failure for note in notes):
            logger.warning("%d callbacks were never delivered; they are listed as dead", dead)
