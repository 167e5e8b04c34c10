"""How Plivo writes numbers and times."""

from __future__ import annotations

from datetime import UTC, datetime


def plivo_time(moment: datetime | None) -> str:
    """`2024-02-01 06:28:15 +0000 UTC`, and an empty string for no moment (plivo-wire.md §5.1)."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")


def record_time(moment: datetime, *, precise: bool = False) -> str:
    """`2024-02-01 06:28:15+00:00`, as calls and recordings have it; with microseconds where it is to be precise."""
    return moment.astimezone(UTC).isoformat(sep=" ", timespec="microseconds" if precise else "seconds")


def plivo_number(e164: str) -> str:
    """An E.164 number without its plus sign."""
    return e164.removeprefix("+")
