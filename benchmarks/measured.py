"""Times of one kind of request, and how benchmarks show them beside the cheapest one of the same run."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Measured(NamedTuple):
    """One kind of request: milliseconds."""

    name: str
    median: float
    p99: float

    @classmethod
    def of(cls, name: str, taken: Sequence[float]) -> Measured:
        """From every time taken."""
        return cls(name, statistics.median(taken), statistics.quantiles(taken, n=100)[98])


class Limits(NamedTuple):
    """What every kind has to stay under: milliseconds."""

    p99: float
    median: float = float("inf")

    def hold(self, results: Sequence[Measured]) -> bool:
        """Whether they do."""
        return all(each.median < self.median and each.p99 < self.p99 for each in results)

    def __str__(self) -> str:
        median = f"median < {self.median:g} ms and " if self.median < float("inf") else ""
        return f"{median}p99 < {self.p99:g} ms everywhere"


def report(
    console: Console,
    base: Measured,
    results: Sequence[Measured],
    limits: Limits,
    *,
    title: str,
    about: Mapping[str, int],
    as_json: bool,
) -> int:
    """Show the figures and their ratio to `base`. 0 when the limits hold, else 1."""
    ok = limits.hold(results)
    if as_json:
        told = [each._asdict() | {"median_to_base": each.median / base.median} for each in results]
        print(json.dumps({**about, "ok": ok, "base": base._asdict(), "results": told}))
        return 0 if ok else 1
    table = Table("what", "median ms", "p99 ms", f"median : {base.name}", title=title)
    for each in (base, *results):
        table.add_row(each.name, f"{each.median:.1f}", f"{each.p99:.1f}", f"{each.median / base.median:.1f}")
    console.print(table)
    console.print(f"{limits}: {'yes' if ok else 'NO'}")
    return 0 if ok else 1
