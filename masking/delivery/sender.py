"""Sends callbacks: at once when they arise, again and again when they are not taken."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
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
from masking.storage.accounts import SigningTokens
from masking.storage.callback_endpoints import endpoint_hash, note_rest
from masking.storage.callback_queue import Queued
from masking.storage.callbacks import Due, Hold, Note
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

TOKENS_FRESH_S, TOKENS_KEPT = 1.0, 1000
"""An account's tokens are read again after so long; of so many accounts."""


class Patience(NamedTuple):
    """How long a callback is tried, and how long the pauses between grow at most."""

    give_up_after: timedelta
    longest_pause: timedelta

    def pause(self, attempts: int, age: timedelta) -> timedelta | None:
        """The pause after so many failed tries of a callback of that age; None to give up."""
        pause = min(FIRST_PAUSE * 2 ** min(attempts - 1, 20), self.longest_pause)
        return pause if age + pause <= self.give_up_after else None


class _Tried(NamedTuple):
    """What came of a try, and the rest of its endpoint that follows, if any."""

    began_at: datetime
    duration: timedelta
    outcome: Outcome
    rest: Rest | None


@dataclass
class _InHand:
    """What this sender has in hand of a session.

    Attributes:
        left: not tried yet, in their order.
        takes_more: whether nothing else of the session waits, so that what is queued now may follow at once.
    """

    hold: Hold
    owner_id: str
    account_id: str
    left: deque[Due]
    takes_more: bool


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
        self._tokens: dict[str, tuple[float, SigningTokens]] = {}
        self._in_hand: dict[str, _InHand] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._more_waits: set[str] = set()
        self._crowded = False
        self._soon: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Callbacks were queued just now; do not wait for the next look."""
        self._lookout.wake()

    def lease(self) -> timedelta | None:
        """For how long it takes in hand what is queued in this process now; None without room."""
        return LEASE if len(self._sending) < SESSIONS_AT_ONCE else None

    def take(self, queued: Queued) -> None:
        """Send what was queued just now: at once if it is in hand, else when its turn comes."""
        busy = self._in_hand.get(queued.session_uuid)
        if queued.hold is not None:
            self._begin(_InHand(queued.hold, queued.owner_id, queued.account_id, deque(queued.due), takes_more=True))
        elif busy is not None and busy.takes_more:
            busy.left.extend(queued.due)
        elif busy is not None:
            self._more_waits.add(queued.session_uuid)
        else:
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
            self._crowded = True
            return False
        # What these sessions have queued by now cannot be claimed before they are out of hand.
        self._more_waits.update(uuid for uuid, hand in self._in_hand.items() if not hand.takes_more)
        async with self._database.pipelined() as connection:
            claimed = await callbacks.claim(connection, self._keyring, room, LEASE)
        for each in claimed:
            if len(each.due) >= callbacks.AT_ONCE:
                self._more_waits.add(each.hold.session_uuid)
            self._begin(_InHand(each.hold, each.owner_id, each.account_id, deque(each.due), takes_more=False))
        # Of a session both kinds count, so these may have been all there was room for.
        self._crowded = 2 * len(claimed) >= room
        return self._crowded

    def _begin(self, hand: _InHand) -> None:
        self._in_hand[hand.hold.session_uuid] = hand
        task = asyncio.create_task(self._send_all(hand))
        self._sending.add(task)
        task.add_done_callback(lambda task: self._sent(task, hand))

    def _sent(self, task: asyncio.Task[None], hand: _InHand) -> None:
        self._sending.discard(task)
        session_uuid = hand.hold.session_uuid
        if self._in_hand.get(session_uuid) is hand:
            del self._in_hand[session_uuid]
        if not self._crowded and session_uuid not in self._more_waits:
            return
        self._more_waits.discard(session_uuid)
        # Of many, the next are claimed several at a time.
        if len(self._sending) < FEW_SESSIONS:
            self._lookout.wake()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON_S, self._wake_soon)

    def _wake_soon(self) -> None:
        self._soon = None
        self._lookout.wake()

    async def _send_all(self, hand: _InHand) -> None:
        """Send one session's callbacks, one after the other."""
        began, noted = time.monotonic(), list[asyncio.Future[None]]()
        refused: dict[Endpoint, tuple[float, list[Due]]] = {}
        try:
            tokens = await self._tokens_of(hand.owner_id)
            while hand.left and not self._lookout.stopping and time.monotonic() - began < TIME_FOR_A_SESSION_S:
                due = hand.left.popleft()
                origin = "" if due.callback is None else origin_of(due.callback)
                endpoint = Endpoint(hand.owner_id, origin, hand.account_id)
                # What follows one that has to wait waits with it, so that it does not overtake.
                needs_leave = due.callback is not None and endpoint not in refused
                wait = self._endpoints.admit(endpoint, time.monotonic()) if needs_leave else 0.0
                if wait > 0:
                    refused[endpoint] = (wait, [])
                    hand.takes_more = False
                if endpoint in refused:
                    refused[endpoint][1].append(due)
                    continue
                tried = await self._try(due, endpoint, tokens)
                is_last = not hand.left and not refused
                if is_last:
                    hand.takes_more = False
                age = due.age + timedelta(seconds=time.monotonic() - began)
                note = self._note_of(due, age, endpoint, tried, hand.hold if is_last else None)
                noted.append(self._notebook.note(note))
                if tried.rest is not None:
                    await self._note_rest(endpoint, tried.rest, tried.outcome)
                if is_last:
                    await asyncio.gather(*noted)
                    return
            hand.takes_more = False
            await asyncio.gather(*noted)
            async with self._database.pipelined() as connection:
                for wait, held in refused.values():
                    await self._put_back(connection, held, wait)
                await self._put_back(connection, hand.left, 0.0)
                await callbacks.let_go(connection, hand.hold)
        except Unreadable:
            logger.error("the auth token of %s cannot be read; its callbacks wait", hand.owner_id)
        except (psycopg.Error, PoolTimeout) as error:
            # Their claim ends by itself.
            logger.warning("callbacks of a session wait: %s", type(error).__name__)

    async def _tokens_of(self, owner_id: str) -> SigningTokens:
        """What signs the callbacks of an account, as it was a moment ago.

        Raises:
            Unreadable: it cannot be decrypted.
        """
        read_at, tokens = self._tokens.get(owner_id, (float("-inf"), SigningTokens((), ())))
        if time.monotonic() - read_at > TOKENS_FRESH_S:
            async with self._database.transaction() as connection:
                tokens = await accounts.signing_tokens(connection, self._keyring, owner_id)
            if len(self._tokens) >= TOKENS_KEPT:
                self._tokens.clear()
            self._tokens[owner_id] = (time.monotonic(), tokens)
        return tokens

    async def _try(self, due: Due, endpoint: Endpoint, tokens: SigningTokens) -> _Tried:
        """Send a callback to its endpoint, which has been admitted."""
        began_at, began = datetime.now(UTC), time.monotonic()
        if due.callback is None:
            return _Tried(began_at, timedelta(), Outcome("cannot be read"), None)
        outcome = Outcome("not finished")
        try:
            outcome = await send(self._http, due.callback, tokens)
        finally:
            now = time.monotonic()
            rest = self._endpoints.done(endpoint, now, taken=outcome.taken)
        return _Tried(began_at, timedelta(seconds=now - began), outcome, rest)

    def _note_of(self, due: Due, age: timedelta, endpoint: Endpoint, tried: _Tried, let_go: Hold | None) -> Note:
        outcome, answer = tried.outcome, None
        if outcome.answer and due.cipher is not None:
            answer = due.cipher.seal(AnswerStart(text=outcome.answer.decode(errors="backslashreplace")))
        return Note(
            callback_id=due.callback_id,
            began_at=tried.began_at,
            duration=tried.duration,
            outcome=outcome.told,
            status=outcome.status,
            sealed_answer=answer,
            taken=outcome.taken,
            pause=None if outcome.taken else self._patience.pause(due.attempts + 1, age),
            endpoint_hash=endpoint_hash(self._keyring, endpoint.owner_id, endpoint.origin),
            let_go=let_go,
        )

    async def _note_rest(self, endpoint: Endpoint, rest: Rest, outcome: Outcome) -> None:
        async with self._database.transaction() as connection:
            await note_rest(
                connection,
                self._keyring,
                endpoint.owner_id,
                endpoint.origin,
                rest.failures,
                outcome.told,
                timedelta(seconds=rest.seconds),
            )

    async def _put_back(self, connection: Connection, due: Iterable[Due], wait: float) -> None:
        if ids := [each.callback_id for each in due]:
            await callbacks.put_back(connection, ids, timedelta(seconds=wait))
