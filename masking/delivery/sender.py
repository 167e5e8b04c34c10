"""Sends callbacks: at once when they arise, again and again when they are not taken."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import aiohttp
import psycopg
from psycopg_pool import PoolTimeout

from masking.delivery.endpoints import Endpoint, Endpoints, Rest
from masking.delivery.notes import Notebook
from masking.delivery.request import Outcome, origin_of, send
from masking.domain.callbacks import AnswerStart
from masking.lookout import Lookout
from masking.privacy.keyring import Keyring, Unreadable
from masking.storage import accounts, callbacks
from masking.storage.callback_endpoints import endpoint_hash, note_rest
from masking.storage.callbacks import Claimed, Due, Hold, Note
from masking.storage.database import Connection, Database

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
SESSIONS_AT_ONCE, FEW_SESSIONS = 64, 16
SOON_S = 0.05
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
        self._soon: asyncio.TimerHandle | None = None

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
        # Of a session both kinds count, and of each kind only some are claimed together.
        return 2 * len(claimed) >= room or any(len(each.due) >= callbacks.AT_ONCE for each in claimed)

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
        # What the session queued meanwhile could not be claimed. Among many, the next are claimed several at a time.
        if len(self._sending) < FEW_SESSIONS:
            self.wake()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON_S, self._wake_soon)

    def _wake_soon(self) -> None:
        self._soon = None
        self.wake()

    async def _send_all(self, claimed: Claimed, tokens: Sequence[str]) -> None:
        """Send one session's callbacks, one after the other, and note each outcome before the next."""
        began, left = time.monotonic(), list(claimed.due)
        refused: dict[Endpoint, list[Due]] = {}
        waits: dict[Endpoint, float] = {}
        try:
            while left and not self._lookout.stopping and time.monotonic() - began < TIME_FOR_A_SESSION_S:
                due = left.pop(0)
                endpoint = Endpoint(claimed.owner_id, "" if due.callback is None else origin_of(due.callback))
                # What follows one that has to wait waits with it, so that it does not overtake.
                if endpoint not in refused:
                    is_last = not left and not refused
                    waits[endpoint] = await self._try(due, endpoint, tokens, claimed.hold if is_last else None)
                    if is_last and waits[endpoint] == 0:
                        return
                if waits[endpoint] > 0:
                    refused.setdefault(endpoint, []).append(due)
            async with self._database.pipelined() as connection:
                for endpoint, held in refused.items():
                    await self._put_back(connection, held, waits[endpoint])
                await self._put_back(connection, left, 0.0)
                await callbacks.let_go(connection, claimed.hold)
        except (psycopg.Error, PoolTimeout) as error:
            # Their claim ends by itself.
            logger.warning("callbacks of a session wait: %s", type(error).__name__)

    async def _try(self, due: Due, endpoint: Endpoint, tokens: Sequence[str], let_go: Hold | None) -> float:
        """Send it and note the outcome, unless the endpoint may not be tried for so many seconds."""
        began_at, began = datetime.now(UTC), time.monotonic()
        if due.callback is None:
            await self._note(due, endpoint, began_at, timedelta(), Outcome("cannot be read"), let_go)
            return 0.0
        wait = self._endpoints.admit(endpoint, began)
        if wait > 0:
            return wait
        outcome = Outcome("not finished")
        try:
            outcome = await send(self._http, due.callback, tokens)
        finally:
            now = time.monotonic()
            rest = self._endpoints.done(endpoint, now, taken=outcome.taken)
        await self._note(due, endpoint, began_at, timedelta(seconds=now - began), outcome, let_go)
        if rest is not None:
            await self._note_rest(endpoint, rest, outcome)
        return 0.0

    async def _note(
        self,
        due: Due,
        endpoint: Endpoint,
        began_at: datetime,
        duration: timedelta,
        outcome: Outcome,
        let_go: Hold | None,
    ) -> None:
        answer = None
        if outcome.answer and due.cipher is not None:
            answer = due.cipher.seal(AnswerStart(text=outcome.answer.decode(errors="backslashreplace")))
        await self._notebook.note(
            Note(
                callback_id=due.callback_id,
                began_at=began_at,
                duration=duration,
                outcome=outcome.told,
                status=outcome.status,
                sealed_answer=answer,
                taken=outcome.taken,
                pause=None if outcome.taken else self._patience.pause(due.attempts + 1, due.age),
                endpoint_hash=endpoint_hash(self._keyring, *endpoint),
                let_go=let_go,
            )
        )

    async def _note_rest(self, endpoint: Endpoint, rest: Rest, outcome: Outcome) -> None:
        async with self._database.transaction() as connection:
            await note_rest(
                connection, self._keyring, *endpoint, rest.failures, outcome.told, timedelta(seconds=rest.seconds)
            )

    async def _put_back(self, connection: Connection, due: Sequence[Due], wait: float) -> None:
        if due:
            await callbacks.put_back(connection, [each.callback_id for each in due], timedelta(seconds=wait))
