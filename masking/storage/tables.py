"""Whether a database has the tables that this code needs."""

from __future__ import annotations

from pathlib import Path

import psycopg

from masking.errors import StartupError
from masking.storage.database import Connection, Database

VERSIONS = Path(__file__).parent / "migrations" / "versions"
NEEDED = max(file.name[:4] for file in VERSIONS.glob("[0-9]*.py"))
"""The newest migration: each one's file begins with its number."""


async def are_behind(connection: Connection) -> bool:
    """Whether a migration is missing. That newer code has run more of them is no harm."""
    found = await connection.execute("SELECT to_regclass('alembic_version')::text")
    if await found.fetchone() == (None,):
        return True
    row = await (await connection.execute("SELECT max(version_num) FROM alembic_version")).fetchone()
    return row is None or row[0] is None or str(row[0]) < NEEDED


async def must_be_there(database: Database) -> None:
    """Let a process start only on tables that it knows.

    Raises:
        StartupError: a migration is missing.
    """
    try:
        async with database.transaction() as connection:
            behind = await are_behind(connection)
    except psycopg.Error as error:
        reason = type(error).__name__
        raise StartupError(f"DATABASE_URL: PostgreSQL does not let us read its tables ({reason})") from None
    if behind:
        raise StartupError("DATABASE_URL: its tables are missing or of an older version; run `masking migrate`")
