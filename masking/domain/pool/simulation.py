"""A demand served by a pool of numbers of one country, simulated.

Every session gets its number by the rule of `masking.domain.pool.choice`, which real sessions get
theirs by. What each party ever used is kept as bits, and in the order of the last use, so that
a choice looks at a few numbers instead of the whole pool.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple


class Demand(NamedTuple):
    """A session that was wanted, and how long it lived.

    Attributes:
        country: ISO country that its number must be of.
        first, second: its parties, by whatever tells them apart.
        starts, ends: UTC.
        cooloff: seconds after its end for which its number rests (`virtual_number_cooloff_period`).
    """

    country: str
    first: str
    second: str
    starts: datetime
    ends: datetime
    cooloff: int = 0

    @property
    def parties(self) -> tuple[str, str]:
        """Both of them."""
        return self.first, self.second

    def held_until(self, grace: int) -> datetime:
        """Until when its parties meet its number in no other session: the pair's grace (seconds), or the cool-off."""
        return self.ends + timedelta(seconds=max(grace, self.cooloff))

    @property
    def rests_until(self) -> datetime:
        """Until when its number is nobody's after its end."""
        return self.ends + timedelta(seconds=self.cooloff)


class Simulated(NamedTuple):
    """A demand served by a pool.

    Attributes:
        numbers: which number each session got, by rank from 0; None for a refused one. In the order of the demand.
        refused: how many sessions got none.
        cut_short: whether the simulation ended early, since more were refused than may be.
    """

    numbers: tuple[int | None, ...]
    refused: int
    cut_short: bool = False


class Level(NamedTuple):
    """How many numbers sessions hold, live or cooling, from a moment (UTC) on."""

    since: datetime
    numbers: int


def simulated(demands: Sequence[Demand], size: int, grace: int, most: int | None = None) -> Simulated:
    """Open every session on a pool of `size` numbers. A refused session is not asked for again.

    Args:
        demands: of one country, by their start.
        grace: seconds after a session's end during which its parties do not meet its number in another.
        most: how many may be refused; as soon as more are, the rest is left out. None for any number.
    """
    everything = (1 << size) - 1
    pasts: defaultdict[str, _Past] = defaultdict(_Past)
    rest = _Rest()
    numbers: list[int | None] = []
    refused = 0
    for demand in demands:
        first, second, now = pasts[demand.first], pasts[demand.second], demand.starts
        resting = rest.at(now)
        unused = everything & ~(first.used | second.used | resting)
        # The lowest bit is the lowest rank.
        number = (unused & -unused).bit_length() - 1 if unused else _longest_unused(first, second, now, resting)
        numbers.append(number)
        if number is None:
            refused += 1
            if most is not None and refused > most:
                return Simulated(tuple(numbers), refused, cut_short=True)
            continue
        until = demand.held_until(grace)
        first.use(number, until)
        second.use(number, until)
        if demand.cooloff:
            rest.add(number, demand)
    return Simulated(tuple(numbers), refused)


def numbers_in_use(demands: Iterable[Demand], numbers: Iterable[int | None], grace: int) -> tuple[Level, ...]:
    """How many of the numbers are held, live or cooling, from each moment on at which that changes; 0 in the end."""
    changes: defaultdict[datetime, int] = defaultdict(int)
    free_from: dict[int, datetime] = {}
    for demand, number in zip(demands, numbers, strict=True):
        if number is None:
            continue
        until = demand.held_until(grace)
        begins = max(demand.starts, free_from.get(number, demand.starts))
        if until > begins:
            changes[begins] += 1
            changes[until] -= 1
            free_from[number] = until
    levels, in_use = [], 0
    for moment, change in sorted(changes.items()):
        if change:
            in_use += change
            levels.append(Level(moment, in_use))
    return tuple(levels)


class _Past:
    """The numbers that a party ever used.

    Attributes:
        used: a bit for each, by rank.
        order: when the last hold of each ends or ended, and its rank; the earliest first.
    """

    __slots__ = ("_until", "order", "used")

    def __init__(self) -> None:
        self.used = 0
        self.order: list[tuple[datetime, int]] = []
        self._until: dict[int, datetime] = {}

    def use(self, number: int, until: datetime) -> None:
        if number in self._until:
            del self.order[bisect_left(self.order, (self._until[number], number))]
        self.used |= 1 << number
        self._until[number] = until
        insort(self.order, (until, number))


def _longest_unused(first: _Past, second: _Past, now: datetime, resting: int) -> int | None:
    """Of numbers that both or one of the parties used, the one whose last use by either is over the longest.

    Goes through both pasts at once, the earliest end first: a number counts where its last use is met.
    """
    met = first.used ^ second.used
    a, b, i, j = first.order, second.order, 0, 0
    while i < len(a) or j < len(b):
        if j == len(b) or (i < len(a) and a[i] <= b[j]):
            until, number = a[i]
            i += 1
        else:
            until, number = b[j]
            j += 1
        if until > now:
            return None
        bit = 1 << number
        if met & bit and not resting & bit:
            return number
        met |= bit
    return None


class _Rest:
    """Which numbers a cool-off keeps from everybody, as time goes on."""

    def __init__(self) -> None:
        self._changes: list[tuple[datetime, int, int]] = []
        self._sessions: defaultdict[int, int] = defaultdict(int)
        self._numbers = 0

    def add(self, number: int, demand: Demand) -> None:
        heapq.heappush(self._changes, (demand.ends, 1, number))
        heapq.heappush(self._changes, (demand.rests_until, -1, number))

    def at(self, now: datetime) -> int:
        """A bit for each number that rests; `now` never goes back."""
        while self._changes and self._changes[0][0] <= now:
            _, change, number = heapq.heappop(self._changes)
            self._sessions[number] += change
            bit = 1 << number
            self._numbers = self._numbers | bit if self._sessions[number] else self._numbers & ~bit
        return self._numbers
