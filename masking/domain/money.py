"""What a call costs. Exact decimals; rounding happens once, in `leg_amount`."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from masking.domain.model import Model

QUANTUM = Decimal("0.00001")
"""The smallest amount on a bill: a hundred-thousandth of the currency's unit."""


class Rate(Model):
    """The price of a leg: per minute, billed from answer in whole increments.

    Plivo bills each leg separately, from its answer, in increments of 60 seconds
    (plivo-wire.md §5.8).
    """

    per_minute: Decimal
    increment: int = 60
    """Seconds; a started increment counts whole."""
    currency: str = "USD"


def billed_seconds(answered_seconds: int, rate: Rate) -> int:
    """Seconds to bill for a leg that lasted `answered_seconds` from its answer; 0 if never answered."""
    if answered_seconds <= 0:
        return 0
    return -(-answered_seconds // rate.increment) * rate.increment


def leg_amount(billed: int, rate: Rate) -> Decimal:
    """The charge for `billed` seconds, rounded half up to `QUANTUM`. Every sum adds these rounded amounts."""
    return (rate.per_minute * billed / 60).quantize(QUANTUM, ROUND_HALF_UP)
