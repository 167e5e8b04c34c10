"""Phone numbers in E.164."""

from __future__ import annotations

import phonenumbers


def country_of(number: str) -> str | None:
    """The ISO country of a number in E.164; None where the numbering plan names none, or it is no number."""
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return None
