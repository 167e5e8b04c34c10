"""What operators ask about numbers: why none is free, and who could reach whom."""

from __future__ import annotations

from datetime import datetime, timedelta

from psycopg.rows import class_row

from masking.domain.pool.availability import Situation
from masking.domain.session import Session
from masking.privacy.keyring import Keyring
from masking.storage.database import Connection
from masking.storage.routes import identity_hash
from masking.storage.sessions import SealedSession


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


async def was_ours(connection: Connection, number: str) -> bool:
    """Whether a number (E.164) is in the inventory, or a session was on it when it was."""
    found = await connection.execute(
        "SELECT EXISTS (SELECT FROM numbers WHERE number = %(number)s)"
        " OR EXISTS (SELECT FROM sessions WHERE virtual_number = %(number)s)",
        {"number": number},
    )
    return await found.fetchone() == (True,)


LONGEST_GRACE = timedelta(days=1)
"""No session holds its routes longer after its end, apart from a call in progress (docs/settings.md)."""


async def sessions_around(connection: Connection, keyring: Keyring, number: str, at: datetime) -> list[Session]:
    """The sessions of a number (E.164) that lived at a moment or had ended not long before."""
    async with connection.cursor(row_factory=class_row(SealedSession)) as cursor:
        await cursor.execute(
            "SELECT session_uuid, key_id, wrapped_key, sealed_session FROM sessions"
            " WHERE virtual_number = %s AND created_at <= %s AND expires_at > %s::timestamptz - %s::interval"
            " AND status <> 'erased' ORDER BY created_at, session_uuid",
            (number, at, at, LONGEST_GRACE),
        )
        return [row.opened(keyring) for row in await cursor.fetchall()]
