"""Rate cards: which price holds for a leg at a moment.

The domain gets numbers together with their country; numbering plans are not its business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from masking.domain.bill.money import ZERO, CallRates, Direction, LegRates, Rate
from masking.domain.model import Model

EVER = datetime.min.replace(tzinfo=UTC)


class WrongCard(ValueError):
    """A card that cannot be gone by; names the entry and the rule."""


class Validity(Model):
    """From a moment on, until just before another one; UTC. None leaves an end open."""

    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def holds_at(self, at: datetime) -> bool:
        """Whether a moment lies within it."""
        begun = self.valid_from is None or self.valid_from <= at
        return begun and (self.valid_until is None or at < self.valid_until)

    def overlaps(self, other: Validity) -> bool:
        """Whether both hold at some moment."""
        return _before(self.valid_from, other.valid_until) and _before(other.valid_from, self.valid_until)


class RateEntry(Validity):
    """A price and what it is for.

    Attributes:
        name: where it stands in the card, for people.
        prefix: digits of E.164 with which the numbers begin; empty for any.
        country: the ISO country of the numbers; empty for any. Never together with a prefix.
        direction: None for both.
    """

    name: str
    prefix: str = ""
    country: str = ""
    direction: Direction | None = None
    rate: Rate

    @property
    def target(self) -> str:
        """Which numbers it is for, in words."""
        return f"+{self.prefix}…" if self.prefix else self.country or "any"


class SessionFee(Validity):
    """What a session costs by itself."""

    name: str
    fee: Decimal


class Party(NamedTuple):
    """A phone number in E.164, empty when it is hidden, and its ISO country, empty when it has none."""

    number: str
    country: str


class Legs(NamedTuple):
    """The legs of a call: who is at the other end of each, and which way the caller's goes.

    Attributes:
        callee: None where nobody is dialled.
        placed: whether it was us who called the caller's phone.
    """

    caller: Party
    callee: Party | None
    placed: bool = False

    @property
    def caller_direction(self) -> Direction:
        """Which way the caller's leg goes."""
        return Direction.OUTBOUND if self.placed else Direction.INBOUND


class RateCard(Model):
    """What customers pay, and what the carrier takes of us, in one currency.

    Attributes:
        currency: ISO 4217.
        customer: the customers' prices.
        cost: the carrier's; empty when nobody told.
        session_fees: at most one at a time.
    """

    currency: str
    customer: tuple[RateEntry, ...]
    cost: tuple[RateEntry, ...] = ()
    session_fees: tuple[SessionFee, ...] = ()

    def price(self, party: Party, direction: Direction, at: datetime) -> RateEntry | None:
        """The entry by which the customer pays for a leg; None before the card begins."""
        return _matching(self._customer_index, party, direction, at)

    def cost_of(self, party: Party, direction: Direction, at: datetime) -> RateEntry | None:
        """The entry of what the carrier takes for a leg; None where nobody told."""
        return _matching(self._cost_index, party, direction, at)

    def call_rates(self, legs: Legs, at: datetime) -> CallRates | None:
        """The rates of a call that is decided at `at`; None before the card begins."""
        caller = self._leg_rates(legs.caller, legs.caller_direction, at)
        callee = self._leg_rates(legs.callee, Direction.OUTBOUND, at) if legs.callee is not None else None
        if caller is None or (callee is None and legs.callee is not None):
            return None
        return CallRates(caller=caller, callee=callee)

    def session_fee(self, at: datetime) -> SessionFee | None:
        """The fee of a session that begins at `at`; None where it costs nothing by itself."""
        return next((fee for fee in self.session_fees if fee.holds_at(at)), None)

    def session_fee_amount(self, at: datetime) -> Decimal:
        """The same in money."""
        fee = self.session_fee(at)
        return ZERO if fee is None else fee.fee

    def _leg_rates(self, party: Party, direction: Direction, at: datetime) -> LegRates | None:
        price, cost = self.price(party, direction, at), self.cost_of(party, direction, at)
        if price is None:
            return None
        return LegRates(price=price.rate, cost=cost.rate if cost is not None else None)

    @cached_property
    def _customer_index(self) -> _Index:
        return _indexed(self.customer)

    @cached_property
    def _cost_index(self) -> _Index:
        return _indexed(self.cost)


_Index = dict[tuple[str, str], list[RateEntry]]


def checked(card: RateCard) -> RateCard:
    """The card, when every leg has one price from its beginning on.

    Raises:
        WrongCard: two entries say different things of one leg, or none says anything.
    """
    for entries in (card.customer, card.cost):
        for (_, _), same in _indexed(entries).items():
            for direction in (*Direction, None):
                _check_apart([entry for entry in same if entry.direction is direction])
    _check_apart(card.session_fees)
    for direction in Direction:
        _check_covered(card.customer, direction)
    return card


def _check_apart(entries: Sequence[RateEntry | SessionFee]) -> None:
    for entry, following in pairwise(sorted(entries, key=lambda entry: entry.valid_from or EVER)):
        if entry.overlaps(following):
            raise WrongCard(
                f"{following.name} and {entry.name} are for the same and are valid at the same time; let one end"
                " (valid_until) where the other begins (valid_from)"
            )


def _check_covered(entries: Sequence[RateEntry], direction: Direction) -> None:
    """Numbers that no other entry is for need a price too, without a gap from its beginning on."""
    for_any = [entry for entry in entries if not entry.prefix and not entry.country]
    fitting = [entry for entry in for_any if entry.direction in (direction, None)]
    if not fitting:
        raise WrongCard(
            f"customer has no price for {direction} legs of other numbers; add an entry without country and prefix"
        )
    ends = [entry.valid_until for entry in fitting]
    for end in ends:
        if end is not None and not any(entry.holds_at(end) for entry in fitting):
            raise WrongCard(
                f"customer has no price for {direction} legs of other numbers from {end:%Y-%m-%d %H:%M:%S} UTC on;"
                " add an entry without country and prefix that is valid then"
            )


def _indexed(entries: Iterable[RateEntry]) -> _Index:
    index: _Index = defaultdict(list)
    for entry in entries:
        index[(entry.prefix, entry.country)].append(entry)
    return dict(index)


def _matching(index: _Index, party: Party, direction: Direction, at: datetime) -> RateEntry | None:
    """The longest prefix, else the country, else the entry for any; of these the one for this direction first."""
    for key in _keys(party):
        valid = [entry for entry in index.get(key, ()) if entry.holds_at(at)]
        for wanted in (direction, None):
            for entry in valid:
                if entry.direction is wanted:
                    return entry
    return None


def _keys(party: Party) -> Iterator[tuple[str, str]]:
    digits = party.number.removeprefix("+")
    for length in range(len(digits), 0, -1):
        yield digits[:length], ""
    if party.country:
        yield "", party.country
    yield "", ""


def _before(begin: datetime | None, end: datetime | None) -> bool:
    return begin is None or end is None or begin < end
