"""Routes are leases: nobody ever reaches the wrong person."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from masking.domain.callbacks import Callback
from masking.domain.lifecycle import changed, expired, opened, requested
from masking.domain.routing import CallPolicy, Guesses, Reason, decide
from masking.domain.session import Phase, Session
from masking.domain.terms import Change, SessionRequest
from masking.privacy.keyring import Keyring
from masking.storage import sessions
from masking.storage.accounts import Principal
from masking.storage.call_routes import find_route
from masking.storage.database import Database
from masking.storage.opening import Exhausted, open_session
from masking.storage.routes import change_parties, identity_hash
from tests.conftest import POOL
from tests.domain.conversation import FIRST, SECOND, request

pytestmark = pytest.mark.anyio


def asked(first: str = FIRST, second: str = SECOND, *, session_expiry: int = 600, **changes: object) -> Session:
    """A session for these parties, asked for now."""
    base = request(session_expiry=session_expiry)
    terms = base.terms.model_copy(update={"first_party": first, "second_party": second, **changes})
    new = SessionRequest(**{**dict(base), "session_uuid": str(uuid4()), "terms": terms, "pair_grace": 60})
    return requested(new, datetime.now(UTC))


async def open_(
    database: Database, keyring: Keyring, session: Session, country: str | None = "US", beside: Sequence[str] = ()
) -> str | None:
    async with database.transaction() as connection:
        opening = await open_session(connection, keyring, session, country, beside=beside)
    return None if isinstance(opening, Exhausted) else opening.virtual_number


async def record(database: Database, keyring: Keyring, session: Session, *queued: Callback) -> bool:
    async with database.transaction() as connection:
        return (await sessions.record_session(connection, keyring, session, queued)).holds_routes


async def turn_back_clock(database: Database, session: Session, by: timedelta) -> None:
    """Let the session's times lie `by` further back, as if so much time had passed."""
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE sessions SET expires_at = expires_at - %(by)s, rests_until = rests_until - %(by)s"
            " WHERE session_uuid = %(uuid)s",
            {"by": by, "uuid": session.session_uuid},
        )
        await connection.execute(
            "UPDATE routes SET expires_at = expires_at - %s, held_until = held_until - %s WHERE session_uuid = %s",
            (by, by, session.session_uuid),
        )


async def test_two_sessions_of_one_party_never_share_a_number(database: Database, keyring: Keyring) -> None:
    numbers = [await open_(database, keyring, asked(second=f"+1202555010{i}")) for i in range(3, 7)]

    assert sorted(n for n in numbers if n) == sorted(number for number, country in POOL if country == "US")
    assert numbers[3] is None


async def test_an_ended_session_connects_nobody_also_where_the_database_s_clock_is_behind(
    database: Database, keyring: Keyring
) -> None:
    session = asked()
    number = await open_(database, keyring, session)
    assert number is not None
    # Temporal's clock, by which it is ended, is five minutes ahead.
    ended = expired(opened(session, number).session, datetime.now(UTC) + timedelta(minutes=5)).session
    for _ in range(2):
        assert await record(database, keyring, ended)
        async with database.transaction() as connection:
            found = await find_route(connection, keyring, number, FIRST, "call")
        assert found is not None
        decision = decide(number, found.route, Guesses(), found.now, CallPolicy())
        assert decision.reason is Reason.SESSION_ENDED
    async with database.transaction() as connection:
        held = await connection.execute("SELECT DISTINCT held_until FROM routes")
        assert await held.fetchall() == [(ended.held_until,)]


async def test_an_ended_session_connects_nobody_once_the_database_s_clock_is_put_back(
    database: Database, keyring: Keyring
) -> None:
    session = asked()
    number = await open_(database, keyring, session)
    assert number is not None
    assert await record(database, keyring, expired(opened(session, number).session, datetime.now(UTC)).session)
    await turn_back_clock(database, session, by=-timedelta(minutes=5))
    async with database.transaction() as connection:
        found = await find_route(connection, keyring, number, FIRST, "call")
    assert found is not None
    assert found.route.expires_at <= found.now
    assert decide(number, found.route, Guesses(), found.now, CallPolicy()).reason is Reason.SESSION_ENDED


