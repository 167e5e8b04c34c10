"""Rows in columns, one to a line whatever the width of the screen, so that `grep` and `awk` find each whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

GAP = "  "


class Columns:
    """Lines of rows that come some at a time; a column grows with what it has had to hold so far.

    Args:
        names: of the columns.
        right: those that are aligned to the right.
    """

    def __init__(self, *names: str, right: Sequence[str] = ()) -> None:
        self._names, self._right = names, [name in right for name in names]
        self._widths = [len(name) for name in names]
        self._begun = False

    def lines(self, rows: Iterable[Sequence[str]]) -> Iterator[str]:
        """A line for each of some more rows; before the first of all, the columns' names."""
        taken = list(rows)
        for row in taken:
            self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        if not self._begun:
            yield self._line(self._names)
        self._begun = True
        yield from map(self._line, taken)

    def _line(self, row: Sequence[str]) -> str:
        cells = zip(row, self._widths, self._right, strict=True)
        return GAP.join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells).rstrip()
