"""Comparing the ledger with a carrier's own records of calls: every difference, and what it most likely comes from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import NamedTuple

from masking.domain.bill.ledger import Kind, LedgerEntry
from masking.domain.bill.money import QUANTUM, ZERO

NEAR_THE_EDGE = timedelta(hours=1)


class CarrierRecord(NamedTuple):
    """A leg as the carrier has it on record. What its file does not tell is None, or empty.

    Attributes:
        line: where it stands in the file.
        direction: `inbound` or `outbound`.
        duration, billed_duration: seconds, from its answer.
    """

    line: int
    leg_uuid: str
    amount: Decimal
    currency: str
    direction: str = ""
    duration: int | None = None
    billed_duration: int | None = None
    ended_at: datetime | None = None


class LedgerLeg(NamedTuple):
    """A leg as the ledger has it, corrections included.

    Attributes:
        duration: seconds from its answer.
        costs: what the carrier takes for it, by currency; empty where nobody told us.
        billed_duration: seconds that the carrier bills; 0 without a cost.
        occurred_at: when it ended, UTC.
    """

    leg_uuid: str
    session_uuid: str
    duration: int
    costs: Mapping[str, Decimal]
    billed_duration: int
    occurred_at: datetime


class Unposted(StrEnum):
    """Why the ledger has nothing of a leg that the carrier bills."""

    UNHEARD = "no event of it ever came: its webhooks were lost, or it belongs to no session"
    UNHEARD_OUTBOUND = "no event of it ever came: its callbacks were lost, or somebody else dialled by this account"
    DECLINED = "its call was not connected (busy, a PIN, an unknown caller), which the carrier bills all the same"
    UNSETTLED = "its session is not settled yet"
    SUMMED = "its session was settled before there was a ledger, which has only the sum of its calls"
    UNTOLD = "its end was never told, so that it counts as 0 s; or neither a price nor a cost of it was known"


class What(StrEnum):
    """How ledger and carrier differ about a leg."""

    MISSING_HERE = "missing here"
    MISSING_THERE = "missing at the carrier"
    TWICE = "twice in the file"
    DURATION = "duration differs"
    BILLED = "billed seconds differ"
    AMOUNT = "amount differs"
    CURRENCY = "currency differs"


class Difference(NamedTuple):
    """One difference.

    Attributes:
        session_uuid: empty where the leg is of no session.
        ours, theirs: what each says; empty where one says nothing.
        cause: the likely one, in words.
    """

    what: What
    leg_uuid: str
    session_uuid: str
    ours: str
    theirs: str
    cause: str


def as_leg(entries: Sequence[LedgerEntry]) -> LedgerLeg:
    """A leg from all its entries, corrections included."""
    charges, costs = ([e for e in entries if e.kind is kind] for kind in (Kind.CHARGE, Kind.COST))
    by_currency: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    for entry in costs:
        by_currency[entry.currency] += entry.signed
    return LedgerLeg(
        leg_uuid=entries[0].leg_uuid,
        session_uuid=entries[0].session_uuid,
        duration=sum(entry.duration for entry in charges or costs),
        costs=dict(by_currency),
        billed_duration=sum(entry.billed_duration for entry in costs),
        occurred_at=max(entry.occurred_at for entry in entries),
    )


def differences(
    record: CarrierRecord, ours: LedgerLeg | None, unposted: Unposted = Unposted.UNHEARD, session_uuid: str = ""
) -> Iterator[Difference]:
    """How a carrier's record and the ledger differ about a leg.

    Args:
        ours: None where the ledger has nothing of it; then `unposted` tells why, and of which session it is.
    """
    if ours is None:
        if record.amount or record.duration or record.billed_duration:
            told = f"{record.amount:f} {record.currency}"
            if unposted is Unposted.UNHEARD and record.direction == "outbound":
                unposted = Unposted.UNHEARD_OUTBOUND
            yield Difference(What.MISSING_HERE, record.leg_uuid, session_uuid, "", told, unposted)
        return

    def differ(what: What, mine: object, its: object, cause: str) -> Difference:
        return Difference(what, record.leg_uuid, ours.session_uuid, str(mine), str(its), cause)

    same_length = record.duration is None or record.duration == ours.duration
    if not same_length:
        yield differ(What.DURATION, f"{ours.duration} s", f"{record.duration} s", _why_duration(record, ours))
    if record.currency not in ours.costs and any(ours.costs.values()):
        yield differ(
            What.CURRENCY,
            ", ".join(sorted(ours.costs)),
            record.currency,
            "the carrier bills in another currency",
        )
        return
    billed = record.billed_duration
    if ours.costs and billed is not None and billed != ours.billed_duration:
        why = "other increments or another minimum" if same_length else "follows from the duration"
        yield differ(What.BILLED, f"{ours.billed_duration} s", f"{billed} s", why)
    cost = ours.costs.get(record.currency, ZERO)
    if _rounded(cost) != _rounded(record.amount):
        yield differ(What.AMOUNT, f"{cost:f} {record.currency}", f"{record.amount:f} {record.currency}",
                     _why_amount(record, ours, cost))  # fmt: skip


def missing_there(ours: LedgerLeg, begin: datetime, end: datetime) -> Difference:
    """A leg of the period that the carrier's file does not have."""
    if not ours.leg_uuid:
        cause = "no event told the carrier's id of this leg, so that it cannot be looked for"
    elif not any(ours.costs.values()):
        cause = "the carrier took nothing for it as far as we know, and may not list it"
    elif ours.occurred_at - begin < NEAR_THE_EDGE or end - ours.occurred_at < NEAR_THE_EDGE:
        cause = "it ended near the period's edge, and may be in the neighbouring file"
    else:
        cause = "the carrier told of its end and does not bill it, or the file is not whole"
    told = ", ".join(f"{amount:f} {currency}" for currency, amount in sorted(ours.costs.items()))
    return Difference(What.MISSING_THERE, ours.leg_uuid, ours.session_uuid, told or f"{ours.duration} s", "", cause)


def twice(record: CarrierRecord) -> Difference:
    """A leg that an earlier line of the file has, too."""
    return Difference(What.TWICE, record.leg_uuid, "", "", f"{record.amount:f} {record.currency}",
                      f"line {record.line} repeats an earlier one; the first was compared")  # fmt: skip


def _why_duration(record: CarrierRecord, ours: LedgerLeg) -> str:
    if record.duration is not None and abs(record.duration - ours.duration) <= 1:
        return "seconds that have begun are counted by one and not by the other"
    return "its hangup told other seconds than the record does"


def _why_amount(record: CarrierRecord, ours: LedgerLeg, cost: Decimal) -> str:
    if not ours.costs:
        return "no cost was known of it: its hangup told none, and the rate card has none"
    billed = ours.billed_duration if record.billed_duration is None else record.billed_duration
    mine, its = (_per_minute(*each) for each in ((cost, ours.billed_duration), (record.amount, billed)))
    if mine is None or its is None:
        return "one of them bills no seconds of it"
    if mine == its:
        return f"follows from the billed seconds: both take {mine:f} a minute"
    return f"the rates differ: {mine:f} a minute here, {its:f} at the carrier, connection fees included"


def _per_minute(amount: Decimal, billed: int) -> Decimal | None:
    return _rounded(amount * 60 / billed) if billed > 0 else None


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(QUANTUM, ROUND_HALF_UP)
