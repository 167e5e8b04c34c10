"""The ledger: what a session's events owe, in double entries. They are only ever added to.

Every entry moves one amount from one account to another, so that debits and credits balance by
their form. Nothing in it is personal: it names sessions, accounts, and the carrier's ids of legs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal, NamedTuple

from masking.domain.bill.charges import leg_charge, leg_cost, session_amount
from masking.domain.bill.money import ZERO
from masking.domain.events import AnyCarrierEvent, Hangup, LegName
from masking.domain.interaction import Interaction, Leg
from masking.domain.model import Model
from masking.domain.session import Session

SETTLEMENT = "settlement"
"""The cause of what no carrier's event brought about."""

REVENUE_CALLS, REVENUE_SESSIONS = "revenue:calls", "revenue:sessions"
COST_CALLS, PAYABLE_CARRIER = "cost:calls", "payable:carrier"


class Kind(StrEnum):
    """What an entry is about."""

    CHARGE = "charge"
    """The customer's charge for a leg."""
    FEE = "fee"
    """The customer's charge for the session."""
    COST = "cost"
    """The carrier's charge for a leg."""


class LedgerEntry(Model):
    """An amount from one account to another.

    Attributes:
        cause: the id of the event that brought it about; `SETTLEMENT` for the session's fee.
        leg, leg_uuid: which leg, and the carrier's id of it; empty for the session's fee.
        amount: more than 0, exact; a correction downwards goes from `credit` back to `debit`.
        duration, billed_duration: seconds of the leg that come with it; fewer than 0 where they are taken back.
        occurred_at: when the leg ended, or the session began, UTC.
    """

    session_uuid: str
    account_id: str
    cause: str
    kind: Kind
    leg: LegName | Literal[""] = ""
    leg_uuid: str = ""
    debit: str
    credit: str
    amount: Decimal
    currency: str
    duration: int = 0
    billed_duration: int = 0
    occurred_at: datetime

    @property
    def entry_id(self) -> str:
        """The entry's identity: the same event gives the same, however often it is told."""
        return ":".join((self.session_uuid, self.cause, self.leg or "session", self.kind, self.currency))

    @property
    def signed(self) -> Decimal:
        """The amount; below 0 where it takes back an earlier one."""
        return self.amount if self.debit == accounts(self.kind, self.account_id)[0] else -self.amount


class Sums(NamedTuple):
    """What a session's entries of one currency add up to: the customer's calls and fee, and the carrier's cost."""

    calls: Decimal = ZERO
    fee: Decimal = ZERO
    cost: Decimal = ZERO


def accounts(kind: Kind, account_id: str) -> tuple[str, str]:
    """Which account is debited and which credited."""
    receivable = f"receivable:{account_id}"
    return {
        Kind.CHARGE: (receivable, REVENUE_CALLS),
        Kind.FEE: (receivable, REVENUE_SESSIONS),
        Kind.COST: (COST_CALLS, PAYABLE_CARRIER),
    }[kind]


def entries_of(session: Session) -> tuple[LedgerEntry, ...]:
    """The entries of a session's settlement, in the order of its calls. An amount of 0 makes none."""
    fee = _Item(Kind.FEE, "", session.rate.currency)
    entries = [_entry(session, SETTLEMENT, fee, _Owed(session_amount(session)), session.created_at)]
    for interaction in session.conversations:
        for _, leg in interaction.legs:
            if leg.hangup is not None:
                cause, at = leg.hangup.event_id, leg.hangup.happened_at
                entries += [_entry(session, cause, item, owed, at) for item, owed in _owed_for_leg(session, leg)]
    return tuple(entry for entry in entries if entry.amount)


def correction_entries(before: Session, after: Session, late: AnyCarrierEvent) -> tuple[LedgerEntry, ...]:
    """The entries by which an event that came after the settlement makes the ledger that of `after`."""
    # Some carriers do not name the call of an event: it is the one about which something is new.
    changed = (uuid for uuid, each in after.interactions.items() if each != before.interactions.get(uuid))
    call_uuid = next(changed, late.call.call_uuid)
    old, new = (_owed_for(session.interactions.get(call_uuid), session) for session in (before, after))
    at = late.happened_at if isinstance(late, Hangup) else late.at
    changes = {item: new.get(item, _Owed()).less(old.get(item, _Owed())) for item in dict.fromkeys((*old, *new))}
    return tuple(_entry(after, late.event_id, item, change, at) for item, change in changes.items() if change.amount)


def balances(entries: Iterable[LedgerEntry]) -> dict[tuple[str, str], Decimal]:
    """What each account has in each currency: debits, less credits."""
    sums: defaultdict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for entry in entries:
        sums[(entry.debit, entry.currency)] += entry.amount
        sums[(entry.credit, entry.currency)] -= entry.amount
    return dict(sums)


def sums_by_currency(entries: Iterable[LedgerEntry]) -> dict[str, Sums]:
    """What entries add up to, by currency."""
    sums: defaultdict[str, Sums] = defaultdict(Sums)
    for entry in entries:
        field = {Kind.CHARGE: "calls", Kind.FEE: "fee", Kind.COST: "cost"}[entry.kind]
        known = sums[entry.currency]
        sums[entry.currency] = known._replace(**{field: getattr(known, field) + entry.signed})
    return dict(sums)


class _Item(NamedTuple):
    """What is owed for."""

    kind: Kind
    leg: LegName | Literal[""]
    currency: str


class _Owed(NamedTuple):
    """How much, and for which seconds of which leg."""

    amount: Decimal = ZERO
    duration: int = 0
    billed_duration: int = 0
    leg_uuid: str = ""

    def less(self, other: _Owed) -> _Owed:
        """What is owed beyond `other`."""
        return _Owed(
            self.amount - other.amount,
            self.duration - other.duration,
            self.billed_duration - other.billed_duration,
            self.leg_uuid or other.leg_uuid,
        )


def _owed_for(interaction: Interaction | None, session: Session) -> dict[_Item, _Owed]:
    """What is owed for a conversation, and owes the carrier."""
    legs = () if interaction is None else interaction.legs
    return {item: owed for _, leg in legs for item, owed in _owed_for_leg(session, leg)}


def _owed_for_leg(session: Session, leg: Leg) -> Iterator[tuple[_Item, _Owed]]:
    """What is owed for a leg once it has ended."""
    hangup = leg.hangup
    if hangup is None:
        return
    charge, cost = leg_charge(session, hangup), leg_cost(hangup)
    yield (
        _Item(Kind.CHARGE, hangup.leg, session.rate.currency),
        _Owed(charge.amount, charge.duration, charge.billed_duration, leg.leg_uuid),
    )
    if cost is not None:
        yield (
            _Item(Kind.COST, hangup.leg, cost.currency),
            _Owed(cost.amount, hangup.duration, cost.billed_duration, leg.leg_uuid),
        )


def _entry(session: Session, cause: str, item: _Item, owed: _Owed, at: datetime) -> LedgerEntry:
    debit, credit = accounts(item.kind, session.account_id)
    if owed.amount < 0:
        debit, credit = credit, debit
    return LedgerEntry(
        session_uuid=session.session_uuid,
        account_id=session.account_id,
        cause=cause,
        kind=item.kind,
        leg=item.leg,
        leg_uuid=owed.leg_uuid,
        debit=debit,
        credit=credit,
        amount=abs(owed.amount),
        currency=item.currency,
        duration=owed.duration,
        billed_duration=owed.billed_duration,
        occurred_at=at,
    )
