"""Phone numbers in E.164."""

from __future__ import annotations

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


def countries_beside(country: str | None) -> tuple[str, ...]:
    """The other ISO countries that share a country's code: those of +1 beside the US; none for no country."""
    if country is None:
        return ()
    code = phonenumbers.country_code_for_region(country)
    return tuple(other for other in phonenumbers.region_codes_for_country_code(code) if other != country)
