"""How many virtual numbers a demand needs: the need by simulation, the bounds by proof."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from masking.domain.pool.simulation import Demand, Level, Simulated, numbers_in_use, simulated


class Plan(NamedTuple):
    """What one country needs.

    Attributes:
        sessions: how many were wanted.
        at_a_time: C, the most sessions, live or cooling, that one party has at a time. Fewer numbers must refuse some.
        resting: the most sessions at a time whose cool-off keeps their number from everybody.
        needed: the smallest pool that refuses no larger share of the sessions than was chosen, by simulation.
        refused: how many sessions it refuses.
        needed_for_all: the smallest pool that refuses none, by simulation.
        in_use: numbers in use over time, with `needed` of them.
    """

    country: str
    sessions: int
    at_a_time: int
    resting: int
    needed: int
    refused: int
    needed_for_all: int
    in_use: tuple[Level, ...]

    @property
    def bound(self) -> int:
        """2C - 1 numbers, which refuse none in any order of creates and ends where no whole number ever rests."""
        return 2 * self.at_a_time - 1

    @property
    def proven(self) -> int:
        """Numbers that refuse none in any order: a create finds at most 2(C - 1) held and `resting` at rest."""
        return self.bound + self.resting

    @property
    def refusal_rate(self) -> float:
        """The share of sessions that `needed` numbers refuse."""
        return self.refused / self.sessions

    @property
    def peak(self) -> int:
        """The most numbers in use at a time, with `needed` of them."""
        return max((level.numbers for level in self.in_use), default=0)


def planned(
    country: str,
    demands: Iterable[Demand],
    grace: int,
    refusal_rate: float,
    tell: Callable[[int], None] = lambda size: None,
) -> Plan:
    """What one country's demand needs. Pools of every size are tried, from one number up.

    The choice of numbers is greedy, so that a larger pool may, rarely, refuse more than a smaller one. What is told
    of a pool was simulated with just that pool, and every smaller one was found not to do.

    Args:
        demands: all of that country, at least one.
        grace: seconds after a session's end during which its parties do not meet its number in another.
        refusal_rate: the share of sessions that may be refused, 0 to 1.
        tell: is told the size of each pool before it is tried.
    """
    wanted = sorted(demands, key=attrgetter("starts"))
    at_a_time = most_at_a_time(wanted, grace)

    def smallest(size: int, most: int) -> tuple[int, Simulated]:
        tell(size)
        while (served := simulated(wanted, size, grace, most)).cut_short:
            size += 1
            tell(size)
        return size, served

    needed, served = smallest(1, _bearable(len(wanted), refusal_rate))
    needed_for_all, _ = smallest(max(needed, at_a_time), 0) if served.refused else (needed, served)
    return Plan(
        country=country,
        sessions=len(wanted),
        at_a_time=at_a_time,
        resting=most_at_rest(wanted),
        needed=needed,
        refused=served.refused,
        needed_for_all=needed_for_all,
        in_use=numbers_in_use(wanted, served.numbers, grace),
    )


def most_at_a_time(demands: Iterable[Demand], grace: int) -> int:
    """C: the most sessions, live or cooling, that one party has at a time. `demands` by their start."""
    holds: defaultdict[str, list[datetime]] = defaultdict(list)
    return max(_beside(holds[party], each.starts, each.held_until(grace)) for each in demands for party in each.parties)


def most_at_rest(demands: Iterable[Demand]) -> int:
    """The most sessions at a time that are within their cool-off of the whole number."""
    ended = sorted((each for each in demands if each.cooloff), key=attrgetter("ends"))
    resting: list[datetime] = []
    return max((_beside(resting, each.ends, each.rests_until) for each in ended), default=0)


def _beside(ends: list[datetime], starts: datetime, until: datetime) -> int:
    """Add a span to a heap of the ends of those that began before; how many of them last with it."""
    while ends and ends[0] <= starts:
        heapq.heappop(ends)
    heapq.heappush(ends, until)
    return len(ends)


def _bearable(sessions: int, refusal_rate: float) -> int:
    """The most of so many sessions that may be refused."""
    refused = int(refusal_rate * sessions) + 1
    while refused / sessions > refusal_rate:
        refused -= 1
    return refused