async def test_strangers_share_a_number(database: Database, keyring: Keyring) -> None:
    one = await open_(database, keyring, asked())
    other = await open_(database, keyring, asked("+12025550111", "+12025550112"))

    assert one is not None
    assert one == other


async def test_opening_again_gives_the_same_number_and_takes_no_second(database: Database, keyring: Keyring) -> None:
    session = asked()
    assert await open_(database, keyring, session) == await open_(database, keyring, session)

    async with database.transaction() as connection:
        rows = await (await connection.execute("SELECT count(*) FROM routes")).fetchall()
    assert rows == [(2,)]


async def test_the_number_is_of_the_country_that_was_asked_for(database: Database, keyring: Keyring) -> None:
    assert await open_(database, keyring, asked(), "IN") == "+912269947011"
    assert await open_(database, keyring, asked("+12025550111", "+12025550112"), "FR") is None


async def test_numbers_of_countries_beside_are_for_when_its_own_are_exhausted(
    database: Database, keyring: Keyring
) -> None:
    async with database.transaction() as connection:
        await connection.execute("UPDATE numbers SET country = 'CA' WHERE number = '+12025550199'")

    numbers = [await open_(database, keyring, asked(second=f"+1202555011{i}"), "US", ["CA"]) for i in range(4)]

    assert numbers == ["+12025550198", "+12025550197", "+12025550199", None]
    assert await open_(database, keyring, asked("+12025550121", "+12025550122"), "CA", ["US"]) == "+12025550199"


async def test_a_number_that_is_asked_for_may_be_of_a_country_beside(database: Database, keyring: Keyring) -> None:
    async with database.transaction() as connection:
        await connection.execute("UPDATE numbers SET country = 'CA' WHERE number = '+12025550199'")

    wanted = asked(preferred_number="+12025550199")
    assert await open_(database, keyring, wanted, "US", ["CA"]) == "+12025550199"


