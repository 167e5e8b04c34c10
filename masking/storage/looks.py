"""Who looked at what our tools otherwise hide. Entries are only ever added."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from psycopg.rows import class_row

from masking.storage.database import Connection


class Look(NamedTuple):
    """An entry.

    Attributes:
        at: UTC.
        who: the operator's login name, or the user that signed in at the codec endpoint.
        what: such as `decoded payloads`; a few fixed words.
        session_uuid: whose it was; None where that is not known, or where it was several sessions'.
        how_many: of what was looked at.
        why: what was told, such as the namespace of Temporal; None if nothing.
    """

    at: datetime
    who: str
    what: str
    session_uuid: str | None
    how_many: int
    why: str | None


async def note_look(
    connection: Connection, *, who: str, what: str, session_uuid: str | None, how_many: int = 1, why: str | None = None
) -> None:
    """Write down a look. Commit it before anything is shown; what cannot be written down is not shown.

    `what` and `why` are stored in the clear: they hold no number, PIN or token.
    """
    await connection.execute(
        "INSERT INTO looks (who, what, session_uuid, how_many, why) VALUES (%s, %s, %s, %s, %s)",
        (who, what, session_uuid, how_many, why),
    )


async def looks(
    connection: Connection, *, session_uuid: str | None = None, since: datetime | None = None, limit: int
) -> list[Look]:
    """The newest entries first, at most `limit`: all, a session's, those from a moment (UTC) on."""
    async with connection.cursor(row_factory=class_row(Look)) as cursor:
        await cursor.execute(
            "SELECT at, who, what, session_uuid, how_many, why FROM looks"
            " WHERE (%(session)s::text IS NULL OR session_uuid = %(session)s)"
            " AND (%(since)s::timestamptz IS NULL OR at >= %(since)s) ORDER BY id DESC LIMIT %(limit)s",
            {"session": session_uuid, "since": since, "limit": limit},
        )
        return await cursor.fetchall()
