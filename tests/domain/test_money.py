"""What a leg costs, to the last digit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking.domain.bill.money import QUANTUM, Rate, billed_seconds, leg_amount

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


def priced(per_minute: str, increments: str, minimum: int = 0, fee: str = "0") -> Rate:
    first, further = map(int, increments.split("/"))
    return Rate(
        per_minute=Decimal(per_minute), first=first, increment=further, minimum=minimum, connection_fee=Decimal(fee)
    )


@pytest.mark.parametrize(
    ("seconds", "rate", "billed", "amount"),
    [
        # 30 s whole, then every 6 s begun: 0.02 a minute is 0.002 for 6 s
        (0, priced("0.02", "30/6"), 0, "0.00000"),
        (1, priced("0.02", "30/6"), 30, "0.01000"),
        (29, priced("0.02", "30/6"), 30, "0.01000"),
        (30, priced("0.02", "30/6"), 30, "0.01000"),
        (31, priced("0.02", "30/6"), 36, "0.01200"),
        (36, priced("0.02", "30/6"), 36, "0.01200"),
        (37, priced("0.02", "30/6"), 42, "0.01400"),
        (60, priced("0.02", "30/6"), 60, "0.02000"),
        (61, priced("0.02", "30/6"), 66, "0.02200"),
        # by the second: 0.01 / 60 = 0.00016666…
        (1, priced("0.01", "1/1"), 1, "0.00017"),
        (59, priced("0.01", "1/1"), 59, "0.00983"),
        (60, priced("0.01", "1/1"), 60, "0.01000"),
        (61, priced("0.01", "1/1"), 61, "0.01017"),
        # a first minute, then by the second
        (59, priced("0.06", "60/1"), 60, "0.06000"),
        (61, priced("0.06", "60/1"), 61, "0.06100"),
        # a minimum of 30 s, alone and with increments into which it does not go
        (1, priced("0.06", "1/1", minimum=30), 30, "0.03000"),
        (30, priced("0.06", "1/1", minimum=30), 30, "0.03000"),
        (31, priced("0.06", "1/1", minimum=30), 31, "0.03100"),
        (1, priced("0.06", "30/6", minimum=31), 36, "0.03600"),
        (0, priced("0.06", "1/1", minimum=30), 0, "0.00000"),
        # a fee for the connection, once, and only for one that was answered
        (0, priced("0.06", "60/60", fee="0.002"), 0, "0.00000"),
        (1, priced("0.06", "60/60", fee="0.002"), 60, "0.06200"),
        (61, priced("0.06", "60/60", fee="0.002"), 120, "0.12200"),
        # fee and time are rounded together: 0.000004 + 0.000004 is 0.00001, each alone would be nothing
        (1, priced("0.00024", "1/1", fee="0.000004"), 1, "0.00001"),
        # halves go up: 0.0003 / 60 = 0.000005
        (1, priced("0.0003", "1/1"), 1, "0.00001"),
        (1, priced("0.00029", "1/1"), 1, "0.00000"),
    ],
)
def test_hand_computed_cases_of_increments_minimum_and_fee(seconds: int, rate: Rate, billed: int, amount: str) -> None:
    assert billed_seconds(seconds, rate) == billed
    assert str(leg_amount(billed, rate)) == amount


def money(most: int, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(0, most, places=places, allow_nan=False, allow_infinity=False)


rates = st.builds(
    Rate,
    per_minute=money(100, 4),
    increment=st.integers(1, 3600),
)
any_rates = st.builds(
    Rate,
    per_minute=money(999_999, 12),
    increment=st.integers(1, 3600),
    first=st.none() | st.integers(1, 3600),
    minimum=st.integers(0, 3600),
    connection_fee=money(999_999, 12),
)


@given(st.integers(0, 100_000), rates)
def test_a_started_increment_counts_whole_and_no_more(seconds: int, rate: Rate) -> None:
    billed = billed_seconds(seconds, rate)

    assert billed % rate.increment == 0
    assert seconds <= billed < seconds + rate.increment
    amount = leg_amount(billed, rate)
    assert amount == amount.quantize(QUANTUM)
    assert abs(amount - rate.per_minute * billed / 60) <= QUANTUM / 2


@given(st.integers(1, 100_000), any_rates)
def test_a_leg_is_billed_at_least_its_length_and_minimum_in_whole_increments(seconds: int, rate: Rate) -> None:
    billed, first = billed_seconds(seconds, rate), rate.first or rate.increment

    assert billed >= max(seconds, rate.minimum, first)
    assert (billed - first) % rate.increment == 0
    assert billed == first or billed - rate.increment < max(seconds, rate.minimum)
    assert billed <= billed_seconds(seconds + 1, rate), "a longer leg never costs less"


@given(st.integers(1, 86_400), any_rates)
def test_an_amount_is_the_exact_one_rounded_once(billed: int, rate: Rate) -> None:
    exact = Fraction(rate.per_minute) * billed / 60 + Fraction(rate.connection_fee)
    units = exact / Fraction(QUANTUM)
    rounded = (units + Fraction(1, 2)).__floor__()

    assert leg_amount(billed, rate) == rounded * QUANTUM


@given(any_rates)
def test_a_rate_in_a_payload_is_the_same_rate(rate: Rate) -> None:
    assert Rate.model_validate_json(rate.model_dump_json()) == rate


def test_a_payload_leaves_out_what_is_as_by_default() -> None:
    assert Rate(per_minute=Decimal("0.0085")).model_dump_json() == '{"per_minute":"0.0085"}'
    old = '{"per_minute":"0.0085","increment":60,"currency":"USD"}'
    assert Rate.model_validate_json(old) == Rate(per_minute=Decimal("0.0085"))
