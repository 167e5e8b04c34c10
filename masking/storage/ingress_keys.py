"""The ingress keys in PostgreSQL: made for days ahead, handed out, destroyed when nothing kept is under them."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.privacy.ingress import WRAPPING, ingress_key_id
from masking.privacy.keyring import KEY_BYTES, Keyring, Unreadable
from masking.storage.database import Connection, may_take_long

SLACK = timedelta(days=2)
"""How long after its day a key is kept whatever happens: clocks differ, and a start may wait to be opened."""

# A session may be told of under a day's key as long as it lives on it; one day more, for clocks that differ.
_KEPT = (
    "(SELECT count(*) FROM sessions s WHERE s.status <> 'erased' AND s.created_at < k.day + interval '2 days'"
    " AND (s.settled_at IS NULL OR s.settled_at >= k.day - interval '1 day'))"
)
# The same of many days, by one look at all sessions, of which there may be millions: they are few by their own days.
LISTED = (
    "WITH s AS MATERIALIZED (SELECT created_at::date AS first, settled_at::date AS last, count(*) AS sessions"
    "  FROM sessions WHERE status <> 'erased' GROUP BY 1, 2)"
    " SELECT k.day, k.key_id, k.destroyed_at,"
    " coalesce(sum(s.sessions) FILTER (WHERE s.last IS NULL), 0)::bigint AS open,"
    " coalesce(sum(s.sessions), 0)::bigint AS kept"
    " FROM ingress_keys k LEFT JOIN s ON s.first < k.day + 2 AND (s.last IS NULL OR s.last >= k.day - 1)"
    " WHERE %(day)s::date IS NULL OR k.day = %(day)s GROUP BY k.day ORDER BY 1"
)


async def make_ahead(connection: Connection, keyring: Keyring, days: int, today: date | None = None) -> None:
    """See to it that there is a key for today (UTC) and each of the days behind it, `days` in all."""
    first = today or datetime.now(UTC).date()
    async with connection.cursor() as cursor:
        for ahead in range(days):
            key_id, wrapped = keyring.seal(os.urandom(KEY_BYTES), WRAPPING)
            await cursor.execute(
                "INSERT INTO ingress_keys (day, key_id, wrapped_key) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (first + timedelta(days=ahead), key_id, wrapped),
            )


class _Row(NamedTuple):
    day: date
    key_id: str
    wrapped_key: bytes
    destroyed_at: datetime | None


async def read_ingress_key(connection: Connection, keyring: Keyring, day: date) -> bytes:
    """The key of a day, 32 bytes.

    Raises:
        Unreadable: it was destroyed, there never was one, or the key ring lacks its master key.
    """
    found = await _rows(connection, day, day)
    if not found:
        raise Unreadable(f"there is no ingress key of {day}")
    (row,) = found
    if row.destroyed_at is not None:
        raise Unreadable(f"the ingress key of {day} was destroyed at {row.destroyed_at.isoformat()}")
    return keyring.open(row.key_id, row.wrapped_key, WRAPPING)


async def read_ingress_keys(connection: Connection, keyring: Keyring, first: date, last: date) -> dict[str, bytes]:
    """The keys of these days that there are, by their ids. Raises `Unreadable` where the key ring lacks their key."""
    return {
        ingress_key_id(row.day): keyring.open(row.key_id, row.wrapped_key, WRAPPING)
        for row in await _rows(connection, first, last)
        if row.destroyed_at is None
    }


async def _rows(connection: Connection, first: date, last: date) -> list[_Row]:
    async with connection.cursor(row_factory=class_row(_Row)) as cursor:
        await cursor.execute(
            "SELECT day, key_id, wrapped_key, destroyed_at FROM ingress_keys WHERE day BETWEEN %s AND %s ORDER BY day",
            (first, last),
        )
        return await cursor.fetchall()


class IngressKey(NamedTuple):
    """An ingress key, as operators see it.

    Attributes:
        key_id: of the master key that wraps it; empty once it is destroyed.
        open, kept: of the sessions that lived on its day, how many are open, and how many were not erased yet.
    """

    day: date
    key_id: str
    destroyed_at: datetime | None
    open: int
    kept: int


async def list_ingress_keys(connection: Connection, day: date | None = None) -> list[IngressKey]:
    """All of them, by day; or that of one day. Takes as long as counting all sessions does."""
    await may_take_long(connection)
    async with connection.cursor(row_factory=class_row(IngressKey)) as cursor:
        await cursor.execute(LISTED, {"day": day})
        return await cursor.fetchall()


async def destroy_unneeded(connection: Connection, keep_for: timedelta) -> list[date]:
    """Destroy the keys under which nothing is that is to be kept. Returns their days.

    A session that was never opened has no row to go by: for its sake each key is kept `keep_for`, and some slack,
    beyond its day.
    """
    rows = await connection.execute(
        "UPDATE ingress_keys k SET key_id = '', wrapped_key = '', destroyed_at = now()"  # noqa: S608 fixed fragments only
        f" WHERE destroyed_at IS NULL AND k.day < (now() - %s)::date AND {_KEPT} = 0 RETURNING day",
        (keep_for + SLACK,),
    )
    return [row[0] for row in await rows.fetchall() if isinstance(row[0], date)]


async def destroy(connection: Connection, day: date) -> str | None:
    """Destroy the key of a day, whatever closed session was told of under it. The reason why not, if it stays."""
    found = await list_ingress_keys(connection, day)
    if not found:
        return "there is no such key"
    (key,) = found
    if key.destroyed_at is not None:
        return None
    if day >= datetime.now(UTC).date() - timedelta(days=1):
        return "services may still write under it: wait until the day after its day has passed"
    if key.open:
        return f"{key.open} sessions that lived on its day are open: they would be lost"
    await connection.execute(
        "UPDATE ingress_keys SET key_id = '', wrapped_key = '', destroyed_at = now() WHERE day = %s", (day,)
    )
    return None
