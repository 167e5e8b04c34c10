"""What a leg costs, to the last digit."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking.domain.money import QUANTUM, Rate, billed_seconds, leg_amount

MINUTES, HALVES, SECONDS = (Rate(per_minute=Decimal("0.0085"), increment=n) for n in (60, 30, 1))


@pytest.mark.parametrize(
    ("seconds", "rate", "billed", "amount"),
    [
        (0, MINUTES, 0, "0.00000"),
        (1, MINUTES, 60, "0.00850"),
        (59, MINUTES, 60, "0.00850"),
        (60, MINUTES, 60, "0.00850"),
        (61, MINUTES, 120, "0.01700"),
        (3600, MINUTES, 3600, "0.51000"),
        (30, HALVES, 30, "0.00425"),
        (31, HALVES, 60, "0.00850"),
        (1, SECONDS, 1, "0.00014"),
        (3, SECONDS, 3, "0.00043"),
        (-5, MINUTES, 0, "0.00000"),
    ],
)
def test_hand_computed_cases(seconds: int, rate: Rate, billed: int, amount: str) -> None:
    assert billed_seconds(seconds, rate) == billed
    assert str(leg_amount(billed, rate)) == amount


rates = st.builds(
    Rate,
    per_minute=st.decimals(0, 100, places=4, allow_nan=False, allow_infinity=False),
    increment=st.integers(1, 3600),
)


@given(st.integers(0, 100_000), rates)
def test_a_started_increment_counts_whole_and_no_more(seconds: int, rate: Rate) -> None:
    billed = billed_seconds(seconds, rate)

    assert billed % rate.increment == 0
    assert seconds <= billed < seconds + rate.increment
    amount = leg_amount(billed, rate)
    assert amount == amount.quantize(QUANTUM)
    assert abs(amount - rate.per_minute * billed / 60) <= QUANTUM / 2
