"""Which virtual number a new session gets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


class LastHold(NamedTuple):
    """What a party last had of a number.

    Attributes:
        session_uuid: the session in which it met the number.
        over: whether nothing of it holds the number any more: it has ended, and its grace and its calls too.
        left: whether the party had to leave that session for another one.
    """

    session_uuid: str
    over: bool
    left: bool


def may_meet_again(holds: Sequence[LastHold], parties: int) -> bool:
    """Whether two parties may have a number that they ask for, by what each last had of it.

    They may where whom each of them last met there was the other, or where neither ever met anybody. Otherwise a
    redial out of a call list that is meant for somebody else would reach one of them: the ordinary choice is the
    better one. A number that a live or cooling session of either holds cannot be had at all.

    Args:
        holds: those of the parties that ever had something of the number.
        parties: how many the session knows by their numbers.
    """
    if not holds:
        return True
    met = {hold.session_uuid for hold in holds}
    return len(met) == 1 and len(holds) == parties == 2 and all(hold.over and not hold.left for hold in holds)
