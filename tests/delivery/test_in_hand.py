"""Callbacks that a worker queues are sent by its own sender at once, in order, and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from activities.sessions import RecordSession, SessionActivities
from masking.delivery.sender import CallbackSender
from masking.domain.callbacks import Callback
from masking.domain.session import Session
from masking.privacy.keyring import Keyring
from masking.storage.callbacks import claim
from masking.storage.database import Database
from tests.delivery.test_sender import Customer, Queue, sending, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def customer() -> AsyncIterator[Customer]:
    async with Customer().listening() as customer:
        yield customer


@pytest.fixture
def queue(database: Database, keyring: Keyring) -> Queue:
    return Queue(database, keyring)


@pytest.fixture
async def sender(
    database: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[CallbackSender]:
    """It looks for nothing by itself."""
    monkeypatch.setattr("masking.delivery.sender.LOOK_EVERY_S", 3600.0)
    async with sending(database, keyring, read_timeout=100) as sender:
        yield sender


def told(session: Session, url: str, *sequences: int) -> tuple[Callback, ...]:
    return tuple(
        Callback(
            callback_id=f"{session.session_uuid}:session:{n}", kind="session", sequence=n, name="SessionTimeout",
            at=datetime.now(UTC), url=url, method="POST", params={"SequenceNumber": str(n)},
        )
        for n in sequences
    )  # fmt: skip


async def held(database: Database) -> int:
    async with database.transaction() as connection:
        row = await (await connection.execute("SELECT count(*) FROM callback_claims")).fetchone()
    assert row is not None
    return int(str(row[0]))


async def let_go_of_all(database: Database) -> None:
    async with asyncio.timeout(60):
        while await held(database):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_what_is_recorded_is_sent_without_a_look_and_what_follows_meanwhile_behind_it(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer, sender: CallbackSender
) -> None:
    activities, customer.slow_s = SessionActivities(database, keyring, sender), 0.05
    sessions = [await queue.session() for _ in range(3)]
    for first in range(1, 12, 2):
        for number, session in enumerate(sessions):
            callbacks = told(session, customer.url(f"session-{number}"), first, first + 1)
            await activities.record_session(RecordSession(session=session, callbacks=callbacks))
        await asyncio.sleep(0.03)
    await until(lambda: len(customer.taken) == 36)
    assert {tuple(each) for each in customer.by_path.values()} == {tuple(str(n) for n in range(1, 13))}
    await let_go_of_all(database)
    assert {state for _, state, _, _ in await queue.states()} == {"delivered"}


async def test_a_record_that_is_repeated_sends_nothing_again(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer, sender: CallbackSender
) -> None:
    activities, session = SessionActivities(database, keyring, sender), await queue.session()
    command = RecordSession(session=session, callbacks=told(session, customer.url(), 1, 2))
    await asyncio.gather(*(activities.record_session(command) for _ in range(4)))
    await until(lambda: len(customer.taken) == 2)
    await let_go_of_all(database)
    await activities.record_session(command)
    more = RecordSession(session=session, callbacks=(*command.callbacks, *told(session, customer.url(), 3)))
    await activities.record_session(more)
    await until(lambda: len(customer.taken) == 3)
    assert customer.taken == ["1", "2", "3"]


async def test_what_another_sender_has_in_hand_is_not_overtaken(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer, sender: CallbackSender
) -> None:
    session = await queue.session()
    await queue.put(session, customer.url(), 1)
    async with database.transaction() as connection:
        await claim(connection, keyring, 1, timedelta(hours=1))
    activities = SessionActivities(database, keyring, sender)
    await activities.record_session(RecordSession(session=session, callbacks=told(session, customer.url(), 2)))
    await asyncio.sleep(0.5)
    assert customer.taken == []
    await queue.claims_end()
    sender.wake()
    await until(lambda: len(customer.taken) == 2)
    assert customer.taken == ["1", "2"]


async def test_without_room_it_waits_for_its_turn(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer, sender: CallbackSender,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("masking.delivery.sender.SESSIONS_AT_ONCE", 2)
    activities, customer.stall = SessionActivities(database, keyring, sender), True
    sessions = [await queue.session() for _ in range(4)]
    for number, session in enumerate(sessions):
        await activities.record_session(RecordSession(session=session, callbacks=told(session, customer.url(), number)))
    await until(lambda: len(customer.taken) == 2)
    assert sender.lease() is None
    assert await held(database) == 2
    customer.released.set()
    await until(lambda: len(customer.taken) == 4)
    await let_go_of_all(database)
    assert sender.lease() is not None
