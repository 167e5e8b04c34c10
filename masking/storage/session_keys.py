"""The keys of sessions' payloads in PostgreSQL, also while a session is not open yet."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.session_cipher import SessionCipher, new_wrapped_key, unwrapped
from masking.storage.database import Connection

OWN, MASTER, CLEAR = "session", "master", "clear"
"""What answers are under, besides ingress keys, which stand there by their ids: the session's own key; master keys; the
session's own, and the bill under none, for whoever asked by Nexus in the clear."""

REFUSED_FOR = timedelta(days=2)
"""For how long the key of a session that is not open is kept at least: of one that was refused, in the end."""


class NewKey(NamedTuple):
    """The data key of a session that is about to be started."""

    cipher: SessionCipher
    key_id: str
    wrapped_key: bytes

    @classmethod
    def of(cls, session_uuid: str, keyring: Keyring) -> NewKey:
        """A fresh one."""
        key_id, wrapped = new_wrapped_key(keyring)
        return cls(unwrapped(keyring, session_uuid, key_id, wrapped), key_id, wrapped)


class StoredPayloadKey(NamedTuple):
    """A session's data key, and what answers of its workflow are under; None where all is under master keys."""

    cipher: SessionCipher
    answers_under: str | None


class _Row(NamedTuple):
    key_id: str
    wrapped_key: bytes
    answers_under: str | None


async def read_payload_key(connection: Connection, keyring: Keyring, session_uuid: str) -> StoredPayloadKey | None:
    """The key of a session, open or not; None if it has none.

    Raises:
        Unreadable: it was erased, or the key ring lacks its master key.
    """
    async with connection.cursor(row_factory=class_row(_Row)) as cursor:
        await cursor.execute(
            "SELECT key_id, wrapped_key, answers_under FROM sessions WHERE session_uuid = %(session)s"
            " UNION ALL SELECT key_id, wrapped_key, %(own)s FROM session_keys WHERE session_uuid = %(session)s LIMIT 1",
            {"session": session_uuid, "own": OWN},
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    if not row.key_id:
        raise Unreadable("the session was erased: its key is destroyed")
    return StoredPayloadKey(unwrapped(keyring, session_uuid, row.key_id, row.wrapped_key), row.answers_under)


async def forget_unopened(connection: Connection, keep_for: timedelta) -> int:
    """Destroy the keys of sessions that were never opened, once they have been kept so long. Returns how many."""
    done = await connection.execute(
        "DELETE FROM session_keys WHERE made_at < now() - %s", (max(keep_for, REFUSED_FOR),)
    )
    return done.rowcount
