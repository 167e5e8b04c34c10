"""Recordings on their way from the carrier into our own storage: what is to be fetched, deleted there, or removed."""

from __future__ import annotations

import hashlib
import logging
from datetime import timedelta
from typing import Literal, NamedTuple

from psycopg.rows import class_row

from masking.domain.events import RecordingCompleted
from masking.domain.model import Model
from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.session_cipher import SessionCipher, unwrapped
from masking.storage.database import Connection
from masking.storage.sessions import session_cipher

State = Literal["waiting", "kept", "lost", "erased"]

logger = logging.getLogger(__name__)

FIRST_PAUSE, LAST_PAUSE = timedelta(seconds=5), timedelta(hours=1)


class Source(Model):
    """Where the carrier has a recording's audio."""

    url: str


class Due(NamedTuple):
    """A recording with which something is to be done.

    Attributes:
        state: `waiting` for its audio to be fetched, `kept` and to be deleted at the carrier, or of a session that is
            `erased`, so that its audio is to be removed everywhere.
        cipher, url: of a session that is erased there are none.
        at_carrier: whether the carrier has it, as far as we know.
        age: since it was noted, or kept.
    """

    recording_id: str
    session_uuid: str
    state: State
    cipher: SessionCipher | None
    url: str
    at_carrier: bool
    to_delete: bool
    tries: int
    age: timedelta

    @property
    def name(self) -> str:
        """The name of its file."""
        return file_name(self.session_uuid, self.recording_id)


class Kept(NamedTuple):
    """A recording that is in our storage. `size` counts the bytes of its audio."""

    name: str
    cipher: SessionCipher
    size: int


class _Row(NamedTuple):
    recording_id: str
    session_uuid: str
    state: State
    sealed_source: bytes
    at_carrier: bool
    to_delete: bool
    tries: int
    age: timedelta
    key_id: str
    wrapped_key: bytes


def file_name(session_uuid: str, recording_id: str) -> str:
    """The name of a recording's file: of a carrier's ids nobody knows what is in them."""
    return f"{session_uuid}/{hashlib.sha256(recording_id.encode()).hexdigest()[:32]}"


async def note(
    connection: Connection, session_uuid: str, cipher: SessionCipher, event: RecordingCompleted, *, to_delete: bool
) -> None:
    """A recording is ready to be fetched. Safe to repeat.

    Args:
        to_delete: whether the carrier is to delete it once it is fetched, where neither the session's account nor its
            main account says.
    """
    if event.recording_id and event.url:
        await connection.execute(
            "INSERT INTO recordings (recording_id, session_uuid, sealed_source, to_delete)"
            " SELECT %(recording)s, %(session)s, %(source)s, coalesce(("
            "  SELECT a.delete_recordings FROM sessions s"
            "  JOIN accounts a ON a.auth_id IN (s.account_id, s.subaccount_id)"
            "  WHERE s.session_uuid = %(session)s AND a.delete_recordings IS NOT NULL"
            "  ORDER BY a.auth_id = s.subaccount_id DESC NULLS LAST LIMIT 1), %(to_delete)s)"
            " ON CONFLICT (recording_id) DO NOTHING",
            {
                "recording": event.recording_id,
                "session": session_uuid,
                "source": cipher.seal(Source(url=event.url)),
                "to_delete": to_delete,
            },
        )


async def note_asked(
    connection: Connection, keyring: Keyring, session_uuid: str, event: RecordingCompleted, *, to_delete: bool
) -> None:
    """The same for one of which the carrier told when it was asked."""
    cipher = await session_cipher(connection, keyring, session_uuid)
    if cipher is not None:
        await note(connection, session_uuid, cipher, event, to_delete=to_delete)


async def claim(connection: Connection, keyring: Keyring, limit: int, lease: timedelta) -> list[Due]:
    """Those with which something is to be done now, the longest due first. Nobody else gets them until `lease` ends.

    One that cannot be decrypted is left out, until the lease ends: it holds up no other.
    """
    async with connection.cursor(row_factory=class_row(_Row)) as cursor:
        await cursor.execute(
            "WITH due AS (SELECT recording_id FROM recordings WHERE due_at <= now() AND (state IN ('waiting', 'erased')"
            "  OR (state = 'kept' AND at_carrier AND to_delete)) ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED)"
            " UPDATE recordings r SET due_at = now() + %s, tries = r.tries + 1 FROM due, sessions s"
            " WHERE r.recording_id = due.recording_id AND s.session_uuid = r.session_uuid"
            " RETURNING r.recording_id, r.session_uuid, r.state, r.sealed_source, r.at_carrier, r.to_delete, r.tries,"
            "  now() - coalesce(r.kept_at, r.noted_at) AS age, s.key_id, s.wrapped_key",
            (limit, lease),
        )
        rows = await cursor.fetchall()
    found = []
    for row in rows:
        try:
            found.append(_opened(row, keyring))
        except Unreadable:
            logger.error("a recording of session %s cannot be read: a key is missing", row.session_uuid)
    return found


