"""What the choice of numbers is good for: `python -m benchmarks.choice`.

Days of ride-hailing (the same drivers every day, riders by chance) are opened on a pool of each
country, once by each of three rules: the first free number, any free one by chance, and ours
(never used by either party, else the longest unused). A number that a party used with somebody
else a short while ago stands in that party's list of calls: dialling it now reaches a stranger.
Prints how many sessions got such a number, how long ago that use was, and what becomes of redials.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from examples.demand.make import MIDNIGHTS, SEED, ride_hailing
from masking.domain.pool.choice import PoolNumber, candidates
from masking.domain.pool.planning import most_at_a_time
from masking.domain.pool.simulation import Demand

GRACE = 1800
HOUR = timedelta(hours=1)
RECENT = 24 * HOUR
REDIALS = (1, 2, 4)
"""Hours after a session's end."""
OURS = "ours"
LEGEND = (
    "reused in 24 h: sessions whose number one of the parties had used with somebody else; how long ago, the median.",
    "1 h, 2 h, 4 h: redials so long after a session's end that reach a stranger.",
)

Rule = Callable[[Sequence[PoolNumber]], PoolNumber]


class Use(NamedTuple):
    """A session that got a number."""

    demand: Demand
    number: int


class Effect(NamedTuple):
    """What a rule led to.

    Attributes:
        pool: how many numbers each country has; C is the most sessions that one of its parties has at a time.
        reused: the share of sessions whose number a party had used with somebody else in the last 24 hours.
        since: hours from the end of that use to the session, the median over those sessions.
        redials: the share of redials that reach a stranger, by hours since the end of the session they are meant for.
    """

    pool: str
    rule: str
    refused: int
    reused: float
    since: float
    redials: dict[str, float]


def rules(chance: random.Random) -> dict[str, Rule]:
    """The rules that are compared."""
    return {
        "first free": lambda free: min(free, key=lambda number: number.rank),
        "random free": lambda free: free[int(chance.random() * len(free))],
        OURS: lambda free: candidates(free)[0],
    }


def days(seed: int, count: int) -> dict[str, list[Demand]]:
    """Each country's sessions, by their start."""
    found: dict[str, list[Demand]] = {country: [] for country in MIDNIGHTS}
    for row in ride_hailing(seed, count):
        starts, ends = datetime.fromisoformat(row.created_at), datetime.fromisoformat(row.ended_at)
        found[row.country].append(Demand(row.country, row.first_party, row.second_party, starts, ends))
    return found


def served(demands: Iterable[Demand], size: int, rule: Rule) -> list[Use]:
    """Open the sessions one after the other."""
    until: defaultdict[str, dict[int, datetime]] = defaultdict(dict)
    uses = []
    for demand in demands:
        first, second = until[demand.first], until[demand.second]
        last = {number: max(each[number] for each in (first, second) if number in each) for number in first | second}
        free = [
            PoolNumber(str(rank), demand.country, rank, last.get(rank))
            for rank in range(size)
            if rank not in last or last[rank] <= demand.starts
        ]
        if free:
            number = rule(free).rank
            first[number] = second[number] = demand.held_until(GRACE)
            uses.append(Use(demand, number))
    return uses


def partner(demand: Demand, party: str) -> str:
    """The other party."""
    return demand.second if party == demand.first else demand.first


def reused_since(uses: Sequence[Use]) -> list[float]:
    """For each session whose number a party had lately used with somebody else: hours since the end of that."""
    last: dict[tuple[str, int], Demand] = {}
    found = []
    for demand, number in uses:
        before = [(party, last[party, number]) for party in demand.parties if (party, number) in last]
        since = [demand.starts - each.ends for party, each in before if partner(each, party) != partner(demand, party)]
        if since and min(since) <= RECENT:
            found.append(min(since) / HOUR)
        last.update({(party, number): demand for party in demand.parties})
    return found


def strangers_reached(uses: Sequence[Use], after: timedelta) -> float:
    """Each party dials its number again so long after each session's end: the share that reach somebody else."""
    lives: defaultdict[tuple[str, int], list[Demand]] = defaultdict(list)
    for demand, number in uses:
        for party in demand.parties:
            lives[party, number].append(demand)
    reached = [
        any(
            live.starts <= demand.ends + after < live.ends and partner(live, party) != partner(demand, party)
            for live in lives[party, number]
        )
        for demand, number in uses
        for party in demand.parties
    ]
    return sum(reached) / len(reached)


def effect(pool: str, rule: str, wanted: int, by_country: Sequence[list[Use]]) -> Effect:
    """Of the same rule in every country."""
    uses = [use for each in by_country for use in each]
    found = [since for each in by_country for since in reused_since(each)]
    redials = {f"{after} h": strangers_reached(uses, after * HOUR) for after in REDIALS}
    return Effect(pool, rule, wanted - len(uses), len(found) / len(uses), statistics.median(found), redials)


def main(seed: int, count: int, *, as_json: bool) -> None:
    """Run and show it."""
    console = Console(stderr=as_json)
    demands = days(seed, count)
    sessions = sum(map(len, demands.values()))
    most = {country: most_at_a_time(wanted, GRACE) for country, wanted in demands.items()}
    pools = {"C": most, "2C − 1": {country: 2 * each - 1 for country, each in most.items()}}
    effects = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Opening sessions", total=len(pools) * sessions * len(rules(random.Random(seed))))
        for pool, sizes in pools.items():
            for name, rule in rules(random.Random(seed)).items():
                uses = [served(wanted, sizes[country], rule) for country, wanted in demands.items()]
                effects.append(effect(pool, name, sessions, uses))
                progress.advance(task, sessions)
    if as_json:
        about = {"seed": seed, "days": count, "sessions": sessions, "numbers": pools}
        print(json.dumps({**about, "results": [each._asdict() for each in effects]}))
        return
    told = ", ".join(f"C = {each} in {country}" for country, each in most.items())
    table = Table("numbers", "rule", "refused", "reused in 24 h", "hours since", *effects[0].redials, box=box.SIMPLE)
    table.columns[1].no_wrap = True
    for each in effects:
        redials = (f"{share:.2%}" for share in each.redials.values())
        table.add_row(each.pool, each.rule, str(each.refused), f"{each.reused:.0%}", f"{each.since:.1f}", *redials,
                      end_section=each.rule == OURS)  # fmt: skip
    console.print(f"seed {seed}, {count} days, {sessions} sessions, {told}")
    console.print(table)
    for line in LEGEND:
        console.print(line, soft_wrap=True)
    console.print(ratios(effects), soft_wrap=True)


def ratios(effects: Sequence[Effect]) -> str:
    """The last line: how often a party's number was another's, and how long ago, with ours as one."""
    told = []
    for ours in (each for each in effects if each.rule == OURS):
        others = (
            f"{each.rule} {each.reused / ours.reused:.2f} as often, {each.since / ours.since:.2f} as long ago"
            for each in effects
            if each.pool == ours.pool and each is not ours
        )
        told.append(f"with {ours.pool} numbers, {', '.join(others)}")
    return f"reused in 24 h, ours = 1: {'; '.join(told)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED, help=f"repeats a run (default {SEED})")
    parser.add_argument("--days", type=int, default=7, help="how many (default 7)")
    parser.add_argument("--json", action="store_true", help="print one JSON object for machines")
    given = parser.parse_args()
    main(given.seed, given.days, as_json=given.json)
