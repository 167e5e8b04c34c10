"""The ledger in PostgreSQL: entries are added, never changed; the database refuses anything else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.bill.charges import Bill
from masking.domain.bill.ledger import SETTLEMENT, LedgerEntry
from masking.domain.bill.reconciliation import LedgerLeg, Unposted, as_leg
from masking.storage.database import Connection

FETCHED = 1000
"""Entries at a time."""

_COLUMNS = (
    ("session_uuid", "text"),
    ("cause", "text"),
    ("leg", "text"),
    ("kind", "text"),
    ("currency", "text"),
    ("account_id", "text"),
    ("leg_uuid", "text"),
    ("debit", "text"),
    ("credit", "text"),
    ("amount", "numeric"),
    ("duration", "integer"),
    ("billed_duration", "integer"),
    ("occurred_at", "timestamptz"),
)
_NAMES = ", ".join(name for name, _ in _COLUMNS)
_ARRAYS = ", ".join(f"%({name})s::{kind}[]" for name, kind in _COLUMNS)
_NEW = f"SELECT e.* FROM unnest({_ARRAYS}) AS e ({_NAMES})"  # noqa: S608 fixed names
_POST = f"INSERT INTO ledger_entries ({_NAMES}) {_NEW} ON CONFLICT DO NOTHING"
# With the settlement's row, or not at all: whoever comes second adds nothing, not even what the first one lacked.
_SETTLEMENT = (
    "WITH settled AS (INSERT INTO settlements (session_uuid, account_id, currency, total_call_count, total_call_amount,"
    "  total_call_billed_duration, session_amount, total_session_amount, duration, last_interaction_time, settled_at)"
    "  VALUES (%(bill_session)s, %(bill_account)s, %(bill_currency)s, %(call_count)s, %(call_amount)s,"
    "  %(call_billed)s, %(session_amount)s, %(total_amount)s, %(session_duration)s, %(last_interaction)s,"
    "  %(settled_at)s) ON CONFLICT (session_uuid) DO NOTHING RETURNING session_uuid)"
)
_SETTLE = f"{_SETTLEMENT} INSERT INTO ledger_entries ({_NAMES}) {_NEW} WHERE EXISTS (SELECT FROM settled)"


class PostedEntry(LedgerEntry):
    """An entry as it stands in the ledger. `posted_at` is the database's clock, UTC."""

    posted_at: datetime


async def settle(connection: Connection, final: Bill, entries: Sequence[LedgerEntry]) -> None:
    """Write the bill that was closed and its entries, once: the first settlement stands."""
    await connection.execute(
        _SETTLE,
        {
            "bill_session": final.session_uuid,
            "bill_account": final.account_id,
            "bill_currency": final.currency,
            "call_count": final.calls.call_count,
            "call_amount": final.calls.amount,
            "call_billed": final.calls.billed_duration,
            "session_amount": final.session_amount,
            "total_amount": final.total_amount,
            "session_duration": final.duration,
            "last_interaction": final.last_interaction_time,
            "settled_at": final.settled_at,
            **_arrays(entries),
        },
    )


async def post(connection: Connection, entries: Sequence[LedgerEntry]) -> None:
    """Add entries. One that is there already is not added again."""
    if entries:
        await connection.execute(_POST, _arrays(entries))


def _arrays(entries: Sequence[LedgerEntry]) -> dict[str, list[object]]:
    return {name: [getattr(entry, name) for entry in entries] for name, _ in _COLUMNS}


async def ledger_of(connection: Connection, session_uuid: str) -> list[PostedEntry]:
    """A session's entries, in the order in which they were posted."""
    async with connection.cursor(row_factory=class_row(PostedEntry)) as cursor:
        await cursor.execute(
            f"SELECT {_NAMES}, posted_at FROM ledger_entries WHERE session_uuid = %s"  # noqa: S608 fixed names
            " ORDER BY posted_at, occurred_at, cause, leg, kind, currency",
            (session_uuid,),
        )
        return await cursor.fetchall()


class Period(NamedTuple):
    """From a moment on, until just before another one; UTC."""

    begin: datetime
    end: datetime


async def posted_in(connection: Connection, period: Period, account_id: str | None) -> AsyncGenerator[PostedEntry]:
    """The entries that were posted in a period, in order; read some at a time, in a transaction."""
    async with connection.cursor("ledger", row_factory=class_row(PostedEntry)) as cursor:
        cursor.itersize = FETCHED
        await cursor.execute(
            f"SELECT {_NAMES}, posted_at FROM ledger_entries"  # noqa: S608 fixed names
            " WHERE posted_at >= %(begin)s AND posted_at < %(end)s"
            " AND (%(account)s::text IS NULL OR account_id = %(account)s)"
            " ORDER BY posted_at, session_uuid, occurred_at, cause, leg, kind, currency",
            {**period._asdict(), "account": account_id},
        )
        async for entry in cursor:
            yield entry


