"""Erasing beside whoever holds or erases the same session: two transactions, interleaved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from masking.domain.lifecycle import elapsed, settled
from masking.privacy.keyring import Keyring
from masking.storage import erasure, inbox, sessions
from masking.storage.corrections import take_late
from masking.storage.database import Database
from masking.storage.measures import backlog
from tests.domain.conversation import answered_call, call
from tests.storage.test_inbox import active

pytestmark = pytest.mark.anyio

T = TypeVar("T")


@pytest.fixture
async def closed(database: Database, keyring: Keyring) -> str:
    """A session that may be erased."""
    session = await active(database, keyring)
    final = settled(elapsed(session, session.expires_at).session, datetime.now(UTC)).session
    async with database.transaction() as connection:
        await sessions.settle_session(connection, keyring, final)
        await connection.execute(
            "UPDATE routes SET expires_at = now() - %(by)s, held_until = now() - %(by)s", {"by": timedelta(days=1)}
        )
    return session.session_uuid


async def until_it_waits(database: Database, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin something that has to wait for a lock, and return once it does."""
    task = asyncio.create_task(work)
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(20), database.autocommit() as connection:
        while not task.done() and not await (await connection.execute(waits)).fetchone():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return task


async def erased(database: Database, session_uuid: str) -> erasure.Erased | str:
    async with database.transaction() as connection:
        return await erasure.erase(connection, session_uuid)


async def held(database: Database, session_uuid: str) -> bool:
    async with database.transaction() as connection:
        return await erasure.hold(connection, session_uuid, "a court's order")


async def test_a_session_that_is_put_under_a_legal_hold_while_its_erasure_waits_is_not_erased(
    database: Database, closed: str
) -> None:
    async with database.transaction() as connection:
        assert await erasure.hold(connection, closed, "a court's order")
        erasing = await until_it_waits(database, erased(database, closed))
    assert await erasing == "it is under a legal hold: a court's order"


async def test_whoever_puts_a_session_under_a_legal_hold_while_it_is_erased_is_told_that_it_is_gone(
    database: Database, closed: str
) -> None:
    async with database.transaction() as connection:
        assert isinstance(await erasure.erase(connection, closed), erasure.Erased)
        holding = await until_it_waits(database, held(database, closed))
    assert not await holding
    async with database.transaction() as connection:
        assert await erasure.holds(connection, 10) == []


async def test_two_who_erase_a_session_at_once_both_learn_that_it_is_erased(database: Database, closed: str) -> None:
    async with database.transaction() as connection:
        first = await erasure.erase(connection, closed)
        second = await until_it_waits(database, erased(database, closed))
    assert await second == first


async def test_a_session_that_comes_to_hold_its_parties_while_its_erasure_waits_is_not_erased(
    database: Database, closed: str
) -> None:
    async with database.transaction() as connection:
        await connection.execute("SELECT FROM sessions WHERE session_uuid = %s FOR NO KEY UPDATE", (closed,))
        erasing = await until_it_waits(database, erased(database, closed))
        await connection.execute("UPDATE routes SET held_until = now() + interval '1 hour'")
    assert "its parties are still kept" in str(await erasing)


async def put_in(database: Database, keyring: Keyring, session_uuid: str) -> None:
    async with database.transaction() as connection:
        cipher = await sessions.session_cipher(connection, keyring, session_uuid)
        assert cipher is not None
        await inbox.post(connection, session_uuid, cipher, answered_call(call())[-1])


async def test_a_late_event_that_is_in_hand_and_an_erasure_wait_for_each_other_in_no_circle(
    database: Database, keyring: Keyring, closed: str
) -> None:
    await put_in(database, keyring, closed)
    async with database.transaction() as connection:
        (waiting,) = await inbox.claim(connection, keyring, 50)
        erasing = await until_it_waits(database, erased(database, closed))
        assert await take_late(connection, keyring, waiting)
    assert isinstance(await erasing, erasure.Erased)


async def test_an_event_that_no_workflow_had_does_not_wait_any_more_once_its_session_is_erased(
    database: Database, keyring: Keyring, closed: str
) -> None:
    await put_in(database, keyring, closed)
    assert isinstance(await erased(database, closed), erasure.Erased)

    async with database.transaction() as connection:
        assert await inbox.claim(connection, keyring, 50) == []
        assert await inbox.standing(connection, "unreadable", 10) == []
        assert (await backlog(connection)).waiting == 0
