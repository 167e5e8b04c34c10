"""Finding the database and the keys of the system that an operator's command is about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import psycopg
from psycopg_pool import PoolTimeout

from masking.embedded.postgres import running_database_url
from masking.errors import DatabaseFailed, StartupError
from masking.privacy.key_files import load_keyring
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from masking.storage import key_checks, tables
from masking.storage.database import Database


class OperatedSystem(NamedTuple):
    """A system as its operator reaches it."""

    database: Database
    keyring: Keyring


@asynccontextmanager
async def operated_system(settings: Settings, connections: int = 2) -> AsyncIterator[OperatedSystem]:
    """The database of `DATABASE_URL`, or of the `masking run` that uses the data folder; and its keys.

    Args:
        connections: to the database, at most.

    Raises:
        StartupError: neither is there, the keys are missing or another database's, or its tables are older.
        DatabaseFailed: it failed while it was used.
    """
    settings = with_keys_file(settings)
    url = operated_database_url(settings)
    keyring = load_keyring(settings)
    async with Database(url, size=connections) as database:
        await tables.must_be_there(database)
        try:
            await key_checks.must_fit(database, keyring)
            yield OperatedSystem(database, keyring)
        except (psycopg.Error, PoolTimeout) as error:
            raise DatabaseFailed(_what_failed(error)) from None


def _what_failed(error: psycopg.Error | PoolTimeout) -> str:
    """What to tell. PostgreSQL's own words stay out of it: they may quote values, phone numbers among them."""
    match error:
        case psycopg.errors.QueryCanceled():
            return "PostgreSQL took longer for a step than it may, and the step was undone; try again"
        case psycopg.errors.ReadOnlySqlTransaction():
            return "the database cannot be written at the moment: it is read-only"
        case psycopg.errors.DiskFull():
            return "the database cannot be written at the moment: PostgreSQL's disk is full"
        case psycopg.OperationalError() | psycopg.InterfaceError() | PoolTimeout():
            return "PostgreSQL went away meanwhile; look whether it was done before you repeat it"
        case _:
            return f"PostgreSQL refused a step, which was undone ({type(error).__name__}, SQLSTATE {error.sqlstate})"


def operated_database_url(settings: Settings) -> str:
    """The database of `DATABASE_URL`, or of the `masking run` that uses the data folder.

    Raises:
        StartupError: neither is there.
    """
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    found = running_database_url(settings.data.absolute() / "postgres")
    if found is None:
        raise StartupError("no database: set DATABASE_URL, or start `masking run` (MASKING_DATA names its data folder)")
    return found


def with_keys_file(settings: Settings) -> Settings:
    """The settings with the key file of the data folder, where they name no keys."""
    keys_file = settings.data.absolute() / "keys.json"
    if not settings.names_keys and keys_file.exists():
        return settings.model_copy(update={"keys_file": keys_file})
    return settings
