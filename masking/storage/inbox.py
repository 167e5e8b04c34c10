"""The inbox: what carriers told us, on its way to the workflows, exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from psycopg.rows import class_row

from masking.contract import EVENTS, SIGNALS
from masking.domain.events import AnyCarrierEvent
from masking.privacy.keyring import Keyring
from masking.privacy.session_cipher import SessionCipher, unwrapped
from masking.storage.database import Connection


async def post(connection: Connection, session_uuid: str, cipher: SessionCipher, event: AnyCarrierEvent) -> None:
    """Put an event in. The same event again changes nothing."""
    await connection.execute(
        "INSERT INTO inbox (event_id, session_uuid, signal, sealed_event) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (event_id) DO NOTHING",
        (event.event_id, session_uuid, SIGNALS[type(event)], cipher.seal(event)),
    )


class WaitingEvent(NamedTuple):
    """An event that its workflow has not had yet."""

    id: int
    session_uuid: str
    signal: str
    event: AnyCarrierEvent


class _InboxRow(NamedTuple):
    id: int
    session_uuid: str
    signal: str
    sealed_event: bytes
    key_id: str
    wrapped_key: bytes


async def claim(connection: Connection, keyring: Keyring, limit: int) -> list[WaitingEvent]:
    """The oldest waiting events, locked until the transaction ends; others skip them."""
    async with connection.cursor(row_factory=class_row(_InboxRow)) as cursor:
        await cursor.execute(
            "SELECT i.id, i.session_uuid, i.signal, i.sealed_event, s.key_id, s.wrapped_key"
            " FROM inbox i JOIN sessions s USING (session_uuid) WHERE i.forwarded_at IS NULL"
            " ORDER BY i.id LIMIT %s FOR UPDATE OF i SKIP LOCKED",
            (limit,),
        )
        rows = await cursor.fetchall()
    return [_opened(row, keyring) for row in rows]


def _opened(row: _InboxRow, keyring: Keyring) -> WaitingEvent:
    cipher = unwrapped(keyring, row.session_uuid, row.key_id, row.wrapped_key)
    return WaitingEvent(row.id, row.session_uuid, row.signal, cipher.open(EVENTS[row.signal], row.sealed_event))


async def mark_forwarded(connection: Connection, ids: Sequence[int], *, late: bool) -> None:
    """These events are done with: their workflow has them or, `late`, had closed before they came."""
    await connection.execute("UPDATE inbox SET forwarded_at = now(), late = %s WHERE id = ANY(%s)", (late, list(ids)))


class _Count(NamedTuple):
    unreported: int


async def unreported(connection: Connection, session_uuid: str) -> int:
    """How many events of a session are still on their way, or may come from a call that has not ended."""
    async with connection.cursor(row_factory=class_row(_Count)) as cursor:
        await cursor.execute(
            "SELECT (SELECT count(*) FROM inbox WHERE session_uuid = %(uuid)s AND forwarded_at IS NULL)"
            " + (SELECT count(*) FROM calls"
            "    WHERE session_uuid = %(uuid)s AND ended_at IS NULL AND must_end_by > now()) AS unreported",
            {"uuid": session_uuid},
        )
        (row,) = await cursor.fetchall()
    return row.unreported
