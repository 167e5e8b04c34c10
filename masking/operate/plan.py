"""`masking numbers plan`: how many numbers a demand needs. Asks neither a database nor for keys."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from masking.command_line import AsJson, or_exit, screen
from masking.domain.pool.planning import Plan, planned
from masking.domain.pool.simulation import Demand, Level
from masking.operate.numbers import app
from masking.operate.plan_history import read_history
from masking.settings import load_settings

BLOCKS = " ▁▂▃▄▅▆▇█"
PLOT_COLUMNS, PLOT_ROWS = 72, 4


@app.command()
def plan(
    history: Annotated[Path, typer.Option(help="The past sessions, CSV.", metavar="FILE")],
    refusal_rate: Annotated[
        float, typer.Option(min=0, max=0.5, help="The share of sessions that may get no number.")
    ] = 0.001,
    grace: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=86400,
            metavar="SECONDS",
            help="For how long after a session its parties do not meet its number; MASKING_PAIR_GRACE when left out.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell how many numbers to rent per country for a demand like that of past sessions.

    Opens them all again on pools of one number, two and so on, by the rule
    that new sessions get their numbers by. Beside the need stands the bound
    that is proven. A refused session is not asked for again.

    The first line of the file names its columns: created_at and ended_at
    (ISO 8601; UTC without an offset), first_party and second_party (phone
    numbers, or whatever tells parties apart; never shown), and optionally
    country (of the number, ISO; told by first_party when left out) and
    cooloff (seconds for which nobody got the number after the session).
    """
    demands = or_exit(lambda: read_history(history))
    seconds = or_exit(lambda: load_settings().pair_grace) if grace is None else grace
    plans = _plans(demands, seconds, refusal_rate, quiet=as_json)
    if as_json:
        told = [_for_machines(each) for each in plans]
        typer.echo(json.dumps({"refusal_rate": refusal_rate, "grace": seconds, "countries": told}))
        return
    console = screen()
    console.print(_table(plans, refusal_rate))
    for line in _notes(plans, seconds):
        console.print(line, soft_wrap=True)
    for each in plans:
        if each.in_use:
            console.print(f"\n{each.country}: numbers in use, live or cooling, of {each.needed}")
            console.print("\n".join(plot(each.in_use, PLOT_COLUMNS, PLOT_ROWS)), soft_wrap=True)


def plot(levels: Sequence[Level], columns: int, rows: int) -> list[str]:
    """Numbers in use over time, from the first moment to the last: each column shows the most of its time."""
    heights = most_per_span(levels, columns)
    top = max(heights)
    lines = []
    for row in reversed(range(rows)):
        # Rounded up, so that a single number shows.
        eighths = (-(-height * rows * 8 // top) - row * 8 for height in heights)
        label = top if row == rows - 1 else ""
        lines.append(f"{label:>5} │{''.join(BLOCKS[max(0, min(8, each))] for each in eighths)}".rstrip())
    first, last = (f"{level.since:%Y-%m-%d %H:%M}" for level in (levels[0], levels[-1]))
    return [*lines, f"{0:>5} └{'─' * columns}", f"{'':7}{first}{f'{last} UTC':>{columns - len(first)}}"]


def most_per_span(levels: Sequence[Level], spans: int) -> list[int]:
    """The most numbers in use within each of so many equal spans of time, which begin with their first moment."""
    begin, whole = levels[0].since, levels[-1].since - levels[0].since
    most = [0] * spans
    for level, following in pairwise(levels):
        first = (level.since - begin) * spans // whole
        # A level ends before the next one begins: rounded up, less one.
        last = -((begin - following.since) * spans // whole) - 1
        for each in range(first, last + 1):
            most[each] = max(most[each], level.numbers)
    return most


def _plans(demands: Sequence[Demand], grace: int, refusal_rate: float, *, quiet: bool) -> list[Plan]:
    by_country: defaultdict[str, list[Demand]] = defaultdict(list)
    for demand in demands:
        by_country[demand.country].append(demand)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def one(country: str) -> Plan:
            def tell(size: int) -> None:
                progress.update(task, description=f"{country}: trying {size} numbers")

            return planned(country, by_country[country], grace, refusal_rate, tell)

        return [one(country) for country in sorted(by_country)]


def _table(plans: Sequence[Plan], refusal_rate: float) -> Table:
    table = Table(box=None, pad_edge=False)
    names = ("sessions", "C", f"to refuse ≤ {refusal_rate * 100:g} %", "refused then", "to refuse none", "2C − 1")
    table.add_column("country")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for each in plans:
        refused = f"{each.refused} ({each.refusal_rate * 100:.2g} %)"
        bound = f"{each.bound}{' *' if each.resting else ''}"
        figures = (each.sessions, each.at_a_time, each.needed, refused, each.needed_for_all, bound)
        table.add_row(each.country, *(str(figure) for figure in figures))
    return table


def _notes(plans: Sequence[Plan], grace: int) -> list[str]:
    resting = [each for each in plans if each.resting]
    return [
        "",
        f"C: the most sessions that one party has at a time, live or cooling for {grace} s. Fewer numbers refuse some.",
        "2C − 1: numbers that refuse none, in whatever order sessions come and go; proven. The rest is simulated.",
        *(f"* {each.country}: not proven, since whole numbers rest, after up to {each.resting} sessions at a time; "
          f"{each.proven} numbers are." for each in resting),
    ]  # fmt: skip


def _for_machines(plan: Plan) -> dict[str, object]:
    return {
        "country": plan.country,
        "sessions": plan.sessions,
        "most_sessions_of_a_party": plan.at_a_time,
        "needed": plan.needed,
        "refused": plan.refused,
        "refusal_rate": plan.refusal_rate,
        "needed_to_refuse_none": plan.needed_for_all,
        "bound": plan.bound,
        "bound_is_proven": not plan.resting,
        "proven": plan.proven,
        "most_in_use": plan.peak,
        "in_use": [{"since": level.since.isoformat(), "numbers": level.numbers} for level in plan.in_use],
    }
