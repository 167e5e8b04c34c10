"""Which virtual number a new session gets."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple


class PoolNumber(NamedTuple):
    """A number that a session may get: no live or cooling session of either party holds it.

    Attributes:
        number: E.164.
        country: ISO country.
        rank: its place in the pool, lowest first.
        last_used: when the last hold of either party on it ended, UTC; None if neither ever used it.
        rests: whether a cool-off period keeps it from everybody.
    """

    number: str
    country: str
    rank: int
    last_used: datetime | None = None
    rests: bool = False


def candidates(pool: Iterable[PoolNumber]) -> list[PoolNumber]:
    """The numbers a session may get, best first.

    Those that neither party ever used come first, then the one whose last use is longest ago,
    so that yesterday's redial does not reach today's stranger; among equals the lowest rank,
    so that few numbers serve many sessions. None that rests.
    """
    return sorted((number for number in pool if not number.rests), key=preference)


def preference(number: PoolNumber) -> tuple[bool, float, int]:
    """What `candidates` sorts by."""
    used = number.last_used
    return (used is not None, used.timestamp() if used is not None else 0.0, number.rank)
