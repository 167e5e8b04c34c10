"""PINs that are made for a session are long enough."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking.domain.pool.pins import ACCEPTED_CHANCE, guess_chance, pin_length


@given(st.integers(4, 15), st.integers(0, 1_000_000), st.integers(1, 6))
def test_one_calls_guesses_reach_somebody_in_less_than_one_of_a_thousand(wanted: int, others: int, tries: int) -> None:
    length = pin_length(wanted, others, tries)

    assert wanted <= length <= 15
    assert guess_chance(length, others + 2, 6 if others else tries) < ACCEPTED_CHANCE
    assert length == wanted or guess_chance(length - 1, others + 2, 6 if others else tries) >= ACCEPTED_CHANCE


@pytest.mark.parametrize(("others", "length"), [(0, 4), (2, 5), (14, 5), (15, 6), (200, 7), (20_000, 9)])
def test_lengths_where_four_digits_were_asked_for(others: int, length: int) -> None:
    assert pin_length(4, others, 2) == length


def test_the_chance_is_what_guessing_really_finds() -> None:
    chance = random.Random(7)
    pins = set(chance.sample(range(10**4), 40))
    hits = sum(bool(pins & set(chance.sample(range(10**4), 6))) for _ in range(20_000))
    assert abs(Decimal(hits) / 20_000 - guess_chance(4, 40, 6)) < Decimal("0.004")
