"""If no party ever has more than C live or cooling sessions, 2C - 1 numbers always suffice.

A session is an edge between two parties and its number the edge's colour: no party may meet a
colour twice. Greedy edge colouring never needs more than 2C - 1, since an edge has at most
2(C - 1) neighbours. The allocator is greedy, so it inherits the bound, whatever the order.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from masking.domain.session import Session
from masking.privacy.keyring import Keyring
from masking.storage.accounts import ensure_numbers
from masking.storage.database import Database
from tests.conftest import ACCOUNT
from tests.storage.test_routes import asked, open_, turn_back_clock

pytestmark = pytest.mark.anyio

PARTIES = [f"+1202555017{n}" for n in range(6)]
pairs = st.lists(st.sampled_from(PARTIES), min_size=2, max_size=2, unique=True).map(tuple)
# A pair opens a session; or the n-th open one ends, or its grace does.
steps = st.lists(pairs | st.tuples(st.sampled_from(["ends", "is over"]), st.integers(0, 99)), min_size=1, max_size=25)


async def pool_of(database: Database, size: int) -> None:
    """Let the account have just so many numbers, and no sessions."""
    async with database.transaction() as connection:
        await connection.execute("DELETE FROM routes")
        await connection.execute("DELETE FROM sessions")
        await connection.execute("DELETE FROM numbers")
        await ensure_numbers(connection, ACCOUNT, [(f"+12025559{n:03}", "US") for n in range(size)])


def parties_of(session: Session) -> set[str]:
    return set(session.terms.parties.values())


def busy(holding: Iterable[Session]) -> Counter[str]:
    """How many sessions each party holds, live or cooling."""
    return Counter(party for session in holding for party in parties_of(session))


@given(most=st.integers(1, 3), story=steps)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_two_c_minus_one_numbers_suffice_in_any_order(
    database: Database, keyring: Keyring, most: int, story: list[tuple[str, str] | tuple[str, int]]
) -> None:
    await pool_of(database, 2 * most - 1)
    numbers: dict[str, str] = {}
    live: list[Session] = []
    cooling: list[Session] = []
    for one, other in story:
        if isinstance(other, int):
            moved = live if one == "ends" else cooling
            if not moved:
                continue
            session = moved.pop(other % len(moved))
            # The session asks for 600 s, and its grace is 60 s.
            await turn_back_clock(database, session, timedelta(seconds=601 if one == "ends" else 61))
            if one == "ends":
                cooling.append(session)
            continue
        held = busy([*live, *cooling])
        if max(held[one], held[other]) >= most:
            continue
        session = asked(one, other)
        number = await open_(database, keyring, session)
        assert number is not None, f"{2 * most - 1} numbers were too few for {most} sessions per party"
        for neighbour in [*live, *cooling]:
            if parties_of(neighbour) & parties_of(session):
                assert numbers[neighbour.session_uuid] != number, "a party met a number twice"
        numbers[session.session_uuid] = number
        live.append(session)


async def test_two_c_minus_one_numbers_suffice_for_sixteen_creators_at_once(
    database: Database, keyring: Keyring
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    chance, most = random.Random(seed), 5
    await pool_of(database, 2 * most - 1)
    wanted: list[Session] = []
    crowd = [f"+120255501{n:02}" for n in range(20)]
    count: Counter[str] = Counter()
    for _ in range(400):
        one, other = chance.sample(crowd, 2)
        if max(count[one], count[other]) < most:
            count.update([one, other])
            wanted.append(asked(one, other))
    gate = asyncio.Semaphore(16)

    async def create(session: Session) -> tuple[Session, str | None]:
        async with gate:
            return session, await open_(database, keyring, session)

    created = await asyncio.gather(*(create(session) for session in wanted))

    met: dict[str, list[str | None]] = defaultdict(list)
    for session, number in created:
        assert number is not None
        for party in parties_of(session):
            met[party].append(number)
    assert len(wanted) > 40
    assert all(len(set(numbers)) == len(numbers) for numbers in met.values())
