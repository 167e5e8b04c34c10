"""Callbacks as operators see them: what became of each, and sending them anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from psycopg.rows import class_row

from masking.domain.callbacks import Callback, Kind
from masking.privacy.keyring import Keyring
from masking.privacy.session_cipher import unwrapped
from masking.storage.database import Connection

State = Literal["pending", "delivered", "dead"]


class CallbackRecord(NamedTuple):
    """A callback and what became of it, without its content.

    Attributes:
        kind, sequence: which of the session's two sequences it counts in, and where.
        attempts: tries since it arose, or since it was last replayed.
        last_outcome: of the newest try, in a few words; empty before the first.
        due_at: when it is tried next, if it is pending.
    """

    callback_id: str
    session_uuid: str
    kind: Kind
    sequence: int
    state: State
    attempts: int
    last_outcome: str
    created_at: datetime
    due_at: datetime | None
    delivered_at: datetime | None


_COLUMNS = (
    "callback_id, session_uuid, kind, sequence, state, attempts, last_outcome, created_at,"
    " CASE WHEN state = 'pending' THEN due_at END AS due_at, delivered_at"
)


class Chosen(NamedTuple):
    """Which callbacks: those that all of this is true of. At least an id, a session or a state is given.

    Attributes:
        from_sequence: the first of its sequence; None for the first there is.
    """

    callback_ids: Sequence[str] | None = None
    session_uuid: str | None = None
    kind: Kind | None = None
    from_sequence: int | None = None
    state: State | None = None


_WHERE = (
    " WHERE (%(callback_ids)s::text[] IS NULL OR callback_id = ANY(%(callback_ids)s))"
    " AND (%(session_uuid)s::text IS NULL OR session_uuid = %(session_uuid)s)"
    " AND (%(kind)s::text IS NULL OR kind = %(kind)s)"
    " AND (%(from_sequence)s::integer IS NULL OR sequence >= %(from_sequence)s)"
    " AND (%(state)s::text IS NULL OR state = %(state)s)"
)


def _parameters(chosen: Chosen) -> dict[str, object]:
    ids = None if chosen.callback_ids is None else list(chosen.callback_ids)
    return chosen._asdict() | {"callback_ids": ids}


async def find(connection: Connection, chosen: Chosen, limit: int) -> list[CallbackRecord]:
    """The oldest of them, in the order in which they arose."""
    async with connection.cursor(row_factory=class_row(CallbackRecord)) as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS} FROM callbacks{_WHERE} ORDER BY ordinal LIMIT %(limit)s",  # noqa: S608 fixed fragments
            _parameters(chosen) | {"limit": limit},
        )
        return await cursor.fetchall()


class _Sealed(NamedTuple):
    session_uuid: str
    sealed_callback: bytes
    key_id: str
    wrapped_key: bytes


async def content(connection: Connection, keyring: Keyring, callback_id: str) -> Callback | None:
    """A callback as it is sent; None when there is none with this id.

    Raises:
        Unreadable: it cannot be decrypted.
    """
    async with connection.cursor(row_factory=class_row(_Sealed)) as cursor:
        await cursor.execute(
            "SELECT c.session_uuid, c.sealed_callback, s.key_id, s.wrapped_key"
            " FROM callbacks c JOIN sessions s USING (session_uuid) WHERE c.callback_id = %s",
            (callback_id,),
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    cipher = unwrapped(keyring, row.session_uuid, row.key_id, row.wrapped_key)
    return cipher.open(Callback, row.sealed_callback)


async def replay(connection: Connection, chosen: Chosen) -> int:
    """Let them be sent anew, in their order, whether they were delivered or not. Returns how many.

    Each keeps its id and sequence number, and is tried for as long as a new one. Those that a sender has in
    hand are left to it.
    """
    again = await connection.execute(
        "UPDATE callbacks SET state = 'pending', attempts = 0, due_at = now(), replayed_at = now(),"  # noqa: S608 fixed fragments
        f" delivered_at = NULL, claimed_until = NULL{_WHERE} AND coalesce(claimed_until, '-infinity') < now()",
        _parameters(chosen),
    )
    return again.rowcount
