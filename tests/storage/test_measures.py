"""What operators watch."""

from __future__ import annotations

from datetime import timedelta

import pytest

from masking.domain.callbacks import Callback
from masking.domain.lifecycle import opened
from masking.gateway.metrics import Metrics
from masking.privacy.keyring import Keyring
from masking.storage import inbox
from masking.storage.callback_endpoints import failing, note_rest
from masking.storage.database import Database
from masking.storage.measures import Backlog, Pool, backlog, pools
from masking.storage.sessions import session_cipher
from tests.conftest import ACCOUNT
from tests.domain.conversation import FIRST, SECOND, answered_call, call
from tests.storage.test_routes import asked, open_, record, turn_back_clock

pytestmark = pytest.mark.anyio


async def us_pool(database: Database) -> Pool:
    async with database.transaction() as connection:
        (found,) = [pool for pool in await pools(connection) if pool.country == "US"]
    return found


async def test_headroom_is_what_the_two_busiest_parties_leave(database: Database, keyring: Keyring) -> None:
    assert await us_pool(database) == Pool(ACCOUNT, "US", available=3, draining=0, blocked=0, in_use=0, headroom=3)

    one = asked(FIRST, "+12025550111")
    await open_(database, keyring, one)
    await open_(database, keyring, asked("+12025550112", "+12025550113"))
    assert await us_pool(database) == Pool(ACCOUNT, "US", available=3, draining=0, blocked=0, in_use=1, headroom=1)

    await open_(database, keyring, asked(FIRST, "+12025550114"))
    async with database.transaction() as connection:
        await connection.execute("UPDATE numbers SET state = 'draining' WHERE number = '+12025550197'")
    assert await us_pool(database) == Pool(ACCOUNT, "US", available=2, draining=1, blocked=0, in_use=2, headroom=-1)

    await turn_back_clock(database, one, timedelta(seconds=661))
    assert (await us_pool(database)).headroom == 0, "what has cooled is free again"


async def test_a_positive_headroom_keeps_its_word(database: Database, keyring: Keyring) -> None:
    """Any two parties find a number while the headroom is at least one."""
    for second in ("+12025550111", "+12025550112", "+12025550113", "+12025550114"):
        headroom = (await us_pool(database)).headroom
        given = await open_(database, keyring, asked(FIRST, second))
        assert given is not None or headroom < 1


async def test_the_backlog_and_its_age_are_told_without_a_number_in_them(database: Database, keyring: Keyring) -> None:
    session = asked(FIRST, SECOND)
    await open_(database, keyring, session)
    metrics = Metrics(database)
    async with database.transaction() as connection:
        assert await backlog(connection) == Backlog(0, 0.0, 0)
        cipher = await session_cipher(connection, keyring, session.session_uuid)
        assert cipher is not None
        for event in answered_call(call())[:3]:
            await inbox.post(connection, session.session_uuid, cipher, event)
        await connection.execute("UPDATE inbox SET received_at = received_at - interval '30 s'")
        (first,) = await inbox.claim(connection, keyring, 1)
        await inbox.mark_late(connection, first.id)

    lines = (await metrics.exposed()).decode().splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert samples["masking_inbox_waiting"] == "2.0"
    assert 30 <= float(samples["masking_inbox_oldest_seconds"]) < 60
    assert samples["masking_inbox_late"] == "1.0"
    assert samples[f'masking_pool_headroom{{account="{ACCOUNT}",country="US"}}'] == "1.0"
    assert samples[f'masking_pool_numbers{{account="{ACCOUNT}",country="US",state="available"}}'] == "3.0"
    assert not any(secret.removeprefix("+") in "\n".join(lines) for secret in (FIRST, SECOND, "12025550199"))


async def test_undelivered_callbacks_and_failing_endpoints_are_told(database: Database, keyring: Keyring) -> None:
    session = asked(FIRST, SECOND)
    await open_(database, keyring, session)
    queued = [
        Callback(
            callback_id=f"{session.session_uuid}:session:{n}", kind="session", sequence=n, name="SessionTimeout",
            at=session.created_at, url="https://customer.example/events", method="POST", params={},
        )
        for n in (1, 2, 3)
    ]  # fmt: skip
    await record(database, keyring, opened(session, "+12025550199").session, *queued)
    async with database.transaction() as connection:
        await connection.execute("UPDATE callbacks SET created_at = created_at - interval '50 s' WHERE sequence < 3")
        await connection.execute("UPDATE callbacks SET state = 'dead' WHERE sequence = 1")
        rest = timedelta(seconds=2)
        await note_rest(connection, keyring, ACCOUNT, "https://customer.example", 3, "HTTP 500", rest)
        old = timedelta(hours=-2)
        await note_rest(connection, keyring, ACCOUNT, "https://gone.example", 9, "no such host", old)
        assert [each.endpoint for each in await failing(connection, keyring)] == ["https://customer.example"]

    lines = (await Metrics(database).exposed()).decode().splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert samples["masking_callbacks_waiting"] == "2.0"
    assert 50 <= float(samples["masking_callbacks_oldest_seconds"]) < 80
    assert samples["masking_callbacks_dead"] == "1.0"
    assert samples["masking_callback_endpoints_failing"] == "1.0"
    assert "customer.example" not in "\n".join(lines)
