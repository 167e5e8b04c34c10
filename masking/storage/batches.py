"""Rows by the thousand, changed some at a time: more than one statement can change within its time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from masking.storage.database import Connection, Database

AT_ONCE = 5_000


class Batch(NamedTuple):
    """What became of some rows: how many, and behind which one the next begin; None for no more."""

    how_many: int
    last: int | None


async def batch(connection: Connection, statement: str, parameters: dict[str, object], after: int) -> Batch:
    """Change the next rows behind one.

    Args:
        statement: changes at most `%(limit)s` rows behind `%(after)s`; tells how many, and the number of the last.
    """
    done = await connection.execute(statement, parameters | {"after": after, "limit": AT_ONCE})
    row: tuple[int, int | None] | None = await done.fetchone()  # type: ignore[assignment] # counted
    count, last = row or (0, None)
    return Batch(count, last if count == AT_ONCE else None)


async def in_batches(
    database: Database, some: Callable[[Connection, int], Awaitable[Batch]], done: Callable[[int], None]
) -> int:
    """Change all rows, in a transaction for each batch. How many there were.

    Args:
        some: changes those behind a number, beginning with 0.
        done: is told how many more are changed.
    """
    count, after = 0, 0
    while True:
        async with database.transaction() as connection:
            changed = await some(connection, after)
        count += changed.how_many
        done(changed.how_many)
        if changed.last is None:
            return count
        after = changed.last
