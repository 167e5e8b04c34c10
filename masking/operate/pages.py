"""Lists of any length, read and written a page at a time."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

import typer

from masking.command_line import how_many, plain
from masking.operate.columns import Columns
from masking.operate.console import on_system
from masking.operate.system import OperatedSystem

LISTED, PAGE = 50, 1000

Limit = Annotated[
    int | None,
    typer.Option(
        help=f"The first so many; {LISTED} when left out, or all with --json.", min=1, max=1_000_000, show_default=False
    ),
]

RowT = TypeVar("RowT")


def print_list(
    name: str,
    read: Callable[[OperatedSystem, RowT | None, int], Awaitable[Sequence[RowT]]],
    columns: Columns,
    cells: Callable[[RowT], Sequence[str]],
    limit: int | None,
    *,
    as_json: bool,
    see: str = "--limit",
) -> None:
    """Print named tuples in columns and how many there are, or one JSON object.

    Args:
        read: those behind one, or from the first on, at most so many; in a transaction of its own, so that whoever
            reads slowly keeps none open.
        see: the options for more of them.
    """
    most = limit or (None if as_json else LISTED)
    begin = f'{{"{name}": ['

    def write(page: Sequence[RowT]) -> None:
        nonlocal begin
        if as_json:
            typer.echo(begin + ", ".join(json.dumps(plain(each)) for each in page), nl=False)
            begin = ", "
        elif page:
            typer.echo("\n".join(columns.lines(map(cells, page))))

    async def print_all(system: OperatedSystem) -> tuple[int, bool]:
        shown, last = 0, None
        while True:
            left = PAGE if most is None else min(PAGE, most - shown)
            page = await read(system, last, left + 1)
            write(page[:left])
            shown, more = shown + len(page[:left]), len(page) > left
            if not more or shown == most:
                return shown, more
            last = page[left - 1]

    shown, more = on_system(print_all)
    typer.echo(f'], "more": {json.dumps(more)}}}' if as_json else how_many(shown, name, more=more, see=see))
