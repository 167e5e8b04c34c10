"""How Plivo writes moments and numbers in sessions and their callbacks (plivo-wire.md §5.1).

Every reading is tolerant: what is missing or malformed has a default, and loses nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

_MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]+)?", re.ASCII)
_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?(E-[0-9]{1,2})?", re.ASCII | re.IGNORECASE)


MOST = 2**31 - 1


def moment(written: object) -> datetime | None:
    """`2024-02-01 06:28:15.123 +0000 UTC` in UTC and whole seconds; None for what is no moment."""
    found = _MOMENT.match(written) if isinstance(written, str) else None
    if found is None:
        return None
    try:
        return datetime.fromisoformat(f"{found[1]}T{found[2]}").replace(tzinfo=UTC)
    except ValueError:
        return None


def e164(number: object) -> str:
    """A number with its plus sign; empty for what is none."""
    digits = str(number or "").removeprefix("+")
    return f"+{digits}" if digits.isascii() and digits.isdecimal() and len(digits) <= 15 else ""


def whole(number: object) -> int:
    """A number of seconds or legs, 0 or more; of what is beyond all reason, the most that our tables hold."""
    try:
        return min(max(0, int(float(str(number)))), MOST)
    except (ValueError, OverflowError):
        return 0


def amount(written: object) -> Decimal | None:
    """An amount exactly as it is written; None for what is none."""
    text = str(written) if isinstance(written, str | int | Decimal) and not isinstance(written, bool) else ""
    return Decimal(text) if _AMOUNT.fullmatch(text) else None


def last_part(url: object) -> str:
    """The id at the end of a resource's URL, with or without a slash behind it."""
    return str(url or "").rstrip("/").rsplit("/", 1)[-1]


def text(fields: Mapping[str, object], name: str) -> str:
    """A field as text; empty where it is missing or null."""
    value = fields.get(name)
    return str(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else ""
