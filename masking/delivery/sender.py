"""Sends callbacks: at once when they arise, again and again when they are not taken."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple

import aiohttp
import psycopg
from psycopg_pool import PoolTimeout

from masking.delivery.endpoints import Endpoints
from masking.delivery.notes import Notebook
from masking.delivery.request import Outcome, endpoint_of, send
from masking.lookout import Lookout
from masking.privacy.keyring import Keyring, Unreadable
from masking.storage import accounts, callbacks
from masking.storage.callbacks import Claimed, Due, Note
from masking.storage.database import Connection, Database

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
SESSIONS_AT_ONCE = 64
LEASE = timedelta(seconds=90)
"""Another sender takes over what a dead one had in hand, this long after."""

TIME_FOR_A_SESSION_S = 30.0
"""After so long with one session's callbacks, the rest is put back, well before the lease ends."""

FIRST_PAUSE = timedelta(seconds=1)


class Patience(NamedTuple):
    """How long a callback is tried, and how long the pauses between grow at most."""

    give_up_after: timedelta
    longest_pause: timedelta

    def pause(self, attempts: int, age: timedelta) -> timedelta | None:
        """The pause after so many failed tries of a callback of that age; None to give up."""
        pause = min(FIRST_PAUSE * 2 ** min(attempts - 1, 20), self.longest_pause)
        return pause if age + pause <= self.give_up_after else None


class CallbackSender:
    """Delivers what is due, at least once each and one session's in order, until one of them fails.

    Several workers may run one each.

    Args:
        http: with time-outs.
    """

    def __init__(self, database: Database, keyring: Keyring, http: aiohttp.ClientSession, patience: Patience) -> None:
        self._database, self._keyring, self._http, self._patience = database, keyring, http, patience
        self._notebook = Notebook(database)
        self._endpoints = Endpoints()
        self._lookout = Lookout(self._look, LOOK_EVERY_S)
        self._sending: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Callbacks were queued just now; do not wait for the next look."""
        self._lookout.wake()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send until the context ends; the requests under way are finished first."""
        try:
            async with self._lookout.running():
                yield
        finally:
            await asyncio.gather(*self._sending)

    async def _look(self) -> None:
        try:
            while not self._lookout.stopping and await self._begin_some():
                pass
        except (psycopg.Error, PoolTimeout) as error:
            logger.warning("callbacks wait: %s", type(error).__name__)

    async def _begin_some(self) -> bool:
        """Claim what is due as far as there is room, and begin to send it. Whether more may be due."""
        room = SESSIONS_AT_ONCE - len(self._sending)
        if room <= 0:
            return False
        async with self._database.pipelined() as connection:
            claimed = await callbacks.claim(connection, self._keyring, room, LEASE)
            tokens = await self._tokens_of(connection, {each.owner_id for each in claimed})
        for each in claimed:
            if each.owner_id in tokens:
                task = asyncio.create_task(self._send_all(each, tokens[each.owner_id]))
                self._sending.add(task)
                task.add_done_callback(self._sent)
        return len(claimed) == room

    async def _tokens_of(self, connection: Connection, owners: Collection[str]) -> dict[str, Sequence[str]]:
        """What signs the callbacks of these owners; of one whose token cannot be read, they wait for the next claim."""
        tokens: dict[str, Sequence[str]] = {}
        for owner in owners:
            try:
                tokens[owner] = await accounts.auth_tokens(connection, self._keyring, owner)
            except Unreadable:
                logger.error("the auth token of %s cannot be read; its callbacks wait", owner)
        return tokens

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        # What the session queued meanwhile could not be claimed.
        self.wake()

    async def _send_all(self, claimed: Claimed, tokens: Sequence[str]) -> None:
        """Send one session's callbacks, one after the other, and note each outcome before the next."""
        began, left = time.monotonic(), list(claimed.due)
        try:
            while left and not self._lookout.stopping and time.monotonic() - began < TIME_FOR_A_SESSION_S:
                await self._try(left[0], tokens)
                left.pop(0)
            await self._put_back(left, 0.0)
        except (psycopg.Error, PoolTimeout) as error:
            # Their claim ends by itself.
            logger.warning("callbacks of a session wait: %s", type(error).__name__)

    async def _try(self, due: Due, tokens: Sequence[str]) -> None:
        if due.callback is None:
            await self._note(due, Outcome("cannot be read", taken=False))
            return
        endpoint = endpoint_of(due.callback)
        wait = self._endpoints.admit(endpoint, time.monotonic())
        if wait > 0:
            await self._put_back([due], wait)
            return
        taken = False
        try:
            outcome = await send(self._http, due.callback, tokens)
            taken = outcome.taken
        finally:
            self._endpoints.done(endpoint, time.monotonic(), taken=taken)
        await self._note(due, outcome)

    async def _note(self, due: Due, outcome: Outcome) -> None:
        pause = None if outcome.taken else self._patience.pause(due.attempts + 1, due.age)
        await self._notebook.note(Note(due.callback_id, outcome.told, outcome.taken, pause))

    async def _put_back(self, due: Sequence[Due], wait: float) -> None:
        if due:
            async with self._database.transaction() as connection:
                await callbacks.put_back(connection, [each.callback_id for each in due], timedelta(seconds=wait))
