"""Turns at a carrier that many take at once, on the real PostgreSQL, and credentials that are asked with no more."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from masking.domain.pace import Pace
from masking.storage.carrier_turns import (
    Account,
    Answer,
    Breaker,
    failed,
    forget_others,
    rest_of,
    resume,
    stop,
    stops,
    take,
    worked,
)
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


async def test_a_clock_that_is_put_back_stops_nothing(database: Database) -> None:
    pace, longest = Pace(20, timedelta(seconds=1000)), timedelta(seconds=300)
    for _ in range(pace.burst):
        assert (await taken(database, pace, longest)).wait == timedelta()
    async with database.transaction() as connection:
        await connection.execute("UPDATE carrier_turns SET free_at = free_at + interval '1 hour'")
    waits = [(await taken(database, pace, longest)).wait for _ in range(3)]
    assert waits[0] == timedelta()
    later = [wait.total_seconds() for wait in waits[1:] if wait is not None]
    # What may come at once counts as used up.
    assert len(later) == 2
    assert later[0] > pace.spacing.total_seconds() / 2
    assert later[1] > later[0]


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


BREAKER = Breaker(3, timedelta(hours=1))


async def tried(database: Database) -> Answer:
    async with database.autocommit() as connection:
        return await take(connection, ACCOUNT, "requests", PACE, LONG, rest=BREAKER.rest)


async def fails(database: Database, times: int) -> list[int]:
    async with database.transaction() as connection:
        return [await failed(connection, ACCOUNT, BREAKER) for _ in range(times)]


async def rest_ends(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("UPDATE carrier_failures SET rests_until = clock_timestamp()")


async def test_after_failures_in_a_row_nothing_is_asked_for_a_while_and_then_one_tries(database: Database) -> None:
    assert await fails(database, 2) == [1, 2]
    below = await tried(database)
    assert (below.wait is not None, below.failures, below.rests_for) == (True, 2, None)
    async with database.transaction() as connection:
        assert await rest_of(connection, ACCOUNT) is None

    assert await fails(database, 1) == [3]
    for answer in (await tried(database), await taken(database)):
        assert (answer.wait, answer.failures) == (None, 3)
        assert answer.rests_for is not None
        assert timedelta(0) < answer.rests_for <= BREAKER.rest
    await rest_ends(database)
    assert (await taken(database)).wait is not None, "a turn behind which another is taken does not try it"
    answers = await asyncio.gather(*(tried(database) for _ in range(12)))
    assert [answer.wait is not None for answer in answers].count(True) == 1
    assert {answer.rests_for is None for answer in answers if answer.wait is None} == {False}

    await rest_ends(database)
    assert (await tried(database)).wait is not None, "what became of the first one nobody heard: another tries"
    assert await fails(database, 1) == [4]
    assert (await tried(database)).wait is None
    async with database.transaction() as connection:
        rest = await rest_of(connection, ACCOUNT)
        assert rest is not None
        assert (rest.in_a_row, rest.over_in > timedelta(0)) == (4, True)
        assert await worked(connection, ACCOUNT) == 4
        assert await worked(connection, ACCOUNT) == 0
    assert (await tried(database))._replace(wait=None, free_in=timedelta()) == Answer(None, timedelta(), None)


async def test_a_carrier_that_takes_no_credentials_is_not_tried(database: Database) -> None:
    await fails(database, 3)
    async with database.transaction() as connection:
        await stop(connection, ACCOUNT, "it refused with 401")
    await rest_ends(database)
    assert (await tried(database)).stopped == "it refused with 401"
    async with database.transaction() as connection:
        assert await resume(connection, ACCOUNT)
    assert (await tried(database)).wait is not None, "nobody has used the try up"
