"""Sessions whose bill ought to be closed by now: no worker runs, or their workflow is stuck or lost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.storage.database import Connection
from masking.storage.sessions import BILL_OPEN

# A call may go on beyond its session; until when at most is known of those that the gateway connected.
_OVERDUE = (
    "SELECT o.* FROM ("  # noqa: S608 fixed fragments only
    " SELECT s.session_uuid, coalesce(s.subaccount_id, s.account_id) AS account, GREATEST(s.expires_at, ("
    "  SELECT max(c.must_end_by) FROM calls c WHERE c.session_uuid = s.session_uuid AND c.ended_at IS NULL"
    " )) AS due_at FROM sessions s"
    f" WHERE {BILL_OPEN} AND s.expires_at < now() - %(within)s::interval"
    ") o WHERE o.due_at < now() - %(within)s::interval"
)


class Overdue(NamedTuple):
    """A session whose bill is open for too long.

    Attributes:
        account: who has it: an account's or a subaccount's auth id.
        due_at: when its time and its calls were over, at the latest, UTC.
    """

    session_uuid: str
    account: str
    due_at: datetime


class OpenSessions(NamedTuple):
    """The sessions whose bill is open.

    Attributes:
        open: how many there are.
        overdue: those of them whose bill ought to be closed.
        oldest_seconds: for how long the time and the calls of the oldest of these have been over; 0 without any.
    """

    open: int
    overdue: int
    oldest_seconds: float


async def overdue(connection: Connection, within: timedelta, limit: int, account: str | None = None) -> list[Overdue]:
    """The sessions whose time and calls were over so long ago and whose bill is open, the oldest first.

    Args:
        within: how long the bill may take; see `Settings.closes_within`.
        account: only those of this account or subaccount.
    """
    async with connection.cursor(row_factory=class_row(Overdue)) as cursor:
        await cursor.execute(
            f"SELECT * FROM ({_OVERDUE}) found WHERE %(account)s::text IS NULL OR account = %(account)s"  # noqa: S608
            " ORDER BY due_at, session_uuid LIMIT %(limit)s",
            {"within": within, "account": account, "limit": limit},
        )
        return await cursor.fetchall()


async def open_sessions(connection: Connection, within: timedelta) -> OpenSessions:
    """How many there are, and how many of them are overdue."""
    async with connection.cursor(row_factory=class_row(OpenSessions)) as cursor:
        await cursor.execute(
            f"SELECT (SELECT count(*) FROM sessions s WHERE {BILL_OPEN}) AS open,"  # noqa: S608 fixed fragments only
            " count(*) AS overdue,"
            " coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8 AS oldest_seconds"
            f" FROM ({_OVERDUE}) found",
            {"within": within},
        )
        (found,) = await cursor.fetchall()
    return found
