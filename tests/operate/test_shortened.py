"""A shortened number tells where it is from and little more."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from masking.shortened import HIDDEN, shortened

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
    assert national - len(head) - len(tail) >= min(4, national)


@given(st.text(max_size=20))
def test_whatever_is_asked_something_stays_hidden(text: str) -> None:
    assert HIDDEN in shortened(text)
