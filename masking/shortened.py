"""Phone numbers for eyes that need not know them whole."""

from __future__ import annotations

import re

import phonenumbers

HIDDEN = "•"
FIRST, LAST = 3, 2
"""The most digits that are shown at either end, after the country code."""
LEAST_HIDDEN = 5
"""At least so many digits stay hidden; of a number that has hardly more, fewer are shown."""

# Without its plus sign, a short one is known only where a value is told.
_NUMBER = re.compile(
    r"(?<![\w.:/-])(?:\+[1-9][0-9]{6,14}|[1-9][0-9]{9,14}|(?:(?<=says )|(?<=give ))[1-9][0-9]{6,14})(?![\w-])"
)
_DIGITS = re.compile(r"\+?[0-9]{1,15}", re.ASCII)


def shortened(number: str) -> str:
    """A phone number that tells where it is from and little more: `+1 202 ••• ••47`.

    Shows the country code, at most three digits after it, and the last two. What is no number shows nothing.

    Args:
        number: E.164, with or without its plus sign.
    """
    if not _DIGITS.fullmatch(number):
        return HIDDEN * (FIRST + LAST)
    try:
        parsed = phonenumbers.parse(f"+{number.removeprefix('+')}")
    except phonenumbers.NumberParseException:
        return HIDDEN * (FIRST + LAST)
    country = f"+{parsed.country_code}"
    digits = f"+{number.removeprefix('+')}".removeprefix(country)
    written = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    national = re.sub(r"[^0-9]+", " ", written.removeprefix(country)).strip()
    if national.replace(" ", "") != digits:
        # A few countries' numbers are written with more digits, or without some.
        national = digits
    count = len(digits)
    last = LAST if count >= LEAST_HIDDEN + LAST else 0
    first = max(0, min(FIRST, count - LEAST_HIDDEN - last))
    shown, seen = [country, " "], 0
    for character in national:
        seen += character != " "
        hidden = character != " " and first < seen <= count - last
        shown.append(HIDDEN if hidden else character)
    return "".join(shown)


def with_shortened_numbers(text: str) -> str:
    """A text in which whatever looks like a phone number is shortened."""
    return _NUMBER.sub(lambda found: shortened(found[0]), text)
