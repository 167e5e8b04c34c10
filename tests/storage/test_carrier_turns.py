"""Turns at a carrier that many take at once, on the real PostgreSQL, and credentials that are asked with no more."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from masking.domain.pace import Pace
from masking.storage.carrier_turns import Account, Answer, forget_others, resume, stop, stops, take
from masking.storage.database import Database

pytestmark = pytest.mark.anyio

ACCOUNT = Account("MACARRIER00000000000", b"these")
OTHER = Account("MACARRIER00000000000", b"others")
PACE = Pace(20, timedelta(milliseconds=200))
LONG = timedelta(seconds=60)


async def taken(database: Database, pace: Pace = PACE, longest: timedelta = LONG, account: Account = ACCOUNT) -> Answer:
    async with database.autocommit() as connection:
        return await take(connection, account, "requests", pace, longest)


async def test_takers_in_parallel_never_get_more_than_the_limit_in_any_window(database: Database) -> None:
    loop = asyncio.get_running_loop()
    begun: list[float] = []

    async def taker() -> None:
        for _ in range(10):
            wait = (await taken(database)).wait
            assert wait is not None
            # The answer was on its way: the turn itself was no later than this.
            begun.append(loop.time() + wait.total_seconds())

    began = loop.time()
    await asyncio.gather(*(taker() for _ in range(16)))
    begun.sort()
    spacing = PACE.spacing.total_seconds()
    # 160 turns, of which a burst may come at once; no two share one.
    assert begun[-1] - began >= (160 - PACE.burst) * spacing - 0.001
    assert begun[-1] - loop.time() < 160 * spacing


async def test_a_turn_that_is_too_far_away_is_not_taken_and_it_is_told_when_one_is(database: Database) -> None:
    pace = Pace(1, timedelta(seconds=30))
    assert (await taken(database, pace, timedelta(seconds=5))).wait == timedelta(0)
    for _ in range(3):
        refused = await taken(database, pace, timedelta(seconds=5))
        assert refused.wait is None
        assert timedelta(seconds=25) < refused.free_in <= timedelta(seconds=30)
    patient = await taken(database, pace, LONG)
    assert patient.wait is not None
    assert patient.wait <= timedelta(seconds=30), "those that were refused took no turn"


async def test_nothing_is_asked_with_credentials_that_were_stopped_until_they_are_right_or_others(
    database: Database,
) -> None:
    async with database.transaction() as connection:
        assert await stop(connection, ACCOUNT, "it refused with 401")
        assert not await stop(connection, ACCOUNT, "it refused with 401 again"), "only one is the first"
    stopped = await taken(database)
    assert (stopped.wait, stopped.stopped) == (None, "it refused with 401")
    assert (await taken(database, account=OTHER)).wait is not None

    async with database.transaction() as connection:
        assert [(each.account, each.why) for each in await stops(connection)] == [
            (ACCOUNT.auth_id, "it refused with 401")
        ]
        assert await resume(connection, ACCOUNT)
        assert not await resume(connection, ACCOUNT)
    assert (await taken(database)).wait is not None

    async with database.transaction() as connection:
        await stop(connection, ACCOUNT, "again")
        await forget_others(connection, OTHER)
        assert await stops(connection) == []
