"""What a leg costs. Exact decimals; rounding happens once, in `leg_amount`."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from pydantic import Field

from masking.domain.model import Model

QUANTUM = Decimal("0.00001")
"""The smallest amount on a bill: a hundred-thousandth of the currency's unit."""

ZERO = Decimal(0)
USD = "USD"


class Direction(StrEnum):
    """Which way a leg goes, as seen from us."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Rate(Model):
    """The price of a leg: per minute, billed from its answer in whole increments.

    Plivo bills each leg separately, from its answer, in increments of 60 seconds
    (plivo-wire.md §5.8). What is as by default is left out of payloads, so the defaults must stay.

    Attributes:
        per_minute: exact, in units of the currency.
        increment: seconds; a started increment counts whole.
        currency: ISO 4217.
        first: seconds of the first increment, where it differs from those that follow ("30/6" is 30, then 6).
        minimum: seconds; an answered leg counts as at least so long.
        connection_fee: once per answered leg.
    """

    per_minute: Decimal
    increment: int = Field(default=60, exclude_if=lambda seconds: seconds == 60)
    currency: str = Field(default=USD, exclude_if=lambda currency: currency == USD)
    first: int | None = Field(default=None, exclude_if=lambda seconds: seconds is None)
    minimum: int = Field(default=0, exclude_if=lambda seconds: seconds == 0)
    connection_fee: Decimal = Field(default=ZERO, exclude_if=lambda fee: not fee)

    @property
    def increments(self) -> str:
        """The first increment and the others, in seconds, as `60/60`."""
        return f"{self.first or self.increment}/{self.increment}"


class LegRates(Model):
    """The rates of a leg. `cost` is what the carrier takes of us, None where nobody told."""

    price: Rate
    cost: Rate | None = Field(default=None, exclude_if=lambda rate: rate is None)


class CallRates(Model):
    """The rates of a call, by leg. `callee` is None where nobody was to be dialled."""

    caller: LegRates
    callee: LegRates | None = Field(default=None, exclude_if=lambda rates: rates is None)


class CarrierCharge(Model):
    """What a carrier says that a leg costs us, exactly as it says it.

    Attributes:
        billed_duration: seconds.
        currency: ISO 4217; Plivo's amounts are in USD.
        passed_on: whether the customer of a call without rates of its own pays just that.
    """

    amount: Decimal
    billed_duration: int
    currency: str = Field(default=USD, exclude_if=lambda currency: currency == USD)
    passed_on: bool = Field(default=False, exclude_if=lambda passed_on: not passed_on)


def billed_seconds(answered_seconds: int, rate: Rate) -> int:
    """Seconds to bill for a leg that lasted `answered_seconds` from its answer; 0 if never answered."""
    if answered_seconds <= 0:
        return 0
    first = rate.first or rate.increment
    beyond = max(answered_seconds, rate.minimum) - first
    return first + (-(-beyond // rate.increment) * rate.increment if beyond > 0 else 0)


def exact_amount(billed: int, rate: Rate) -> Decimal:
    """The charge for `billed` seconds before it is rounded; a leg that is not billed has no fee either."""
    if billed <= 0:
        return ZERO
    # One division, of an exact numerator: its 28 digits leave no doubt on which side of a half it lies.
    return (rate.per_minute * billed + rate.connection_fee * 60) / 60


def leg_amount(billed: int, rate: Rate) -> Decimal:
    """The charge for `billed` seconds, rounded half up to `QUANTUM`. Every sum adds these rounded amounts."""
    return exact_amount(billed, rate).quantize(QUANTUM, ROUND_HALF_UP)
