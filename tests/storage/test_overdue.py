"""Sessions whose bill ought to be closed: told, listed, and found without reading all that are kept."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from masking.domain.lifecycle import elapsed, settled
from masking.domain.session import Session
from masking.gateway.metrics import Metrics
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from masking.storage.database import Database
from masking.storage.overdue import open_sessions, overdue
from masking.storage.sessions import BILL_OPEN, settle_session
from tests.conftest import ACCOUNT
from tests.domain.conversation import FIRST, SECOND
from tests.storage.test_inbox import active
from tests.storage.test_routes import record, turn_back_clock

pytestmark = pytest.mark.anyio

WITHIN = timedelta(minutes=30)
LONG_AGO = timedelta(days=2)


async def found(database: Database, limit: int = 10, account: str | None = None) -> list[str]:
    async with database.transaction() as connection:
        listed = await overdue(connection, WITHIN, limit, account)
        counted = await open_sessions(connection, WITHIN)
    if account is None and limit >= counted.overdue:
        assert counted.overdue == len(listed)
    assert [each.due_at for each in listed] == sorted(each.due_at for each in listed)
    return [each.session_uuid for each in listed]


async def over_for(database: Database, keyring: Keyring, first: str, long: timedelta) -> Session:
    """A session of which nothing was heard since it was opened, and whose time has been over for so long."""
    session = await active(database, keyring, first)
    async with database.transaction() as connection:
        await connection.execute(
            "UPDATE sessions SET expires_at = now() - %s WHERE session_uuid = %s", (long, session.session_uuid)
        )
    return session


async def test_one_that_is_over_is_overdue_once_its_bill_has_taken_too_long(
    database: Database, keyring: Keyring
) -> None:
    assert await found(database) == []
    await over_for(database, keyring, "+12025550112", WITHIN - timedelta(minutes=1))
    late = await over_for(database, keyring, "+12025550113", WITHIN + timedelta(minutes=1))
    later = await over_for(database, keyring, "+12025550114", WITHIN + timedelta(hours=2))

    assert await found(database) == [later.session_uuid, late.session_uuid]
    assert await found(database, limit=1) == [later.session_uuid]
    assert await found(database, account=ACCOUNT) == [later.session_uuid, late.session_uuid]
    assert await found(database, account="SAOFSOMEBODYELSE0000") == []
    async with database.transaction() as connection:
        counted = await open_sessions(connection, WITHIN)
    assert (counted.open, counted.overdue) == (3, 2)
    assert 9000 <= counted.oldest_seconds < 9060


async def test_a_call_that_may_go_on_holds_its_bill_open(database: Database, keyring: Keyring) -> None:
    session = await over_for(database, keyring, FIRST, timedelta(hours=2))
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO calls (call_uuid, session_uuid, sealed_call, decision, reason, started_at, must_end_by)"
            " VALUES ('a-call', %s, '', 'connect', '', now() - interval '3 hours', now() - interval '5 minutes')",
            (session.session_uuid,),
        )
    assert await found(database) == []
    async with database.transaction() as connection:
        await connection.execute("UPDATE calls SET ended_at = now() - interval '1 hour'")
    assert await found(database) == [session.session_uuid]


async def test_whoever_has_a_bill_or_is_erased_is_not_looked_for(database: Database, keyring: Keyring) -> None:
    session = await active(database, keyring)
    over = elapsed(session, session.expires_at).session
    await record(database, keyring, over)
    await turn_back_clock(database, session, LONG_AGO)
    assert await found(database) == [session.session_uuid]
    async with database.transaction() as connection:
        await settle_session(connection, keyring, settled(over, over.expires_at).session)
    await turn_back_clock(database, session, LONG_AGO)
    assert await found(database) == []
    async with database.transaction() as connection:
        # Of a bill that was closed by a run that the row knows nothing of, the settlement tells.
        await connection.execute("UPDATE sessions SET settled_at = NULL")
    assert await found(database) == []
    async with database.transaction() as connection:
        await connection.execute("DELETE FROM settlements")
    assert await found(database) == [session.session_uuid]
    async with database.transaction() as connection:
        await connection.execute("UPDATE sessions SET status = 'erased'")
        assert await open_sessions(connection, WITHIN) == (0, 0, 0.0)
    assert await found(database) == []


async def test_the_metrics_tell_of_them(database: Database, keyring: Keyring) -> None:
    allowed = Settings().closes_within
    assert allowed == timedelta(seconds=3600 + 300 + 600)
    await over_for(database, keyring, FIRST, allowed + timedelta(minutes=5))
    await over_for(database, keyring, "+12025550115", allowed - timedelta(minutes=5))
    told = (await Metrics(database, closes_within=allowed).exposed()).decode()
    samples = dict(line.rsplit(" ", 1) for line in told.splitlines() if not line.startswith("#"))
    assert samples["masking_sessions_open"] == "2.0"
    assert samples["masking_sessions_overdue"] == "1.0"
    assert 4800 <= float(samples["masking_sessions_overdue_oldest_seconds"]) < 4860
    assert not any(number.removeprefix("+") in told for number in (FIRST, SECOND))


async def test_open_ones_are_found_by_their_index(database: Database, keyring: Keyring) -> None:
    await active(database, keyring)
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        explained = await connection.execute(f"EXPLAIN (FORMAT JSON) SELECT count(*) FROM sessions s WHERE {BILL_OPEN}")
        (plan,) = await explained.fetchall()
    assert '"sessions_open"' in json.dumps(plan)
