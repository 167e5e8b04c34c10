"""What a call would cost by a rate card, and why: for people who check one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from masking.domain.bill.money import ZERO, Direction, Rate, billed_seconds, exact_amount, leg_amount
from masking.domain.bill.rates import Legs, Party, RateCard, RateEntry
from masking.domain.events import LegName


class Charged(NamedTuple):
    """What one entry makes of a leg. `how` tells how the billed seconds come about, `exact` is not rounded yet."""

    entry: RateEntry
    why: str
    billed_seconds: int
    how: str
    exact: Decimal
    amount: Decimal


class LegQuote(NamedTuple):
    """A leg of `seconds` from its answer. `price` is None before the card begins, `cost` where nobody told."""

    leg: LegName
    direction: Direction
    seconds: int
    price: Charged | None
    cost: Charged | None


class Quote(NamedTuple):
    """A call in a session of its own.

    Attributes:
        session_fee: its name and amount; None where there is none.
        amount: of all legs and the session.
        cost, margin: None unless the cost of every leg is known.
    """

    legs: tuple[LegQuote, ...]
    session_fee: tuple[str, Decimal] | None
    amount: Decimal
    cost: Decimal | None
    margin: Decimal | None


def quoted(card: RateCard, legs: Legs, seconds: tuple[int, int], at: datetime) -> Quote:
    """What a call costs that is decided at `at`.

    Args:
        seconds: of the caller's leg and of the callee's, from their answers; 0 if never answered.
    """
    quotes = tuple(_legs(card, legs, seconds, at))
    fee = card.session_fee(at)
    fee_amount = ZERO if fee is None else fee.fee
    amount = sum((leg.price.amount for leg in quotes if leg.price is not None), fee_amount)
    costs = [leg.cost.amount for leg in quotes if leg.cost is not None]
    cost = sum(costs, ZERO) if len(costs) == len(quotes) else None
    return Quote(
        legs=quotes,
        session_fee=None if fee is None else (fee.name, fee.fee),
        amount=amount,
        cost=cost,
        margin=None if cost is None else amount - cost,
    )


def billing_explained(seconds: int, rate: Rate) -> str:
    """How the billed seconds of a leg come about, in words."""
    if seconds <= 0:
        return "not answered, or for less than a second: nothing is billed"
    first = rate.first or rate.increment
    counted = max(seconds, rate.minimum)
    begun = -(-max(0, counted - first) // rate.increment)
    words = [f"{seconds} s"]
    words += [f"which count as the minimum of {rate.minimum} s"] if counted > seconds else []
    words += [f"a first increment of {first} s" + (f" and {begun} of {rate.increment} s" if begun else "")]
    return ", ".join(words)


def _legs(card: RateCard, legs: Legs, seconds: tuple[int, int], at: datetime) -> Iterator[LegQuote]:
    parts = [(LegName.CALLER, legs.caller_direction, legs.caller, seconds[0])]
    if legs.callee is not None:
        parts.append((LegName.CALLEE, Direction.OUTBOUND, legs.callee, seconds[1]))
    for name, direction, party, lasted in parts:
        price, cost = card.price(party, direction, at), card.cost_of(party, direction, at)
        yield LegQuote(
            leg=name,
            direction=direction,
            seconds=lasted,
            price=None if price is None else _charged(price, party, lasted),
            cost=None if cost is None else _charged(cost, party, lasted),
        )


def _charged(entry: RateEntry, party: Party, seconds: int) -> Charged:
    billed = billed_seconds(seconds, entry.rate)
    return Charged(
        entry=entry,
        why=_why(entry, party),
        billed_seconds=billed,
        how=billing_explained(seconds, entry.rate),
        exact=exact_amount(billed, entry.rate),
        amount=leg_amount(billed, entry.rate),
    )


def _why(entry: RateEntry, party: Party) -> str:
    if entry.prefix:
        numbers = f"+{entry.prefix} is the longest prefix that fits"
    elif entry.country:
        numbers = f"no prefix fits; the number is of {entry.country}"
    elif not party.number:
        numbers = "the number is hidden"
    else:
        numbers = f"no prefix fits, and no country ({party.country or 'the number has none'})"
    which = f"for {entry.direction} legs" if entry.direction is not None else "for both directions"
    return f"{numbers}; {which}"
