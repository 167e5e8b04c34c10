"""A shortened number tells where it is from and little more."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from masking.shortened import HIDDEN, shortened, with_shortened_numbers

DIGITS = st.text("0123456789", min_size=1, max_size=15)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+12025550147", "+1 202 ••• ••47"),
        ("12025550147", "+1 202 ••• ••47"),
        ("+912269947011", "+91 226 •••• •11"),
        ("+442079460001", "+44 207• •••• 01"),
        ("+390612345678", "+39 06 1••• ••78"),
        ("+2904123", "+290 ••••"),
        ("anonymous", "•••••"),
        ("", "•••••"),
        ("+12025550147;ext=5", "•••••"),
        ("sip:+12025550147@x.example", "•••••"),
    ],
)
def test_it_shows_the_country_three_digits_and_the_last_two(number: str, shown: str) -> None:
    # Where the groups are is the library's business.
    assert shortened(number).replace(" ", "") == shown.replace(" ", "")


def test_it_is_grouped_as_people_write_it() -> None:
    assert shortened("+12025550147") == "+1 202 ••• ••47"


@given(DIGITS, st.sampled_from(["", "+"]))
@example("12025550147", "+")
@example("390612345678", "+")
@example("378800000", "+")
def test_never_more_than_the_country_three_digits_and_the_last_two(digits: str, plus: str) -> None:
    shown = shortened(plus + digits)
    try:
        country = str(phonenumbers.parse(f"+{digits}").country_code)
    except phonenumbers.NumberParseException:
        country = ""
    compact = shown.replace(" ", "")
    tail = compact[compact.rindex(HIDDEN) + 1 :]
    head = compact[: compact.index(HIDDEN)].removeprefix(f"+{country}" if country else "")
    assert len(head) <= 3
    assert len(tail) <= 2
    assert compact.startswith(f"+{country}" if country else HIDDEN)
    assert digits.endswith(tail)
    national = len(digits) - len(country) if country else len(digits)
    assert national - len(head) - len(tail) >= min(5, national)


@given(st.text(max_size=20))
def test_whatever_is_asked_something_stays_hidden(text: str) -> None:
    assert HIDDEN in shortened(text)


def test_numbers_in_a_text_are_shortened_and_nothing_else_is() -> None:
    uuid = "4189591e-d004-4801-abdf-8893c15e5dcd"
    text = f"{uuid} says +12025550147 at 2026-11-23T14:00:00.123456+00:00, 0.0170 for 12025550148"
    assert with_shortened_numbers("To says 6523456, the events give 35412345") == (
        "To says +65 •••••, the events give +354 •••••"
    )
    assert with_shortened_numbers(text) == text.replace("+12025550147", "+1 202 ••• ••47").replace(
        "12025550148", "+1 202 ••• ••48"
    )
