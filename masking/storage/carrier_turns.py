"""The turns that all workers and gateways together take to ask a carrier, and carriers that are asked nothing now.

Either since they do not take our credentials, or for some seconds, since they failed too often in a row (a circuit
breaker). The clock is the database's. The rules of turns are those of `masking/domain/pace.py`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.pace import Pace
from masking.storage.database import Connection

CLOCK_PUT_BACK = timedelta(minutes=1)
"""Steps of the clock that are smaller than this are sat out."""


class Account(NamedTuple):
    """An account at a carrier: its auth id, and a keyed hash of what we sign in with."""

    auth_id: str
    credentials: bytes


class Breaker(NamedTuple):
    """After how many failures in a row a carrier rests, and for how long. It is asked once then, for a try."""

    failures: int
    rest: timedelta


class Answer(NamedTuple):
    """What came of asking for a turn.

    Attributes:
        wait: until the turn that was taken; None if none was.
        free_in: if none was, how long until one is free, as far as anybody knows.
        stopped: why nothing may be asked with these credentials; None if it may.
        failures: how often it has failed in a row.
        rests_for: how long it is not to be asked, since that was too often; None if it may be.
    """

    wait: timedelta | None
    free_in: timedelta
    stopped: str | None
    failures: int = 0
    rests_for: timedelta | None = None


# `clock_timestamp()`, since the row may have to be waited for: what holds is the moment at which it is written.
_TAKE = """
WITH stopped AS (
    SELECT why FROM carrier_stops WHERE account = %(account)s AND credentials = %(credentials)s
), failing AS (
    SELECT in_a_row, rests_until FROM carrier_failures WHERE account = %(account)s
), tried AS (
    -- Once its rest is over, one is let through; should nothing be heard of it, another one a rest later.
    UPDATE carrier_failures SET rests_until = clock_timestamp() + %(rest)s
    WHERE account = %(account)s AND rests_until <= clock_timestamp() AND %(tries)s AND NOT EXISTS (SELECT FROM stopped)
    RETURNING account
), resting AS (
    SELECT CASE WHEN rests_until > clock_timestamp() THEN rests_until - clock_timestamp() ELSE %(rest)s END AS rests_for
    FROM failing WHERE (rests_until > clock_timestamp() OR (%(tries)s AND rests_until IS NOT NULL))
    AND NOT EXISTS (SELECT FROM tried)
), taken AS (
    INSERT INTO carrier_turns AS t (account, what, free_at)
    SELECT %(account)s, %(what)s, clock_timestamp() + %(spacing)s
    WHERE NOT EXISTS (SELECT FROM stopped) AND NOT EXISTS (SELECT FROM resting)
    ON CONFLICT (account, what) DO UPDATE SET free_at = CASE
        WHEN t.free_at > clock_timestamp() + %(furthest)s THEN clock_timestamp() + %(head_start)s
        ELSE GREATEST(t.free_at, clock_timestamp())
    END + %(spacing)s
    WHERE t.free_at - %(head_start)s - clock_timestamp() <= %(longest)s
    OR t.free_at > clock_timestamp() + %(furthest)s
    RETURNING GREATEST(free_at - %(spacing)s - %(head_start)s - clock_timestamp(), interval '0') AS wait
)
SELECT (SELECT wait FROM taken) AS wait,
    GREATEST(coalesce((SELECT free_at FROM carrier_turns WHERE account = %(account)s AND what = %(what)s)
        - %(head_start)s - clock_timestamp(), interval '0'), interval '0') AS free_in,
    (SELECT why FROM stopped) AS stopped,
    coalesce((SELECT in_a_row FROM failing), 0) AS failures,
    (SELECT rests_for FROM resting) AS rests_for
