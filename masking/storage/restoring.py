"""What a database lacks that was set back to an earlier moment, and how it gets that again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import NamedTuple

from masking.domain.callbacks import Callback
from masking.domain.session import Session
from masking.privacy.keyring import Keyring
from masking.privacy.session_cipher import SessionCipher
from masking.storage.callback_queue import Queueing
from masking.storage.database import Connection
from masking.storage.resuming import Standing, standing
from masking.storage.routes import hold_again
from masking.storage.sessions import insert_session

GAPS_WITHIN = timedelta(days=2)
"""Callbacks that arose earlier are not looked through: there are many, and a standby does not lag so far behind."""


async def put_back(
    connection: Connection, keyring: Keyring, session: Session, cipher: SessionCipher | None, answers_under: str | None
) -> SessionCipher:
    """Write the row of a session that the database has lost, and take its routes again, if nobody else has them.

    The row is of the version before: so the session's own is recorded behind this as ever.

    Args:
        cipher: of its data key; a fresh one is made when None.
        answers_under: see `StoredPayloadKey`.

    Returns:
        Its cipher.
    """
    before = session.model_copy(update={"version": session.version - 1})
    cipher = await insert_session(connection, keyring, before, cipher, answers_under)
    await hold_again(connection, keyring, session)
    return cipher


class StoredVersion(NamedTuple):
    """How a session stands in the database.

    Attributes:
        version: of its state; -1 where it is unknown.
    """

    standing: Standing
    version: int


async def stored_version(connection: Connection, session_uuid: str) -> StoredVersion:
    """How a session stands in the database."""
    found = await connection.execute("SELECT version FROM sessions WHERE session_uuid = %s", (session_uuid,))
    row = await found.fetchone()
    return StoredVersion(await standing(connection, session_uuid), int(str(row[0])) if row is not None else -1)


async def lacking_callbacks(connection: Connection, session_uuid: str | None = None) -> list[str]:
    """The sessions that have later callbacks and lack earlier ones: they count without gaps.

    Args:
        session_uuid: look at this one; at all with callbacks of late when None.
    """
    found = await connection.execute(
        "SELECT DISTINCT session_uuid FROM (SELECT session_uuid FROM callbacks WHERE session_uuid = %(session)s"
        "  OR %(session)s::text IS NULL AND session_uuid IN ("
        "   SELECT session_uuid FROM callbacks WHERE created_at > now() - %(within)s)"
        " GROUP BY session_uuid, kind HAVING max(sequence) > count(*)) gaps JOIN sessions USING (session_uuid)"
        " WHERE status <> 'erased' ORDER BY session_uuid",
        {"session": session_uuid, "within": GAPS_WITHIN},
    )
    return [str(row[0]) for row in await found.fetchall()]


async def queue_again(
    connection: Connection, session: Session, cipher: SessionCipher, callbacks: Iterable[Callback]
) -> int:
    """Queue those of a session's callbacks that the database lacks. How many these are."""
    found = await connection.execute(
        "SELECT callback_id FROM callbacks WHERE session_uuid = %s FOR KEY SHARE", (session.session_uuid,)
    )
    there = {row[0] for row in await found.fetchall()}
    lacking = (each for each in callbacks if each.callback_id not in there)
    queueing = Queueing(session, cipher, sorted(lacking, key=lambda each: (each.kind, each.sequence)), None)
    await queueing.begin(connection)
    queued = await queueing.queued()
    return len(queued.due) if queued is not None else 0


async def timeline(connection: Connection) -> str:
    """Which timeline the database is on: another one after a failover or a restore.

    Raises:
        psycopg.Error: it is a standby, or does not say.
    """
    found = await connection.execute("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")
    (name,) = await found.fetchone() or ("",)
    return str(name)


async def behind(connection: Connection, versions: Mapping[str, int]) -> list[str]:
    """The sessions of which the database has no row, or an older version than these."""
    found = await connection.execute(
        "SELECT known.session_uuid FROM unnest(%s::text[], %s::integer[]) AS known (session_uuid, version)"
        " LEFT JOIN sessions s USING (session_uuid)"
        " WHERE s.session_uuid IS NULL OR s.version < known.version AND s.status <> 'erased'",
        (list(versions), list(versions.values())),
    )
    return [str(row[0]) for row in await found.fetchall()]
