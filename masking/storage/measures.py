"""What operators watch: the headroom of each pool of numbers, and what is on its way in and out."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.storage.callback_endpoints import SHOWN_FOR
from masking.storage.database import Connection


class Pool(NamedTuple):
    """The numbers of one owner and country.

    Attributes:
        available, draining, blocked: how many are in that state.
        in_use: how many a live or cooling session holds.
        headroom: how many available numbers any pair of parties could choose from at least: the
            available ones, less those that the two busiest parties hold. Below 1, a create may
            be refused.
    """

    account_id: str
    country: str
    available: int
    draining: int
    blocked: int
    in_use: int
    headroom: int


class Backlog(NamedTuple):
    """What waits, and since when.

    Attributes:
        waiting: events of carriers that no workflow has had yet.
        oldest_seconds: how long the oldest of them has waited; 0 without any.
        late: events that came after their session had been settled.
    """

    waiting: int
    oldest_seconds: float
    late: int


class Undelivered(NamedTuple):
    """Callbacks that customers have not taken.

    Attributes:
        waiting: those that are still tried.
        oldest_seconds: how long the oldest of them has waited, since it arose or was sent again; 0 without any.
        dead: those that were given up.
        failing_endpoints: endpoints that fail again and again.
    """

    waiting: int
    oldest_seconds: float
    dead: int
    failing_endpoints: int


class Erasing(NamedTuple):
    """Sessions that were erased, and those that are to be.

    Attributes:
        waiting: those that have been kept longer than they should; those under a legal hold are not counted.
        begun: those whose keys are destroyed, while Temporal has not deleted its copies yet.
        last_day: those that were erased within a day.
    """

    waiting: int
    begun: int
    last_day: int


async def pools(connection: Connection) -> list[Pool]:
    """Every pool, by owner and country. Reads the routes of all live and cooling sessions."""
    async with connection.cursor(row_factory=class_row(Pool)) as cursor:
        await cursor.execute(
            "WITH held AS (SELECT n.account_id, n.country, r.caller_hash, count(*) AS held FROM routes r"
            "  JOIN numbers n ON n.number = r.virtual_number WHERE r.held_until > now() AND r.kind = 'number'"
            "  GROUP BY 1, 2, 3),"
            " ranked AS (SELECT *, row_number() OVER (PARTITION BY account_id, country ORDER BY held DESC) AS place"
            "  FROM held),"
            " busiest AS (SELECT account_id, country, sum(held) AS held FROM ranked WHERE place <= 2 GROUP BY 1, 2),"
            " used AS (SELECT DISTINCT virtual_number FROM routes WHERE held_until > now())"
            " SELECT n.account_id, n.country,"
            " count(*) FILTER (WHERE n.state = 'available') AS available,"
            " count(*) FILTER (WHERE n.state = 'draining') AS draining,"
            " count(*) FILTER (WHERE n.state = 'blocked') AS blocked,"
            " count(u.virtual_number) AS in_use,"
            " (count(*) FILTER (WHERE n.state = 'available') - coalesce(max(b.held), 0))::int AS headroom"
            " FROM numbers n LEFT JOIN used u ON u.virtual_number = n.number"
            " LEFT JOIN busiest b ON (b.account_id, b.country) = (n.account_id, n.country)"
            " GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return await cursor.fetchall()


async def backlog(connection: Connection) -> Backlog:
    """The inbox."""
    async with connection.cursor(row_factory=class_row(Backlog)) as cursor:
        await cursor.execute(
            "SELECT count(*) AS waiting,"
            " coalesce(extract(epoch FROM now() - min(received_at)), 0)::float8 AS oldest_seconds,"
            " (SELECT count(*) FROM inbox WHERE late) AS late"
            " FROM inbox WHERE forwarded_at IS NULL"
        )
        (found,) = await cursor.fetchall()
    return found


async def undelivered(connection: Connection) -> Undelivered:
    """The callbacks."""
    async with connection.cursor(row_factory=class_row(Undelivered)) as cursor:
        await cursor.execute(
            "SELECT count(*) AS waiting,"
            " coalesce(extract(epoch FROM now() - min(coalesce(replayed_at, created_at))), 0)::float8"
            "  AS oldest_seconds,"
            " (SELECT count(*) FROM callbacks WHERE state = 'dead') AS dead,"
            " (SELECT count(*) FROM callback_endpoints WHERE rests_until > now() - %s) AS failing_endpoints"
            " FROM callbacks WHERE state = 'pending'",
            (SHOWN_FOR,),
        )
        (found,) = await cursor.fetchall()
    return found


async def erasing(connection: Connection, keep_for: timedelta | None) -> Erasing:
    """Erasures; nothing waits when sessions are kept for ever."""
    async with connection.cursor(row_factory=class_row(Erasing)) as cursor:
        await cursor.execute(
            "SELECT (SELECT count(*) FROM sessions s WHERE settled_at < now() - %s::interval AND status <> 'erased'"
            "  AND NOT EXISTS (SELECT FROM legal_holds h WHERE h.session_uuid = s.session_uuid)) AS waiting,"
            " (SELECT count(*) FROM erasures WHERE certificate IS NULL) AS begun,"
            " (SELECT count(*) FROM erasures WHERE erased_at > now() - interval '1 day') AS last_day",
            (keep_for,),
        )
        (found,) = await cursor.fetchall()
    return found


class Carriers(NamedTuple):
    """Accounts at carriers that are asked nothing: ever, with these credentials, or until they have rested."""

    stopped: int
    resting: int


async def carriers(connection: Connection) -> Carriers:
    """How many there are."""
    async with connection.cursor(row_factory=class_row(Carriers)) as cursor:
        await cursor.execute(
            "SELECT (SELECT count(DISTINCT account) FROM carrier_stops) AS stopped,"
            " (SELECT count(*) FROM carrier_failures WHERE rests_until IS NOT NULL) AS resting"
        )
        (found,) = await cursor.fetchall()
    return found
