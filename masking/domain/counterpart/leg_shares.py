"""What each leg of a conversation comes to, so that together they come to what the carrier has on record."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from masking.domain.bill.money import ZERO, CarrierCharge
from masking.domain.counterpart.told import ToldInteraction, ToldLeg
from masking.domain.events import LegName

NO_CHARGE = CarrierCharge(amount=ZERO, billed_duration=0)


class LegShare(NamedTuple):
    """Seconds from a leg's answer, billed seconds, and its amount."""

    duration: int = 0
    billed_duration: int = 0
    amount: Decimal = ZERO

    def plus(self, other: LegShare) -> LegShare:
        """Both together."""
        return LegShare(
            self.duration + other.duration, self.billed_duration + other.billed_duration, self.amount + other.amount
        )

    def less(self, other: LegShare) -> LegShare:
        """What is left without `other`; parts may be negative."""
        return LegShare(
            self.duration - other.duration, self.billed_duration - other.billed_duration, self.amount - other.amount
        )

    @property
    def possible(self) -> bool:
        """Whether a leg can come to this."""
        return min(self.duration, self.billed_duration) >= 0 and self.amount >= 0


def shared_out(
    entry: ToldInteraction, told: Mapping[LegName, LegShare | None], asked: Mapping[LegName, ToldLeg | None]
) -> dict[LegName, LegShare]:
    """What each leg comes to. Together they come to the record's sums, whatever was told.

    Args:
        told: what a callback told of each leg; None for a leg of whose end none told.
        asked: the carrier's own record of each leg, where it was asked for it.
    """
    whole = LegShare(entry.duration, entry.billed_duration, entry.amount)
    by_record = {
        name: LegShare(leg.duration, leg.billed_duration, leg.amount) for name, leg in asked.items() if leg is not None
    }
    shares = {name: share if share is not None else by_record.get(name, LegShare()) for name, share in told.items()}
    rest = whole.less(_sum(shares))
    if rest == LegShare():
        return shares
    # Of legs that nobody told of the first takes what is left, else the caller's: the sums are what counts.
    doubtful = [name for name in told if told[name] is None and name not in by_record] or list(told)
    for name in doubtful:
        taking = shares[name].plus(rest)
        if taking.possible:
            return shares | {name: taking}
    return {name: whole if name is LegName.CALLER else LegShare() for name in told}


def _sum(shares: Mapping[LegName, LegShare]) -> LegShare:
    total = LegShare()
    for share in shares.values():
        total = total.plus(share)
    return total
