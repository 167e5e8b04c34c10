"""Which closed sessions are still to be archived, and noting that they are."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.storage.database import Connection

AT_LATEST = timedelta(hours=12)
"""So long after its bill was closed, a session is archived even if callbacks of it are still being tried."""

FIRST_PAUSE, LAST_PAUSE = timedelta(minutes=5), timedelta(hours=1)

_WAITING = "settled_at IS NOT NULL AND archived_at IS NULL AND status <> 'erased'"


class Due(NamedTuple):
    """A session to be archived. `settled_at` is when its bill was closed, UTC."""

    session_uuid: str
    settled_at: datetime


async def due(connection: Connection, after: timedelta, limit: int) -> list[Due]:
    """The sessions that were closed longest ago, at least `after`, and whose callbacks are done with."""
    async with connection.cursor(row_factory=class_row(Due)) as cursor:
        await cursor.execute(
            f"SELECT session_uuid, settled_at FROM sessions s WHERE {_WAITING}"  # noqa: S608 fixed fragments
            " AND settled_at <= now() - %(after)s AND (archive_due_at IS NULL OR archive_due_at <= now())"
            " AND (settled_at <= now() - %(at_latest)s OR NOT EXISTS (SELECT FROM callbacks c"
            "  WHERE c.session_uuid = s.session_uuid AND c.state = 'pending'))"
            " ORDER BY settled_at LIMIT %(limit)s",
            {"after": after, "at_latest": AT_LATEST, "limit": limit},
        )
        return await cursor.fetchall()


async def note_archived(connection: Connection, session_uuid: str, root: str) -> bool:
    """The pack with this root hash is in the archive. Whether nobody had noted it before."""
    done = await connection.execute(
        "UPDATE sessions SET archived_at = now(), archived_root = %s WHERE session_uuid = %s AND archived_at IS NULL",
        (root, session_uuid),
    )
    return done.rowcount == 1


async def postpone(connection: Connection, session_uuid: str) -> None:
    """It could not be archived; each time the pause is longer."""
    await connection.execute(
        "UPDATE sessions SET archive_tries = archive_tries + 1,"
        " archive_due_at = now() + LEAST(%s * 2 ^ LEAST(archive_tries, 16), %s) WHERE session_uuid = %s",
        (FIRST_PAUSE, LAST_PAUSE, session_uuid),
    )


class Unarchived(NamedTuple):
    """Closed sessions that are not in the archive.

    Attributes:
        oldest_seconds: how long ago the bill of the oldest was closed; 0 without any.
        failing: those that were tried in vain.
    """

    waiting: int
    oldest_seconds: float
    failing: int


async def unarchived(connection: Connection) -> Unarchived:
    """How many closed sessions are not archived yet."""
    async with connection.cursor(row_factory=class_row(Unarchived)) as cursor:
        await cursor.execute(
            "SELECT count(*) AS waiting,"  # noqa: S608 fixed fragments
            " coalesce(extract(epoch FROM now() - min(settled_at)), 0)::float8 AS oldest_seconds,"
            f" count(*) FILTER (WHERE archive_tries > 0) AS failing FROM sessions WHERE {_WAITING}"
        )
        (found,) = await cursor.fetchall()
    return found
