"""Fetches recordings from the carrier into our own storage, beside the workflows, and has them deleted there."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg_pool import PoolTimeout

from masking.carriers.errors import CarrierError, CarrierUnavailable
from masking.carriers.protocol import Orders
from masking.errors import MaskingError, StorageAway
from masking.lookout import alongside
from masking.privacy.keyring import Keyring
from masking.recordings.sealed import seal_into
from masking.recordings.store import RecordingStore
from masking.storage import recordings
from masking.storage.database import Database
from masking.storage.recordings import Due

LOOK_EVERY_S = 2.0
AT_ONCE = 4
TIME_FOR_ONE_S = 600.0
LEASE = timedelta(seconds=TIME_FOR_ONE_S + 60)
"""Another worker takes over what a dead one had in hand, this long after."""
GIVE_UP_AFTER = timedelta(days=3)
"""A recording that cannot be fetched for so long is lost; one that cannot be deleted stays at the carrier."""

logger = logging.getLogger(__name__)


class RecordingKeeper:
    """Does what is to be done with recordings. Several workers may run one each.

    Each step can be repeated: a worker that is killed anywhere leaves what the next one does once more. What is
    fetched is on disk only as ciphertext.
    """

    def __init__(self, database: Database, keyring: Keyring, orders: Orders, store: RecordingStore) -> None:
        self._database, self._keyring, self._orders, self._store = database, keyring, orders, store

    async def prepare(self) -> None:
        """Tell at the start what each look would fail with."""
        try:
            await asyncio.to_thread(self._store.prepare)
        except StorageAway as error:
            logger.error("recordings cannot be kept: %s. They wait until they can be", error)

    async def look(self) -> int:
        """Do what is to be done now, a few at a time. How many recordings there were."""
        done = 0
        while True:
            async with self._database.transaction() as connection:
                due = await recordings.claim(connection, self._keyring, AT_ONCE, LEASE)
            # All of them are done with before one's fault is told.
            for fault in await asyncio.gather(*(self._see_to(each) for each in due), return_exceptions=True):
                if fault is not None:
                    raise fault
            done += len(due)
            if len(due) < AT_ONCE:
                return done

    async def _see_to(self, due: Due) -> None:
        try:
            async with asyncio.timeout(TIME_FOR_ONE_S):
                await self._do(due)
        except asyncio.CancelledError:
            async with self._database.transaction() as connection:
                await recordings.postpone(connection, due.recording_id, at_once=True)
            raise
        except (CarrierError, StorageAway, TimeoutError, OSError, MaskingError) as error:
            await self._failed(due, str(error) or type(error).__name__)

    async def _do(self, due: Due) -> None:
        if due.state == "waiting":
            size = await self._fetch(due)
            async with self._database.transaction() as connection:
                is_wanted = await recordings.note_kept(connection, due.recording_id, size)
            if not is_wanted:
                await asyncio.to_thread(self._store.remove, due.name)
                return
        if due.state == "erased":
            await asyncio.to_thread(self._store.remove, due.name)
        if due.at_carrier and (due.to_delete or due.state == "erased"):
            await self._orders.delete_recording(due.recording_id)
            async with self._database.transaction() as connection:
                await recordings.note_deleted(connection, due.recording_id)
        if due.state == "erased":
            async with self._database.transaction() as connection:
                await recordings.forget(connection, due.recording_id)

    async def _fetch(self, due: Due) -> int:
        assert due.cipher is not None  # noqa: S101 only of erased sessions there is none
        with tempfile.TemporaryDirectory(prefix="masking-") as folder:
            path = Path(folder) / "recording"
            async with self._orders.audio(due.url) as audio:
                with path.open("wb") as file:
                    size = await seal_into(file, due.cipher, due.recording_id, audio.chunks)
            if audio.size is not None and size != audio.size:
                raise CarrierUnavailable("a recording was cut short")
            await asyncio.to_thread(self._store.put, due.name, path)
        return size

    async def _failed(self, due: Due, why: str) -> None:
        # What is erased is never given up.
        is_over = due.age >= GIVE_UP_AFTER and due.state != "erased"
        async with self._database.transaction() as connection:
            if is_over:
                await recordings.give_up(connection, due.recording_id)
            else:
                await recordings.postpone(connection, due.recording_id)
        if is_over:
            what = "could not be fetched" if due.state == "waiting" else "could not be deleted at the carrier"
            logger.error("a recording of session %s %s for days, and is given up: %s", due.session_uuid, what, why)
        elif due.tries == 1:
            logger.warning("a recording of session %s waits: %s", due.session_uuid, why)


@asynccontextmanager
async def keeping(keeper: RecordingKeeper | None) -> AsyncIterator[None]:
    """See to recordings while the context lasts. What is under way at its end is left to others, at once."""
    if keeper is None:
        yield
        return
    async with alongside(_look_again_and_again(keeper)):
        yield


async def _look_again_and_again(keeper: RecordingKeeper) -> None:
    await keeper.prepare()
    while True:
        try:
            await keeper.look()
        except (psycopg.Error, PoolTimeout, MaskingError) as error:
            logger.warning("recordings wait: %s", type(error).__name__)
        await asyncio.sleep(LOOK_EVERY_S)