async def test_sixteen_creators_at_once_never_put_two_sessions_on_one_number_and_caller(
    database: Database, keyring: Keyring
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    chance = random.Random(seed)
    phones = [f"+1202555{i:04}" for i in range(12)]
    wanted = [asked(*chance.sample(phones, 2)) for _ in range(64)]
    gate = asyncio.Semaphore(16)

    async def create(session: Session) -> tuple[Session, str | None]:
        async with gate:
            return session, await open_(database, keyring, session, None)

    created = await asyncio.gather(*(create(session) for session in wanted))

    holders: dict[tuple[str, str], list[str]] = defaultdict(list)
    for session, number in created:
        if number is not None:
            holders[number, session.terms.first_party].append(session.session_uuid)
            holders[number, session.terms.second_party].append(session.session_uuid)
    assert all(len(holding) == 1 for holding in holders.values())
    assert len(holders) > len(POOL)
    async with database.transaction() as connection:
        rows = await (await connection.execute("SELECT count(*) FROM routes")).fetchall()
    assert rows == [(len(holders),)]


async def test_a_route_is_found_by_either_party_and_leads_to_the_other(database: Database, keyring: Keyring) -> None:
    session = asked()
    number = await open_(database, keyring, session)
    assert number is not None

    async with database.transaction() as connection:
        first = await find_route(connection, keyring, number, FIRST, "c")
        second = await find_route(connection, keyring, number, SECOND, "c")
        stranger = await find_route(connection, keyring, number, "+12025550150", "c")
        elsewhere = await find_route(connection, keyring, "+12025550198", FIRST, "c")

    assert first is not None
    assert (first.route.caller_number, first.route.callee_number) == (FIRST, SECOND)
    assert second is not None
    assert (second.route.caller_number, second.route.callee_number) == (SECOND, FIRST)
    assert first.route.virtual_number == number
    assert stranger is None
    assert elsewhere is None


async def test_a_number_comes_back_only_after_the_grace(database: Database, keyring: Keyring) -> None:
    async with database.transaction() as connection:
        await connection.execute("UPDATE numbers SET state = 'blocked' WHERE number <> '+12025550199'")
    session = asked()
    assert await open_(database, keyring, session) is not None

    await turn_back_clock(database, session, timedelta(seconds=630))
    assert await open_(database, keyring, asked()) is None

    await turn_back_clock(database, session, timedelta(seconds=60))
    assert await open_(database, keyring, asked()) == "+12025550199"


async def test_a_cool_off_keeps_the_number_from_everybody(database: Database, keyring: Keyring) -> None:
    async with database.transaction() as connection:
        await connection.execute("UPDATE numbers SET state = 'blocked' WHERE number <> '+12025550199'")
    session = asked(virtual_number_cooloff_period=300)
    assert await open_(database, keyring, session) is not None
    await turn_back_clock(database, session, timedelta(seconds=700))

    stranger = asked("+12025550111", "+12025550112")
    assert await open_(database, keyring, stranger) is None
    await turn_back_clock(database, session, timedelta(seconds=300))
    assert await open_(database, keyring, stranger) is not None


async def test_a_number_used_longest_ago_is_chosen_last_of_the_unused_and_first_of_the_used(
    database: Database, keyring: Keyring
) -> None:
    used: list[str | None] = []
    for hours in (3, 2, 1):
        session = asked()
        used.append(await open_(database, keyring, session))
        await turn_back_clock(database, session, timedelta(hours=hours))

    assert len(set(used)) == 3
    assert await open_(database, keyring, asked()) == used[0]


async def test_extending_moves_the_lease_and_an_old_version_moves_it_no_more(
    database: Database, keyring: Keyring
) -> None:
    session = asked()
    number = await open_(database, keyring, session)
    assert number is not None
    active = opened(session, number).session
    later = changed(active, Change(session_expiry=7200), datetime.now(UTC)).session

    assert await record(database, keyring, later)
    assert await record(database, keyring, active)

    async with database.transaction() as connection:
        found = await find_route(connection, keyring, number, FIRST, "c")
    assert found is not None
    assert found.route.expires_at == later.expires_at


async def test_whoever_left_is_kept_from_others_no_longer_than_the_parties_that_stayed(
    database: Database, keyring: Keyring
) -> None:
    session = asked(second="", single_party=True)
    number = await open_(database, keyring, session)
    assert number is not None
    session = opened(session, number).session
    for party in (SECOND, "+12025550111"):
        change = changed(session, Change(second_party=party), datetime.now(UTC)).session
        async with database.transaction() as connection:
            assert await change_parties(connection, keyring, session, change.terms)
        session = change
        assert await record(database, keyring, session)
    session = expired(session, datetime.now(UTC)).session
    assert await record(database, keyring, session)

    await turn_back_clock(database, session, timedelta(seconds=59))
    async with database.transaction() as connection:
        former = await find_route(connection, keyring, number, SECOND, "a call")
    assert former is not None
    assert former.route.released
    await turn_back_clock(database, session, timedelta(seconds=2))
    async with database.transaction() as connection:
        assert await find_route(connection, keyring, number, SECOND, "a call") is None
        assert await find_route(connection, keyring, number, FIRST, "a call") is None


async def test_a_change_of_parties_that_an_end_has_overtaken_holds_the_number_no_longer_than_the_end(
    database: Database, keyring: Keyring
) -> None:
    """Somebody names the other party while somebody else ends the session."""
    session = asked(second="", session_expiry=86_400, single_party=True)
    number = await open_(database, keyring, session)
    assert number is not None
    session = opened(session, number).session
    change = changed(session, Change(second_party=SECOND), datetime.now(UTC)).session
    ended = expired(session, datetime.now(UTC)).session
    assert await record(database, keyring, ended)

    async with database.transaction() as connection:
        assert await change_parties(connection, keyring, session, change.terms)

    async with database.transaction() as connection:
        routes = await connection.execute(
            "SELECT max(expires_at) <= %s, max(held_until) <= %s, count(*) FROM routes WHERE session_uuid = %s",
            (ended.expires_at, ended.held_until, session.session_uuid),
        )
        assert await routes.fetchone() == (True, True, 2), "the first party's route, and that of anyone"


async def test_a_session_whose_route_was_taken_over_is_told_so(database: Database, keyring: Keyring) -> None:
    session = asked()
    number = await open_(database, keyring, session)
    assert number is not None
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE routes SET session_uuid = 'another' WHERE caller_hash = %s",
            (identity_hash(keyring, "number", FIRST),),
        )

    assert not await record(database, keyring, expired(opened(session, number).session, datetime.now(UTC)).session)


