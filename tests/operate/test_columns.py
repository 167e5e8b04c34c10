"""Rows in columns: one to a line, whole, and aligned as far as is known."""

from __future__ import annotations

from masking.operate.columns import Columns


def test_columns_are_as_wide_as_what_they_hold() -> None:
    lines = Columns("name", "count", "note", right=("count",)).lines([("a", "1", ""), ("longer", "100000", "x y")])
    assert list(lines) == [
        "name     count  note",
        "a            1",
        "longer  100000  x y",
    ]


def test_rows_that_come_later_are_below_the_same_names() -> None:
    columns = Columns("name", "note")
    assert list(columns.lines([("a", "x")])) == ["name  note", "a     x"]
    assert list(columns.lines([("longest", "y"), ("b", "z")])) == ["longest  y", "b        z"]
    assert list(columns.lines([])) == []


def test_nothing_is_below_the_names() -> None:
    assert list(Columns("name").lines([])) == ["name"]