async def legs_by_id(connection: Connection, leg_uuids: Sequence[str]) -> dict[str, LedgerLeg]:
    """The legs with these ids of the carrier's that the ledger has, by id."""
    async with connection.cursor(row_factory=class_row(LedgerEntry)) as cursor:
        await cursor.execute(
            f"SELECT {_NAMES} FROM ledger_entries WHERE leg_uuid = ANY(%s) ORDER BY leg_uuid",  # noqa: S608 fixed names
            (list(leg_uuids),),
        )
        entries = await cursor.fetchall()
    return {leg_uuid: as_leg(list(of_leg)) for leg_uuid, of_leg in groupby(entries, lambda entry: entry.leg_uuid)}


async def legs_ended_in(connection: Connection, period: Period) -> AsyncGenerator[LedgerLeg]:
    """The legs in the ledger that ended in a period; read some at a time, in a transaction."""
    async with connection.cursor("legs", row_factory=class_row(LedgerEntry)) as cursor:
        cursor.itersize = FETCHED
        await cursor.execute(
            f"SELECT {_NAMES} FROM ledger_entries WHERE leg <> ''"  # noqa: S608 fixed names
            # Nothing is posted before it has happened, but for clocks that differ.
            " AND posted_at >= %(begin)s - interval '1 day' AND occurred_at >= %(begin)s AND occurred_at < %(end)s"
            " ORDER BY session_uuid, leg_uuid, CASE leg_uuid WHEN '' THEN cause END",
            period._asdict(),
        )
        of_leg: list[LedgerEntry] = []
        async for entry in cursor:
            if of_leg and _leg_key(entry) != _leg_key(of_leg[0]):
                yield as_leg(of_leg)
                of_leg = []
            of_leg.append(entry)
        if of_leg:
            yield as_leg(of_leg)


def _leg_key(entry: LedgerEntry) -> tuple[str, str]:
    """What tells a leg apart; one whose id nobody told, by the event that ended it."""
    return entry.session_uuid, entry.leg_uuid or entry.cause


class WhyUnposted(NamedTuple):
    """Why the ledger has nothing of a leg, and the session that it belongs to; empty where it belongs to none."""

    unposted: Unposted
    session_uuid: str


class _KnownLeg(NamedTuple):
    leg_uuid: str
    session_uuid: str
    settled: bool
    summed: bool


async def why_unposted(connection: Connection, leg_uuids: Sequence[str]) -> dict[str, WhyUnposted]:
    """Why the ledger has nothing of these legs, by the carrier's ids of them."""
    ids = list(leg_uuids)
    why = dict.fromkeys(ids, WhyUnposted(Unposted.UNHEARD, ""))
    async with connection.cursor(row_factory=class_row(_KnownLeg)) as cursor:
        await cursor.execute(
            "SELECT r.resource_id AS leg_uuid, r.session_uuid, t.session_uuid IS NOT NULL AS settled,"
            " EXISTS (SELECT FROM ledger_entries e WHERE e.session_uuid = r.session_uuid AND e.cause = %(settlement)s"
            "  AND e.kind = 'charge') AS summed"
            " FROM resources r LEFT JOIN settlements t USING (session_uuid)"
            " WHERE r.kind = 'leg' AND r.resource_id = ANY(%(ids)s)",
            {"ids": ids, "settlement": SETTLEMENT},
        )
        for leg in await cursor.fetchall():
            cause = Unposted.UNSETTLED if not leg.settled else Unposted.SUMMED if leg.summed else Unposted.UNTOLD
            why[leg.leg_uuid] = WhyUnposted(cause, leg.session_uuid)
    declined = await connection.execute(
        "SELECT i.session_uuid, w.leg_uuid FROM unnest(%s::text[]) AS w (leg_uuid)"
        " JOIN inbox i ON i.event_id IN (w.leg_uuid || ':declined', w.leg_uuid || ':asked')",
        ([leg_uuid for leg_uuid in ids if not why[leg_uuid].session_uuid],),
    )
    for session_uuid, leg_uuid in await declined.fetchall():
        why[str(leg_uuid)] = WhyUnposted(Unposted.DECLINED, str(session_uuid))
    return why
