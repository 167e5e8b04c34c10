"""What operators ask about numbers: why none is free, and who could reach whom."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from psycopg.rows import class_row

from masking.domain.availability import Situation
from masking.privacy.keyring import Keyring
from masking.storage.database import Connection
from masking.storage.routes import identity_hash


async def situations(
    connection: Connection, keyring: Keyring, owner_id: str, first_party: str, second_party: str
) -> list[Situation]:
    """Every number of an owner, as a session of these parties (E.164) would find it now; in the order of the pool."""
    async with connection.cursor(row_factory=class_row(Situation)) as cursor:
        await cursor.execute(
            "SELECT n.number, n.country, n.state,"
            " f.held_until AS first_held_until, s.held_until AS second_held_until,"
            " (SELECT max(rests_until) FROM sessions r WHERE r.virtual_number = n.number AND r.rests_until > now()"
            "   AND r.expires_at <= now()) AS rests_until,"
            " (SELECT max(held_until) FROM routes u WHERE u.virtual_number = n.number AND u.held_until <= now()"
            "   AND u.caller_hash IN (%(first)s, %(second)s)) AS last_used"
            " FROM numbers n"
            " LEFT JOIN routes f ON f.virtual_number = n.number AND f.caller_hash = %(first)s AND f.held_until > now()"
            " LEFT JOIN routes s ON s.virtual_number = n.number AND s.caller_hash = %(second)s AND s.held_until > now()"
            " WHERE n.account_id = %(owner)s ORDER BY n.rank",
            {
                "owner": owner_id,
                "first": identity_hash(keyring, "number", first_party),
                "second": identity_hash(keyring, "number", second_party),
            },
        )
        return await cursor.fetchall()


class Reached(NamedTuple):
    """A session that a caller met on a number.

    Attributes:
        party: which party the caller is.
        live: whether it could still be reached then; if not, it had ended and its grace had not.
    """

    session_uuid: str
    account_id: str
    party: Literal["first", "second"]
    live: bool
    created_at: datetime
    expires_at: datetime


async def reached(
    connection: Connection, keyring: Keyring, number: str, caller: str, at: datetime, grace: timedelta
) -> list[Reached]:
    """The sessions that a registered caller would have met on a number at a moment; at most one of them live.

    Rests on each session's final times: an extension is only taken before the expiry that it
    moves, so what was live then is within them. Parties are those that were named last.

    Args:
        grace: how long a session still counts after its end.
    """
    async with connection.cursor(row_factory=class_row(Reached)) as cursor:
        await cursor.execute(
            "SELECT session_uuid, account_id,"
            " CASE WHEN first_party_hash = %(hash)s THEN 'first' ELSE 'second' END AS party,"
            " expires_at > %(at)s AS live, created_at, expires_at FROM sessions"
            " WHERE virtual_number = %(number)s AND %(hash)s IN (first_party_hash, second_party_hash)"
            " AND created_at <= %(at)s AND expires_at > %(at)s - %(grace)s ORDER BY expires_at DESC",
            {"number": number, "hash": identity_hash(keyring, "number", caller), "at": at, "grace": grace},
        )
        return await cursor.fetchall()
