"""Phone numbers as they are shown."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masking.e164 import shortened, valid_e164, with_shortened_numbers

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+12025550147", "+1 202 ••• ••47"),
        ("12025550147", "+1 202 ••• ••47"),
        ("+442079460958", "+44 20 7••• ••58"),
        ("+912269947011", "+91 22 6••• ••11"),
        ("+6523456", "+65 •••••"),
        ("anonymous", "•••••••••"),
        ("", ""),
    ],
)
def test_a_number_is_shortened(number: str, shown: str) -> None:
    assert shortened(number) == shown


@settings(max_examples=300)
@given(st.sampled_from(REGIONS), st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 27, 28]))
def test_of_no_country_s_numbers_more_than_five_digits_behind_the_country_code_are_shown(
    region: str, kind: int
) -> None:
    parsed = phonenumbers.example_number_for_type(region, kind)
    if parsed is None:
        return
    number = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    shown = shortened(number)
    assert shown.startswith(f"+{parsed.country_code} ")
    national = shown.removeprefix(f"+{parsed.country_code} ")
    digits, hidden = sum(map(str.isdigit, national)), national.count("•")
    assert digits + hidden == len(number) - 1 - len(str(parsed.country_code))
    assert digits <= 5
    assert hidden >= 5 or digits == 0
    assert valid_e164(shown) is None


def test_numbers_in_a_text_are_shortened_and_nothing_else_is() -> None:
    uuid = "4189591e-d004-4801-abdf-8893c15e5dcd"
    text = f"{uuid} says +12025550147 at 2026-11-23T14:00:00.123456+00:00, 0.0170 for 12025550148"
    assert with_shortened_numbers("To says 6523456, the events give 35412345") == (
        "To says +65 •••••, the events give +354 •••••"
    )
    assert with_shortened_numbers(text) == text.replace("+12025550147", "+1 202 ••• ••47").replace(
        "12025550148", "+1 202 ••• ••48"
    )
