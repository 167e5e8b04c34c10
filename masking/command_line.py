"""What every command of ours does alike: JSON for machines, errors as a line and an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from masking.errors import MaskingError
from masking.process import EXIT_CANNOT_START

if TYPE_CHECKING:
    from rich.console import Console

UNFOLDED = 10_000
"""Columns of what is written to a file or another program: more than any row has."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]

ResultT = TypeVar("ResultT")
RowT = TypeVar("RowT")


def or_exit(action: Callable[[], ResultT]) -> ResultT:
    """What `action` returns; an error of ours becomes a line that says what to do, and exit code 2."""
    try:
        return action()
    except MaskingError as error:
        typer.echo(f"masking: {error}", err=True)
        raise typer.Exit(EXIT_CANNOT_START) from None


def printable(text: str) -> str:
    """A line that others have a say in, for a terminal: what would steer it, or hide the rest, is written out."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def say(told: Mapping[str, object], words: str, *, as_json: bool) -> None:
    """Tell a machine or a person."""
    typer.echo(json.dumps(told) if as_json else words)


def say_some(
    name: str, rows: Sequence[RowT], line: Callable[[RowT], str], state: str, limit: int, *, as_json: bool
) -> None:
    """Tell at most `limit` named tuples of one state: a line each and how many there are, or one JSON object.

    Args:
        rows: one beyond the limit, where there are more.
    """
    shown, more = rows[:limit], len(rows) > limit
    if as_json:
        typer.echo(json.dumps({name: [plain(row) for row in shown], "more": more}))
        return
    for row in shown:
        typer.echo(printable(line(row)))
    typer.echo(how_many(len(shown), state, more=more))


def how_many(shown: int, state: str, *, more: bool, see: str = "--limit") -> str:
    """The last line of a list: how many there are, or that there are more than are shown."""
    return f"{shown} {state} shown; there are more: see {see}." if more else f"{shown} {state}."


def screen(*, soft_wrap: bool = False) -> Console:
    """Standard output for tables of rich's. What a file or another program gets is not folded to any width."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else UNFOLDED, soft_wrap=soft_wrap, markup=False)


def plain(row: Any) -> dict[str, object]:
    """A named tuple as JSON can hold it; times in ISO 8601."""
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row._asdict().items()}