def _opened(row: _Row, keyring: Keyring) -> Due:
    recording_id, session_uuid, state, sealed, at_carrier, to_delete, tries, age, key_id, wrapped = row
    if state == "erased":
        return Due(recording_id, session_uuid, state, None, "", at_carrier, to_delete, tries, age)
    cipher = unwrapped(keyring, session_uuid, key_id, wrapped)
    url = cipher.open(Source, sealed).url
    return Due(recording_id, session_uuid, state, cipher, url, at_carrier, to_delete, tries, age)


async def note_kept(connection: Connection, recording_id: str, size: int) -> bool:
    """Its audio is in our storage. Whether its session had not been erased meanwhile.

    It stays in hand: whoever fetched it has the carrier delete it, where that is wanted.
    """
    done = await connection.execute(
        "UPDATE recordings SET state = 'kept', kept_at = now(), size = %s, tries = 1"
        " WHERE recording_id = %s AND state = 'waiting'",
        (size, recording_id),
    )
    return done.rowcount == 1


async def note_deleted(connection: Connection, recording_id: str) -> None:
    """The carrier does not have it any more."""
    await connection.execute("UPDATE recordings SET at_carrier = false WHERE recording_id = %s", (recording_id,))


async def give_up(connection: Connection, recording_id: str) -> None:
    """It was tried for long enough: its audio is lost, or stays at the carrier."""
    await connection.execute(
        "UPDATE recordings SET to_delete = false, state = CASE WHEN state = 'waiting' THEN 'lost' ELSE state END"
        " WHERE recording_id = %s",
        (recording_id,),
    )


async def postpone(connection: Connection, recording_id: str, *, at_once: bool = False) -> None:
    """It could not be done; each time the pause is longer.

    Args:
        at_once: nobody tried: let somebody else do it.
    """
    await connection.execute(
        "UPDATE recordings SET due_at = now() + CASE WHEN %(at_once)s THEN interval '0'"
        " ELSE LEAST(%(first)s * 2 ^ LEAST(tries - 1, 16), %(last)s) END,"
        " tries = tries - CASE WHEN %(at_once)s THEN 1 ELSE 0 END WHERE recording_id = %(recording)s",
        {"at_once": at_once, "first": FIRST_PAUSE, "last": LAST_PAUSE, "recording": recording_id},
    )


async def forget(connection: Connection, recording_id: str) -> None:
    """Nothing of it is left anywhere."""
    await connection.execute("DELETE FROM recordings WHERE recording_id = %s AND state = 'erased'", (recording_id,))


async def find_kept(connection: Connection, keyring: Keyring, recording_id: str) -> Kept | None:
    """A recording that is in our storage; None for one that is not."""
    rows = await connection.execute(
        "SELECT r.session_uuid, r.size, s.key_id, s.wrapped_key FROM recordings r JOIN sessions s USING (session_uuid)"
        " WHERE r.recording_id = %s AND r.state = 'kept'",
        (recording_id,),
    )
    row = await rows.fetchone()
    if row is None:
        return None
    session_uuid, size, key_id, wrapped = str(row[0]), int(str(row[1])), str(row[2]), row[3]
    assert isinstance(wrapped, bytes)  # noqa: S101 its column's type
    cipher = unwrapped(keyring, session_uuid, key_id, wrapped)
    return Kept(file_name(session_uuid, recording_id), cipher, size)


class Unkept(NamedTuple):
    """Recordings that are not where they should be.

    Attributes:
        waiting: those to be fetched.
        oldest_seconds: how long the oldest of them has waited; 0 without any.
        to_delete: those that are fetched and still at the carrier, where they should be deleted, and those of erased
            sessions of which something is left.
        lost: those that could not be fetched.
    """

    waiting: int
    oldest_seconds: float
    to_delete: int
    lost: int


async def unkept(connection: Connection) -> Unkept:
    """How many recordings are not where they should be."""
    async with connection.cursor(row_factory=class_row(Unkept)) as cursor:
        await cursor.execute(
            "SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting,"
            " coalesce(extract(epoch FROM now() - min(noted_at) FILTER (WHERE state = 'waiting')), 0)::float8"
            "  AS oldest_seconds,"
            " count(*) FILTER (WHERE state = 'erased' OR (state = 'kept' AND at_carrier AND to_delete)) AS to_delete,"
            " count(*) FILTER (WHERE state = 'lost') AS lost FROM recordings"
        )
        (found,) = await cursor.fetchall()
    return found
