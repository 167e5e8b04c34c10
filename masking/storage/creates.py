"""Creates that may come again, and which session they are to give.

With an `Idempotency-Key` the same key gives the same session for a day. Without one, a
create is remembered by account and body only until its caller has the answer: Plivo's SDKs
send a create again after any 5xx (plivo-wire.md §1.8), and that must not make a second
session, while two deliberate creates must.

A create under way holds an advisory lock of PostgreSQL for as long as its caller waits. So a
row whose lock is free belongs to a create whose answer nobody has, because it was a 5xx,
because its gateway died or because its caller gave up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

from masking.storage.database import LASTING, Connection, Database
from masking.storage.session_keys import NewKey

KEY_LIFETIME = timedelta(hours=24)
RESEND_WINDOW = timedelta(seconds=60)


class Claim(NamedTuple):
    """What a create with a key is to do.

    Attributes:
        session_uuid: the session it gives, new or known.
        same_body: False when the key was used with another body.
    """

    session_uuid: str
    same_body: bool


class _Row(NamedTuple):
    session_uuid: str
    body_hash: bytes


# A new session's data key is noted with it, so that its start can be under it.
_WITH_KEY = (
    "WITH claimed AS ({claimed}), key AS (INSERT INTO session_keys (session_uuid, key_id, wrapped_key)"
    " SELECT session_uuid, %s, %s FROM claimed WHERE session_uuid = %s)"
    " SELECT session_uuid, body_hash FROM claimed"
)

# Where no caller uses keys, nothing else forgets what was never sent again. A few at a time, and none that others do.
_FORGET_SOME = (
    "DELETE FROM creates WHERE session_uuid IN (SELECT session_uuid FROM creates WHERE created_at < now() - %s"
    " ORDER BY created_at LIMIT 20 FOR UPDATE SKIP LOCKED)"
)


async def claim_key(
    connection: Connection, account_id: str, key_hash: bytes, body_hash: bytes, new_uuid: str, new_key: NewKey
) -> Claim:
    """Claim an idempotency key, or learn which session it stands for.

    Args:
        new_key: of the new session, if it is to be the one.
    """
    await connection.execute("DELETE FROM creates WHERE created_at < now() - %s", (KEY_LIFETIME,))
    async with connection.cursor(row_factory=class_row(_Row)) as cursor:
        await cursor.execute(
            _WITH_KEY.format(
                claimed="INSERT INTO creates (account_id, key_hash, body_hash, session_uuid) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (account_id, key_hash) DO UPDATE SET key_hash = excluded.key_hash"
                " RETURNING session_uuid, body_hash"
            ),
            (account_id, key_hash, body_hash, new_uuid, new_key.key_id, new_key.wrapped_key, new_uuid),
        )
        (row,) = await cursor.fetchall()
    return Claim(row.session_uuid, row.body_hash == body_hash)


async def rename_key(connection: Connection, account_id: str, former_hash: bytes, key_hash: bytes) -> None:
    """A key that was claimed under a former hash is so under its hash of now, and gives its session still."""
    await connection.execute(
        "UPDATE creates SET key_hash = %(now)s WHERE account_id = %(account)s AND key_hash = %(former)s"
        " AND NOT EXISTS (SELECT FROM creates WHERE account_id = %(account)s AND key_hash = %(now)s)",
        {"account": account_id, "former": former_hash, "now": key_hash},
    )


async def forget(connection: Connection, session_uuid: str) -> None:
    """The caller gets its answer, or there is no session to give."""
    await connection.execute("DELETE FROM creates WHERE session_uuid = %s", (session_uuid,))


class HeldCreate:
    """The session that a create without a key gives, and the lock that keeps it from others.

    Attributes:
        session_uuid: the session, new or known.
    """

    def __init__(self, session_uuid: str, unlock: Callable[[str], Awaitable[None]]) -> None:
        self.session_uuid = session_uuid
        self._unlock: Callable[[str], Awaitable[None]] | None = unlock

    async def let_go(self) -> None:
        """Leave the session to whoever sends the same again; somebody may have it from then on."""
        # Once: the lock may be another's already.
        unlock, self._unlock = self._unlock, None
        if unlock is not None:
            await unlock(self.session_uuid)


class UnansweredCreates:
    """The keyless creates that this gateway has under way, and those that somebody left unanswered.

    Holds its locks on one connection of its own, so that creates that wait for Temporal
    take no connection from the calls. Use as an async context manager.
    """

    def __init__(self, database: Database, url: str) -> None:
        self._database, self._url = database, url
        self._connecting = asyncio.Lock()
        self._locks: AsyncConnection[tuple[object, ...]] | None = None
        self._under_way: set[str] = set()

    async def __aenter__(self) -> UnansweredCreates:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._locks is not None:
            await self._locks.close()

    @asynccontextmanager
    async def claimed(
        self, account_id: str, body_hash: bytes, new_uuid: str, new_key: NewKey
    ) -> AsyncIterator[HeldCreate]:
        """The session that a create without a key gives: that of an unanswered create of late, or a new one.

        Nobody else is given the same one while the context lasts, unless it is let go before.

        Args:
            new_key: of the new session, if it is to be the one.
        """
        session_uuid = await self._unanswered(account_id, body_hash) or await self._noted(
            account_id, body_hash, new_uuid, new_key
        )
        held = HeldCreate(session_uuid, self._unlock)
        try:
            yield held
        finally:
            await held.let_go()

    async def _unanswered(self, account_id: str, body_hash: bytes) -> str | None:
        async with self._database.transaction() as connection:
            rows = await connection.execute(
                "SELECT session_uuid FROM creates WHERE account_id = %s AND body_hash = %s AND key_hash IS NULL"
                " AND created_at > now() - %s ORDER BY created_at",
                (account_id, body_hash, RESEND_WINDOW),
            )
            found = [str(row[0]) for row in await rows.fetchall()]
        for session_uuid in found:
            if await self._lock(session_uuid):
                still_unanswered = False
                try:
                    # Whoever had it may have answered since the look: then its caller has that session.
                    still_unanswered = await self._is_noted(session_uuid)
                finally:
                    if not still_unanswered:
                        await self._unlock(session_uuid)
                if still_unanswered:
                    return session_uuid
        return None

    async def _is_noted(self, session_uuid: str) -> bool:
        async with self._database.transaction() as connection:
            row = await connection.execute("SELECT 1 FROM creates WHERE session_uuid = %s", (session_uuid,))
            return await row.fetchone() is not None

    async def _noted(self, account_id: str, body_hash: bytes, new_uuid: str, new_key: NewKey) -> str:
        await self._lock(new_uuid)
        try:
            async with self._database.transaction() as connection, connection.pipeline():
                await connection.execute(_FORGET_SOME, (KEY_LIFETIME,))
                await connection.execute(
                    _WITH_KEY.format(
                        claimed="INSERT INTO creates (account_id, body_hash, session_uuid) VALUES (%s, %s, %s)"
                        " RETURNING session_uuid, body_hash"
                    ),
                    (account_id, body_hash, new_uuid, new_key.key_id, new_key.wrapped_key, new_uuid),
                )
        except psycopg.Error:
            await self._unlock(new_uuid)
            raise
        return new_uuid

    async def _lock(self, session_uuid: str) -> bool:
        # PostgreSQL lets one connection take a lock twice, so what is under way here is known here.
        if session_uuid in self._under_way:
            return False
        self._under_way.add(session_uuid)
        taken = False
        try:
            taken = await self._try_lock(session_uuid)
        finally:
            if not taken:
                self._under_way.discard(session_uuid)
        return taken

    async def _try_lock(self, session_uuid: str) -> bool:
        query, key = "SELECT pg_try_advisory_lock(%s)", (_lock_key(session_uuid),)
        try:
            answer = await (await self._connection()).execute(query, key)
        except psycopg.OperationalError:
            # The server closed it while it was idle, as one that was restarted does.
            answer = await (await self._connection()).execute(query, key)
        return (await answer.fetchone()) == (True,)

    async def _unlock(self, session_uuid: str) -> None:
        self._under_way.discard(session_uuid)
        if self._locks is None:
            return
        try:
            await self._locks.execute("SELECT pg_advisory_unlock(%s)", (_lock_key(session_uuid),))
        except psycopg.Error:
            # A broken connection has lost its locks already.
            return

    async def _connection(self) -> AsyncConnection[tuple[object, ...]]:
        async with self._connecting:
            if self._locks is None or self._locks.broken or self._locks.closed:
                self._locks = await AsyncConnection.connect(self._url, autocommit=True, **LASTING)
            return self._locks


def _lock_key(session_uuid: str) -> int:
    return int.from_bytes(UUID(session_uuid).bytes[:8], signed=True)
