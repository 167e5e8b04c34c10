"""A database that is away, refuses us, or was not migrated is told in one line that holds no password."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import psycopg
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from alembic.config import Config
from alembic.script import ScriptDirectory

from masking.errors import StartupError
from masking.gateway.context import CONTEXT
from masking.gateway.health import healthz
from masking.storage import database as storage
from masking.storage import tables
from masking.storage.database import Database
from masking.storage.migrate import MIGRATIONS, migrate

pytestmark = pytest.mark.anyio


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """A database without a table, and a role `weak` that may make none."""
    name = f"empty_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        connection.execute("DROP ROLE IF EXISTS weak")
        connection.execute("CREATE ROLE weak LOGIN")
    yield postgres_url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        connection.execute("DROP ROLE weak")


async def health(database: Database) -> web.Response:
    app = web.Application()
    app[CONTEXT] = cast(Any, SimpleNamespace(database=database))
    return await healthz(make_mocked_request("GET", "/healthz", app=app))


async def test_a_gateway_or_worker_starts_only_on_migrated_tables(empty_url: str) -> None:
    async with Database(empty_url) as database:
        assert (await health(database)).status == 503
        with pytest.raises(StartupError, match="run `masking migrate`"):
            await tables.must_be_there(database)

        migrate(empty_url)

        await tables.must_be_there(database)
        assert (await health(database)).status == 200


@pytest.mark.parametrize(("version", "status"), [("0001", 503), ("9999", 200)])
async def test_older_tables_are_unfit_and_newer_ones_are_not(empty_url: str, version: str, status: int) -> None:
    with psycopg.connect(empty_url) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text)")
        connection.execute("INSERT INTO alembic_version VALUES (%s)", (version,))
    async with Database(empty_url) as database:
        assert (await health(database)).status == status


def test_the_newest_migrations_file_has_its_name() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == tables.NEEDED


def test_a_role_that_may_make_no_table_is_told(empty_url: str) -> None:
    with pytest.raises(StartupError, match="InsufficientPrivilege") as refused:
        migrate(empty_url.replace("postgres:@", "weak:secret@"))
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_tables_of_newer_code_are_told(empty_url: str) -> None:
    with psycopg.connect(empty_url) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    with pytest.raises(StartupError, match="newer version"):
        migrate(empty_url)


@pytest.mark.parametrize("url", ["nonsense secret", "postgresql://u:secret@127.0.0.1:port/x"])
def test_a_url_that_is_none_is_not_repeated(url: str) -> None:
    with pytest.raises(StartupError, match="DATABASE_URL: ") as refused:
        migrate(url)
    assert "secret" not in str(refused.value)


async def test_nothing_but_our_line_is_said_of_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(storage, "CONNECT_TIMEOUT", 1.0)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StartupError, match="DATABASE_URL: PostgreSQL does not answer there or refuses the login"):
        async with Database("postgresql://u:secret@127.0.0.1:1/x"):
            pass
    assert [record.message for record in caplog.records if record.name.startswith("psycopg")] == []
    assert not logging.getLogger("psycopg.pool").disabled
