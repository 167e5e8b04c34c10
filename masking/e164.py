"""Phone numbers in E.164."""

from __future__ import annotations

import re

import phonenumbers


def valid_e164(text: str) -> str | None:
    """A valid phone number, written with or without its plus sign, in E.164; None for what is none."""
    try:
        parsed = phonenumbers.parse(text if text.startswith("+") else f"+{text}")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def country_of(number: str) -> str | None:
    """The ISO country of a number in E.164; None where the numbering plan names none, or it is no number."""
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return None


SHOWN_FIRST, SHOWN_LAST, HIDDEN_AT_LEAST = 3, 2, 5
"""Digits of a national number."""

# Without its plus sign, a short one is known only where a value is told.
_NUMBER = re.compile(
    r"(?<![\w.:/-])(?:\+[1-9][0-9]{6,14}|[1-9][0-9]{9,14}|(?:(?<=says )|(?<=give ))[1-9][0-9]{6,14})(?![\w-])"
)


def shortened(number: str) -> str:
    """A number in E.164 as it may be shown: its country, how its national part begins and ends: +1 202 ••• ••47.

    At least five digits are hidden, or all but the country where there are not more.
    """
    try:
        parsed = phonenumbers.parse(number if number.startswith("+") else f"+{number}")
    except phonenumbers.NumberParseException:
        return "•" * len(number)
    country, international = f"+{parsed.country_code}", phonenumbers.PhoneNumberFormat.INTERNATIONAL
    national = phonenumbers.format_number(parsed, international).removeprefix(country)
    places = [n for n, character in enumerate(national) if character.isdigit()]
    last = SHOWN_LAST if len(places) >= HIDDEN_AT_LEAST + SHOWN_LAST else 0
    first = min(SHOWN_FIRST, max(0, len(places) - HIDDEN_AT_LEAST - last))
    hidden = set(places[first : len(places) - last])
    told = "".join("•" if n in hidden else each if each.isdigit() else " " for n, each in enumerate(national))
    return f"{country} {' '.join(told.split())}"


def with_shortened_numbers(text: str) -> str:
    """A text in which whatever looks like a phone number is shortened."""
    return _NUMBER.sub(lambda found: shortened(found[0]), text)
