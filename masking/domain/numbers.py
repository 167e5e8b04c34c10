"""Which virtual number a new session gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from masking.domain.model import Model


class PoolNumber(Model):
    """A virtual number the account may use: E.164, ISO country, and its rank in the pool (lowest first)."""

    number: str
    country: str
    rank: int


class Use(Model):
    """That a party of the new session uses, or used, a number.

    Attributes:
        held: whether a live or cooling session still holds it.
        until: when that hold ends or ended, UTC.
    """

    number: str
    held: bool
    until: datetime


def candidates(
    pool: Iterable[PoolNumber], uses: Iterable[Use], country: str | None, resting: frozenset[str] = frozenset()
) -> list[PoolNumber]:
    """The numbers a session may get, best first.

    Only numbers that neither party holds and that are not resting are left. Those that
    neither ever used come first, then the one whose last use is longest ago, so that
    yesterday's redial does not reach today's stranger; among equals the lowest rank, so
    that few numbers serve many sessions.

    Args:
        pool: the account's available numbers.
        uses: every hold, past or present, of either party.
        country: ISO country the number must be of; None for any.
        resting: numbers that a cool-off period keeps from everybody.
    """
    held: set[str] = set(resting)
    last_use: dict[str, datetime] = {}
    for use in uses:
        if use.held:
            held.add(use.number)
        last_use[use.number] = max(use.until, last_use.get(use.number, use.until))
    free = [n for n in pool if n.number not in held and country in (None, n.country)]
    return sorted(free, key=lambda n: _preference(n, last_use))


def _preference(number: PoolNumber, last_use: Mapping[str, datetime]) -> tuple[bool, float, int]:
    used = last_use.get(number.number)
    return (used is not None, used.timestamp() if used is not None else 0.0, number.rank)
