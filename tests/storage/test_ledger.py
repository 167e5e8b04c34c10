"""The ledger in PostgreSQL: posted once, never changed, and whole."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from psycopg import errors

from masking.domain.bill.charges import Bill, bill
from masking.domain.bill.ledger import balances, entries_of, sums_by_currency
from masking.domain.bill.money import CarrierCharge
from masking.domain.bill.reconciliation import LedgerLeg, Unposted
from masking.domain.events import AnyCarrierEvent, Hangup
from masking.domain.lifecycle import elapsed, given_up, settled
from masking.domain.session import Session
from masking.privacy.keyring import Keyring
from masking.storage import ledger, sessions
from masking.storage.corrections import take_late
from masking.storage.database import Connection, Database
from masking.storage.ledger import Period, PostedEntry
from masking.storage.migrate import migrate
from tests.conftest import ACCOUNT
from tests.domain.conversation import answered_call, call, declined_call, hear
from tests.storage.test_inbox import active, claimed, post
from tests.storage.test_migrations import empty_url, move_to

__all__ = ["empty_url"]

pytestmark = pytest.mark.anyio

COST = CarrierCharge(amount=Decimal("0.0123456"), billed_duration=75)


def told(call_uuid: str = "call-1") -> list[AnyCarrierEvent]:
    """A call of now, of which the carrier tells what it costs."""
    now = datetime.now(UTC).replace(microsecond=0)
    return [
        event.model_copy(update={"at": now} | ({"carrier_charge": COST} if isinstance(event, Hangup) else {}))
        for event in answered_call(call(call_uuid, recorded=False))
    ]


def closed(session: Session, events: list[AnyCarrierEvent]) -> Session:
    now = datetime.now(UTC)
    heard = elapsed(hear(session, events).session, session.expires_at).session
    return settled(given_up(heard, now + timedelta(days=1)).session, now).session


async def with_fee(database: Database, keyring: Keyring) -> Session:
    session = await active(database, keyring)
    return session.model_copy(update={"session_fee": Decimal("0.5")})


async def settle(database: Database, keyring: Keyring, session: Session) -> Bill:
    async with database.pipelined() as connection:
        return await sessions.settle_session(connection, keyring, session)


async def posted(database: Database, session: Session) -> list[PostedEntry]:
    async with database.transaction() as connection:
        return await ledger.ledger_of(connection, session.session_uuid)


async def test_a_session_is_posted_once_however_often_it_is_settled(database: Database, keyring: Keyring) -> None:
    session = await with_fee(database, keyring)
    final = closed(session, told())

    totals, *_ = await asyncio.gather(*(settle(database, keyring, final) for _ in range(8)))

    entries = await posted(database, session)
    assert len(entries) == 5, "a fee, and price and cost of each leg"
    assert {entry.entry_id: entry.signed for entry in entries} == {e.entry_id: e.signed for e in entries_of(final)}
    sums = sums_by_currency(entries)["USD"]
    assert (sums.calls, sums.fee, sums.cost) == (totals.calls.amount, Decimal("0.5"), 2 * COST.amount)
    assert {entry.occurred_at for entry in entries if entry.leg} == {final.interactions["call-1"].ended_at}


async def test_of_two_settlements_the_first_stands_with_all_its_entries_and_no_others(
    database: Database, keyring: Keyring
) -> None:
    session = await with_fee(database, keyring)
    await settle(database, keyring, closed(session, []))
    await settle(database, keyring, closed(session, told()))
    assert [entry.kind for entry in await posted(database, session)] == ["fee"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET amount = amount + 1",
        "UPDATE ledger_entries SET posted_at = now() WHERE false",
        "DELETE FROM ledger_entries",
        "TRUNCATE ledger_entries",
    ],
)
async def test_the_database_refuses_to_change_or_forget_an_entry(
    database: Database, keyring: Keyring, migrated_url: str, statement: str
) -> None:
    session = await with_fee(database, keyring)
    await settle(database, keyring, closed(session, told()))
    before = await posted(database, session)

    # Even for the superuser that owns the tables.
    with psycopg.connect(migrated_url) as connection, pytest.raises(errors.RestrictViolation, match="append-only"):
        connection.execute(statement)

    assert await posted(database, session) == before


async def test_an_entry_of_nothing_or_from_an_account_to_itself_is_refused(database: Database) -> None:
    columns = "session_uuid, cause, leg, kind, currency, account_id, leg_uuid, amount, duration, billed_duration,"
    for amount, credit in (("0", "b"), ("-1", "b"), ("NaN", "b"), ("Infinity", "b"), ("1", "a")):
        with pytest.raises(errors.CheckViolation):
            async with database.transaction() as connection:
                await connection.execute(
                    f"INSERT INTO ledger_entries ({columns} occurred_at, debit, credit)"
                    " VALUES ('s', 'c', '', 'fee', 'USD', 'A', '', %s::numeric, 0, 0, now(), 'a', %s)",
                    (amount, credit),
                )


async def test_what_comes_late_is_posted_as_entries_of_its_own(database: Database, keyring: Keyring) -> None:
    session = await with_fee(database, keyring)
    events = told()
    ends = [event for event in events if isinstance(event, Hangup)]
    await settle(database, keyring, closed(session, events[:3]))
    before = await posted(database, session)
    await post(database, keyring, session, *ends)

    for _ in range(2):
        for waiting in await claimed(database, keyring):
            for _ in range(2):
                async with database.transaction() as connection:
                    assert await take_late(connection, keyring, waiting)

    entries = await posted(database, session)
    assert entries[: len(before)] == before
    assert {entry.cause for entry in entries[len(before) :]} == {event.event_id for event in ends}
    whole = closed(session, events)
    assert balances(entries) == balances(entries_of(whole))
    assert balances(entries)[(f"receivable:{ACCOUNT}", "USD")] == bill(whole).total_amount


async def test_a_month_has_what_was_posted_in_it(database: Database, keyring: Keyring) -> None:
    session = await with_fee(database, keyring)
    await settle(database, keyring, closed(session, told()))
    (moment,) = {entry.posted_at for entry in await posted(database, session)}

    async def found(begin: datetime, end: datetime, account: str | None = None) -> int:
        async with database.transaction() as connection:
            return len([entry async for entry in ledger.posted_in(connection, Period(begin, end), account)])

    instant = timedelta(microseconds=1)
    assert await found(moment, moment + instant) == 5
    assert await found(moment - instant, moment) == 0
    assert await found(moment, moment + instant, ACCOUNT) == 5
    assert await found(moment, moment + instant, "MAOTHERACCOUNT000000") == 0


async def test_legs_are_found_by_the_carriers_ids_and_by_when_they_ended(database: Database, keyring: Keyring) -> None:
    session = await active(database, keyring)
    events = told()
    ended_at = events[-1].at
    await settle(database, keyring, closed(session, events))
    caller = LedgerLeg("call-1-caller", session.session_uuid, 80, {"USD": COST.amount}, 75, ended_at)
    callee = caller._replace(leg_uuid="call-1-callee", duration=75)

    async def ended_in(connection: Connection, begin: datetime, end: datetime) -> list[LedgerLeg]:
        return [leg async for leg in ledger.legs_ended_in(connection, Period(begin, end))]

    async with database.transaction() as connection:
        assert await ledger.legs_by_id(connection, ["call-1-caller", "nobody"]) == {"call-1-caller": caller}
        assert await ended_in(connection, ended_at, ended_at + timedelta(seconds=1)) == [callee, caller]
        assert await ended_in(connection, ended_at - timedelta(hours=1), ended_at) == []


async def test_why_the_ledger_lacks_a_leg(database: Database, keyring: Keyring) -> None:
    open_, untold = await active(database, keyring), await active(database, keyring, "+12025550111")
    async with database.transaction() as connection:
        heard = hear(open_, told("open")[:3]).session
        await sessions.record_session(connection, keyring, heard, ())
    await settle(database, keyring, closed(untold, told("untold")[:3]))
    await post(database, keyring, open_, declined_call("busy"))

    async with database.transaction() as connection:
        why = await ledger.why_unposted(connection, ["open-caller", "untold-callee", "busy", "never"])
    assert why == {
        "open-caller": (Unposted.UNSETTLED, open_.session_uuid),
        "untold-callee": (Unposted.UNTOLD, untold.session_uuid),
        "busy": (Unposted.DECLINED, open_.session_uuid),
        "never": (Unposted.UNHEARD, ""),
    }


async def test_bills_that_were_closed_before_the_ledger_are_posted_by_the_migration(
    empty_url: str, keyring: Keyring
) -> None:
    move_to(empty_url, "0013")
    closed_at = datetime(2026, 10, 1, tzinfo=UTC)
    with psycopg.connect(empty_url) as connection:
        connection.execute("SET session_replication_role = replica")
        for session_uuid, amount in (("paid", "0.034"), ("free", "0")):
            connection.execute(
                "INSERT INTO settlements VALUES (%s, %s, 'USD', 2, %s, 240, 0, %s, 60, NULL, %s)",
                (session_uuid, ACCOUNT, amount, amount, closed_at),
            )
        for event_id, amount in (("more", "0.0085"), ("less", "-0.017"), ("none", "0")):
            connection.execute(
                "INSERT INTO corrections VALUES (%s, 'paid', 1, 61, 120, %s, 'USD', %s)",
                (event_id, amount, closed_at + timedelta(days=31)),
            )
    migrate(empty_url)

    async with Database(empty_url) as database, database.transaction() as connection:
        entries = await ledger.ledger_of(connection, "paid")
        assert await ledger.ledger_of(connection, "free") == []
    assert {(entry.cause, str(entry.signed), entry.posted_at.month) for entry in entries} == {
        ("settlement", "0.034", 10), ("more", "0.0085", 11), ("less", "-0.017", 11),
    }  # fmt: skip
    assert balances(entries)[(f"receivable:{ACCOUNT}", "USD")] == Decimal("0.0255")