async def test_the_final_bill_is_written_once(database: Database, keyring: Keyring) -> None:
    session = asked()
    number = await open_(database, keyring, session)
    assert number is not None
    final = opened(session, number).session.model_copy(
        update={"phase": Phase.SETTLED, "settled_at": datetime.now(UTC), "version": 5}
    )
    for _ in range(2):
        async with database.transaction() as connection:
            await sessions.settle_session(connection, keyring, final)

    async with database.transaction() as connection:
        rows = await (await connection.execute("SELECT session_uuid, settled_at FROM settlements")).fetchall()
        stored = await sessions.read_session(connection, keyring, Principal(final.account_id, None), final.session_uuid)
    assert rows == [(final.session_uuid, final.settled_at)]
    assert stored == final


async def test_nothing_personal_is_stored_in_the_clear(database: Database, keyring: Keyring, migrated_url: str) -> None:
    session = asked()
    number = await open_(database, keyring, session)
    assert number is not None
    step = expired(opened(session, number).session, datetime.now(UTC))
    await record(database, keyring, step.session, *step.callbacks)

    dump = []
    with psycopg.connect(migrated_url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        for (table,) in tables:
            for row in connection.execute(f"SELECT t::text FROM {table} t").fetchall():
                dump.append(row[0])
    everything = "\n".join(dump)
    assert session.session_uuid in everything
    for secret in (FIRST, SECOND, "customer.example", "a-token-for-tests"):
        plain = secret.removeprefix("+")
        for form in (plain, plain.encode().hex(), plain[::-1]):
            assert form not in everything


DAY = timedelta(days=1)
CUSTOMER, OTHER_CUSTOMER = SECOND, "+12025550104"


async def yesterday(database: Database, keyring: Keyring, second: str = CUSTOMER) -> str:
    """The number on which the first party met somebody yesterday."""
    session = asked(second=second)
    number = await open_(database, keyring, session)
    assert number is not None
    await turn_back_clock(database, session, DAY)
    return number


async def test_the_day_after_the_same_two_get_the_number_they_ask_for(database: Database, keyring: Keyring) -> None:
    number = await yesterday(database, keyring)

    # Without having asked they would get one that neither of them ever used.
    assert await open_(database, keyring, asked(preferred_number=number)) == number


async def test_who_does_not_ask_gets_a_number_that_neither_used(database: Database, keyring: Keyring) -> None:
    assert await open_(database, keyring, asked()) != await yesterday(database, keyring, OTHER_CUSTOMER)


async def test_a_number_in_its_grace_is_not_given_again(database: Database, keyring: Keyring) -> None:
    session = asked()
    number = await open_(database, keyring, session)
    await turn_back_clock(database, session, timedelta(seconds=620))

    another = await open_(database, keyring, asked(preferred_number=number))

    assert another is not None
    assert another != number


async def test_a_number_on_which_one_of_them_met_somebody_else_since_is_not_given_again(
    database: Database, keyring: Keyring
) -> None:
    number = await yesterday(database, keyring)
    since = asked(second=OTHER_CUSTOMER, preferred_number=number)
    async with database.transaction() as connection:
        await connection.execute("UPDATE numbers SET state = 'blocked' WHERE number <> %s", (number,))
    assert await open_(database, keyring, since) == number, "the ordinary choice, where there is no other"
    await turn_back_clock(database, since, DAY)
    async with database.transaction() as connection:
        await connection.execute("UPDATE numbers SET state = 'available'")

    assert await open_(database, keyring, asked(preferred_number=number)) != number


@pytest.mark.parametrize("wrong", ["state = 'draining'", "account_id = 'SATESTACCOUNT0000000'", "country = 'CA'"])
async def test_a_number_that_cannot_be_had_is_not_given_again(database: Database, keyring: Keyring, wrong: str) -> None:
    number = await yesterday(database, keyring)
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(f"UPDATE numbers SET {wrong} WHERE number = '{number}'".encode())

    another = await open_(database, keyring, asked(preferred_number=number))

    assert another is not None
    assert another != number


async def test_a_number_that_is_none_of_the_pool_is_not_given(database: Database, keyring: Keyring) -> None:
    assert await open_(database, keyring, asked(preferred_number="+12025550111")) in {n for n, _ in POOL}