"""


async def take(
    connection: Connection,
    account: Account,
    what: str,
    pace: Pace,
    longest: timedelta,
    *,
    rest: timedelta | None = None,
) -> Answer:
    """Take the next turn, unless it is further away than `longest`, or nothing may be asked. One statement.

    Nobody takes a turn that is too far away. So where all is taken for much longer, the clock was put back: then only
    what may come at once counts as used up.

    Args:
        rest: for how long a carrier that has rested does so for all others, while it is tried by this turn; None for a
            turn behind which another one is taken before anything is asked.
    """
    async with connection.cursor(row_factory=class_row(Answer)) as cursor:
        await cursor.execute(
            _TAKE,
            {
                "account": account.auth_id,
                "credentials": account.credentials,
                "what": what,
                "spacing": pace.spacing,
                "head_start": pace.head_start,
                "longest": longest,
                "furthest": pace.head_start + longest + pace.spacing + CLOCK_PUT_BACK,
                "tries": rest is not None,
                "rest": rest or timedelta(),
            },
        )
        (answer,) = await cursor.fetchall()
    return answer


async def stop(connection: Connection, account: Account, why: str) -> bool:
    """Let nothing be asked with these credentials any more. Whether nobody had said so before."""
    done = await connection.execute(
        "INSERT INTO carrier_stops (account, credentials, why) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (*account, why),
    )
    return done.rowcount == 1


async def resume(connection: Connection, account: Account) -> bool:
    """The carrier takes these credentials. Whether they had been stopped."""
    done = await connection.execute("DELETE FROM carrier_stops WHERE account = %s AND credentials = %s", account)
    return done.rowcount == 1


async def forget_others(connection: Connection, account: Account) -> None:
    """Forget that earlier credentials of the account were stopped: nobody uses them any more."""
    await connection.execute("DELETE FROM carrier_stops WHERE account = %s AND credentials <> %s", account)


async def failed(connection: Connection, account: Account, breaker: Breaker) -> int:
    """The carrier failed: it rests, where that is too often. How often it has failed in a row."""
    told = await connection.execute(
        "INSERT INTO carrier_failures AS f (account, in_a_row, rests_until)"
        " VALUES (%(account)s, 1, CASE WHEN %(most)s <= 1 THEN clock_timestamp() + %(rest)s END)"
        " ON CONFLICT (account) DO UPDATE SET in_a_row = f.in_a_row + 1,"
        " rests_until = CASE WHEN f.in_a_row + 1 >= %(most)s THEN clock_timestamp() + %(rest)s END"
        " RETURNING in_a_row",
        {"account": account.auth_id, "most": breaker.failures, "rest": breaker.rest},
    )
    ((in_a_row,),) = await told.fetchall()
    return int(str(in_a_row))


async def worked(connection: Connection, account: Account) -> int:
    """The carrier answers. How often it had failed in a row."""
    told = await connection.execute(
        "DELETE FROM carrier_failures WHERE account = %s RETURNING in_a_row", (account.auth_id,)
    )
    row = await told.fetchone()
    return int(str(row[0])) if row is not None else 0


class Rest(NamedTuple):
    """That a carrier rests after so many failures in a row; `over_in` is negative once it may be tried."""

    in_a_row: int
    over_in: timedelta


async def rest_of(connection: Connection, account: Account) -> Rest | None:
    """Whether an account's carrier rests."""
    async with connection.cursor(row_factory=class_row(Rest)) as cursor:
        await cursor.execute(
            "SELECT in_a_row, rests_until - clock_timestamp() AS over_in FROM carrier_failures"
            " WHERE account = %s AND rests_until IS NOT NULL",
            (account.auth_id,),
        )
        return await cursor.fetchone()


class Stop(NamedTuple):
    """That a carrier is asked nothing with some credentials, and why."""

    account: str
    credentials: bytes
    why: str
    since: datetime


async def stops(connection: Connection) -> list[Stop]:
    """All of them, the oldest first."""
    async with connection.cursor(row_factory=class_row(Stop)) as cursor:
        await cursor.execute("SELECT account, credentials, why, since FROM carrier_stops ORDER BY since, account")
        return await cursor.fetchall()
