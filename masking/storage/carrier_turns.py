"""The turns that all workers and gateways together take to ask a carrier, and carriers that are asked nothing now.

The clock is the database's. The rules are those of `masking/domain/pace.py`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.pace import Pace
from masking.storage.database import Connection


class Account(NamedTuple):
    """An account at a carrier: its auth id, and a keyed hash of what we sign in with."""

    auth_id: str
    credentials: bytes


class Answer(NamedTuple):
    """What came of asking for a turn.

    Attributes:
        wait: until the turn that was taken; None if none was.
        free_in: if none was, how long until one is free, as far as anybody knows.
        stopped: why nothing may be asked with these credentials; None if it may.
    """

    wait: timedelta | None
    free_in: timedelta
    stopped: str | None


# `clock_timestamp()`, since the row may have to be waited for: what holds is the moment at which it is written.
_TAKE = """
WITH stopped AS (
    SELECT why FROM carrier_stops WHERE account = %(account)s AND credentials = %(credentials)s
), taken AS (
    INSERT INTO carrier_turns AS t (account, what, free_at)
    SELECT %(account)s, %(what)s, clock_timestamp() + %(spacing)s WHERE NOT EXISTS (SELECT FROM stopped)
    ON CONFLICT (account, what) DO UPDATE SET free_at = GREATEST(t.free_at, clock_timestamp()) + %(spacing)s
    WHERE t.free_at - %(head_start)s - clock_timestamp() <= %(longest)s
    RETURNING GREATEST(free_at - %(spacing)s - %(head_start)s - clock_timestamp(), interval '0') AS wait
)
SELECT (SELECT wait FROM taken) AS wait,
    GREATEST(coalesce((SELECT free_at FROM carrier_turns WHERE account = %(account)s AND what = %(what)s)
        - %(head_start)s - clock_timestamp(), interval '0'), interval '0') AS free_in,
    (SELECT why FROM stopped) AS stopped
"""


async def take(connection: Connection, account: Account, what: str, pace: Pace, longest: timedelta) -> Answer:
    """Take the next turn, unless it is further away than `longest`, or nothing may be asked. One statement."""
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
