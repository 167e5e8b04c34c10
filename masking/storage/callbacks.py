"""Callbacks to customers: which are still to be delivered, and what became of the others."""

from __future__ import annotations

from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.callbacks import Callback
from masking.privacy.keyring import Keyring
from masking.privacy.session_cipher import unwrapped
from masking.storage.database import Connection


class _CallbackRow(NamedTuple):
    session_uuid: str
    sealed_callback: bytes
    key_id: str
    wrapped_key: bytes


async def pending(connection: Connection, keyring: Keyring, session_uuid: str) -> list[Callback]:
    """A session's undelivered callbacks, in the order in which they arose."""
    async with connection.cursor(row_factory=class_row(_CallbackRow)) as cursor:
        await cursor.execute(
            "SELECT c.session_uuid, c.sealed_callback, s.key_id, s.wrapped_key"
            " FROM callbacks c JOIN sessions s USING (session_uuid)"
            " WHERE c.session_uuid = %s AND c.state = 'pending' ORDER BY c.ordinal",
            (session_uuid,),
        )
        rows = await cursor.fetchall()
    return [
        unwrapped(keyring, row.session_uuid, row.key_id, row.wrapped_key).open(Callback, row.sealed_callback)
        for row in rows
    ]


async def note_delivered(connection: Connection, callback_id: str, outcome: str) -> None:
    """The customer's endpoint took it."""
    await connection.execute(
        "UPDATE callbacks SET state = 'delivered', attempts = attempts + 1, last_outcome = %s, delivered_at = now()"
        " WHERE callback_id = %s AND state <> 'delivered'",
        (outcome, callback_id),
    )


async def note_failed(connection: Connection, callback_id: str, outcome: str) -> None:
    """A try failed; it stays pending. `outcome` holds no address and no content."""
    await connection.execute(
        "UPDATE callbacks SET attempts = attempts + 1, last_outcome = %s WHERE callback_id = %s AND state = 'pending'",
        (outcome, callback_id),
    )


async def give_up(connection: Connection, session_uuid: str) -> int:
    """List a session's pending callbacks as dead. Returns how many there are."""
    dead = await connection.execute(
        "UPDATE callbacks SET state = 'dead' WHERE session_uuid = %s AND state = 'pending'", (session_uuid,)
    )
    return dead.rowcount
