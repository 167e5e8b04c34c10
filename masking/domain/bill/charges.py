"""What a session's calls come to: each leg's charge and cost, and the bill of them all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from masking.domain.bill.money import QUANTUM, ZERO, CarrierCharge, LegRates, Rate, billed_seconds, leg_amount
from masking.domain.events import Call, Hangup, LegName
from masking.domain.interaction import Interaction
from masking.domain.model import Model
from masking.domain.session import Phase, Session


class Charge(Model):
    """What calls cost: legs, seconds from answer, billed seconds, and money."""

    call_count: int = 0
    duration: int = 0
    billed_duration: int = 0
    amount: Decimal = ZERO

    def __bool__(self) -> bool:
        return any((self.call_count, self.duration, self.billed_duration, self.amount))

    def __sub__(self, other: Charge) -> Charge:
        return Charge(
            call_count=self.call_count - other.call_count,
            duration=self.duration - other.duration,
            billed_duration=self.billed_duration - other.billed_duration,
            amount=self.amount - other.amount,
        )

    def __add__(self, other: Charge) -> Charge:
        return Charge(
            call_count=self.call_count + other.call_count,
            duration=self.duration + other.duration,
            billed_duration=self.billed_duration + other.billed_duration,
            amount=self.amount + other.amount,
        )


class Bill(Model):
    """A session's totals (masking-session-api.txt, "The Session Object"). Final once `settled_at` is set.

    Attributes:
        calls: the charge of all legs.
        session_amount: the fee for the session itself.
        last_interaction_time: when the last conversation ended, UTC; None before the first has.
    """

    session_uuid: str
    account_id: str
    currency: str
    calls: Charge
    session_amount: Decimal
    duration: int
    last_interaction_time: datetime | None
    settled_at: datetime | None
    refusal: str = ""

    @property
    def total_amount(self) -> Decimal:
        """Calls and session fee together."""
        return self.calls.amount + self.session_amount


def leg_rate(session: Session, call: Call, leg: LegName) -> Rate:
    """What the customer pays for a leg: its call's own rate, else the session's.

    A bill has one currency: rates of another one, after the card's was changed, do not hold.
    """
    rates = _rates(call, leg)
    return rates.price if rates is not None and rates.price.currency == session.rate.currency else session.rate


def leg_charge(session: Session, hangup: Hangup) -> Charge:
    """What the customer pays for a leg that has ended: the one way in which any amount of a call comes about."""
    passed_on = _passed_on(session, hangup)
    if passed_on is not None:
        billed, amount = passed_on.billed_duration, passed_on.amount
    else:
        rate = leg_rate(session, hangup.call, hangup.leg)
        billed = billed_seconds(hangup.duration, rate)
        amount = leg_amount(billed, rate)
    return Charge(call_count=1, duration=hangup.duration, billed_duration=billed, amount=amount)


def leg_price(session: Session, call: Call, leg: LegName, hangup: Hangup | None) -> Decimal:
    """What a minute of a leg costs the customer; of an amount that the carrier named, what it comes to."""
    passed_on = _passed_on(session, hangup) if hangup is not None else None
    if passed_on is None:
        return leg_rate(session, call if hangup is None else hangup.call, leg).per_minute
    billed = passed_on.billed_duration
    return (passed_on.amount * 60 / billed).quantize(QUANTUM) if billed else ZERO


class LegCost(Model):
    """What the carrier takes of us for a leg."""

    billed_duration: int
    amount: Decimal
    currency: str


def leg_cost(hangup: Hangup) -> LegCost | None:
    """What the carrier says that an ended leg costs us, else what the card says; None where nobody does."""
    told = hangup.carrier_charge
    if told is not None:
        return LegCost(billed_duration=told.billed_duration, amount=told.amount, currency=told.currency)
    rates = _rates(hangup.call, hangup.leg)
    if rates is None or rates.cost is None:
        return None
    billed = billed_seconds(hangup.duration, rates.cost)
    return LegCost(billed_duration=billed, amount=leg_amount(billed, rates.cost), currency=rates.cost.currency)


def _rates(call: Call, leg: LegName) -> LegRates | None:
    if call.rates is None:
        return None
    return call.rates.caller if leg is LegName.CALLER else call.rates.callee


def _passed_on(session: Session, hangup: Hangup) -> CarrierCharge | None:
    """The carrier's amount, where the customer pays just that."""
    told = hangup.carrier_charge
    if told is None or not told.passed_on or hangup.call.rates is not None:
        return None
    return told if told.currency == session.rate.currency else None


def ended_legs(interaction: Interaction) -> tuple[Hangup, ...]:
    """How the legs of a conversation ended, of those that have."""
    return tuple(leg.hangup for _, leg in interaction.legs if leg.hangup is not None)


def interaction_charge(session: Session, interaction: Interaction) -> Charge:
    """The charge of a conversation: each leg that has ended, billed on its own."""
    return total(leg_charge(session, hangup) for hangup in ended_legs(interaction))


def total(charges: Iterable[Charge]) -> Charge:
    """The sum of charges."""
    return sum(charges, Charge())


def session_amount(session: Session) -> Decimal:
    """The fee for the session itself; none for one that was never opened."""
    return ZERO if session.phase in (Phase.OPENING, Phase.REFUSED) else session.session_fee


def bill(session: Session) -> Bill:
    """The totals that follow from the session's events so far."""
    ends = [i.ended_at for i in session.interactions.values() if i.ended_at is not None]
    return Bill(
        session_uuid=session.session_uuid,
        account_id=session.account_id,
        currency=session.rate.currency,
        calls=total(interaction_charge(session, i) for i in session.interactions.values()),
        session_amount=session_amount(session),
        duration=session.duration,
        last_interaction_time=max(ends, default=None),
        settled_at=session.settled_at,
        refusal=session.refusal,
    )
