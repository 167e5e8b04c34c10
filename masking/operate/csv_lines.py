"""CSV files with a line of names, whose wrong lines are all told at once."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

from masking.errors import MaskingError

MAX_TOLD = 50
_BEYOND = "\0"
"""The column of what a line has more than the first one names. No text has it for a name."""

TakenT = TypeVar("TakenT")


class WrongLines(MaskingError):
    """Lines of a file that cannot be taken.

    Args:
        outcome: what became of it all.
        faults: each with its line's number and what is wrong.
    """

    def __init__(self, outcome: str, faults: list[str]) -> None:
        more = len(faults) - MAX_TOLD
        told = faults[:MAX_TOLD] + ([f"and {more} more"] if more > 0 else [])
        super().__init__(f"{outcome}:\n  " + "\n  ".join(told))
        self.faults = faults


class Lines:
    """A file's lines after the first: the number of each, and its values by column, without spaces around them.

    Attributes:
        columns: what the first line names.
    """

    def __init__(self, file: TextIO) -> None:
        self._reader = csv.DictReader(file, strict=True, restkey=_BEYOND, restval="")
        self.columns = tuple(self._reader.fieldnames or ())

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        for row in self._reader:
            # What is beyond the named columns comes as a list.
            yield self._reader.line_num, {key: "".join(value).strip() for key, value in row.items()}


def taken(lines: Lines, take: Callable[[int, dict[str, str]], TakenT], outcome: str) -> list[TakenT]:
    """What `take` makes of each line, its number and its values, in their order.

    Args:
        outcome: what becomes of it all where a line cannot be taken.

    Raises:
        WrongLines: `take` raised `ValueError` for some lines; names all of them.
    """
    faults, done = list[str](), list[TakenT]()
    for line, row in lines:
        try:
            done.append(take(line, _whole(row)))
        except ValueError as fault:
            faults.append(f"line {line}: {fault}")
    if faults:
        raise WrongLines(outcome, faults)
    return done


def _whole(row: dict[str, str]) -> dict[str, str]:
    """The values of a line that holds what the first line announces, and text. Raises `ValueError`."""
    beyond = row.pop(_BEYOND, "")
    if beyond:
        raise ValueError("more values than the first line names columns; put one that has a comma in quotes")
    if any("\0" in value for value in row.values()):
        raise ValueError("a NUL character, which is no text")
    return row


@contextmanager
def opened(path: Path) -> Iterator[Lines]:
    """A file in UTF-8, open for reading. Raises `MaskingError` when it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield Lines(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MaskingError(f"{path} cannot be read: {error}") from None
