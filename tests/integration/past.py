"""A database that is set back to an earlier moment, as a failover to a standby that lagged does it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql


class Past:
    """Notes what all our tables hold, and has them hold just that again, at once, while everything runs."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def note(self) -> None:
        """This is the moment."""
        await asyncio.to_thread(_until_locked, self._note)

    async def comes_back(self) -> None:
        """What was committed since is gone."""
        await asyncio.to_thread(_until_locked, self._set_back)

    def _note(self) -> None:
        with psycopg.connect(self._url) as connection:
            connection.execute("DROP SCHEMA IF EXISTS past CASCADE")
            connection.execute("CREATE SCHEMA past")
            tables = _tables(connection)
            connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.SQL(", ").join(tables.values())))
            for name, table in tables.items():
                past = sql.Identifier("past", name)
                connection.execute(sql.SQL("CREATE TABLE {} AS TABLE {}").format(past, table))

    def _set_back(self) -> None:
        with psycopg.connect(self._url) as connection:
            connection.execute("SET LOCAL session_replication_role = replica")
            tables = _tables(connection)
            connection.execute(sql.SQL("LOCK TABLE {}").format(sql.SQL(", ").join(tables.values())))
            for name, table in tables.items():
                found = connection.execute(
                    "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public'"
                    " AND table_name = %s AND is_generated = 'NEVER'",
                    (name,),
                ).fetchall()
                columns = sql.SQL(", ").join(sql.Identifier(str(column)) for (column,) in found)
                connection.execute(sql.SQL("DELETE FROM {}").format(table))
                connection.execute(
                    sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
                        table, columns, columns, sql.Identifier("past", name)
                    )
                )


def _until_locked(done: Callable[[], None]) -> None:
    """Do it, in a transaction of its own, although others lock the tables in another order."""
    for left in range(20, -1, -1):
        try:
            done()
            return
        except psycopg.errors.DeadlockDetected:
            if not left:
                raise


def _tables(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, sql.Identifier]:
    found = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1"
    ).fetchall()
    return {str(name): sql.Identifier("public", str(name)) for (name,) in found}


@pytest.fixture
def past(migrated_url: str) -> Iterator[Past]:
    yield Past(migrated_url)
    with psycopg.connect(migrated_url) as connection:
        connection.execute("DROP SCHEMA IF EXISTS past CASCADE")
