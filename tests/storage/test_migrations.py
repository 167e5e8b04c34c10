"""Databases of earlier versions come along, with what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config

from masking.privacy.keyring import Keyring
from masking.storage.accounts import AUTH, Principal, authenticate
from masking.storage.database import Database
from masking.storage.migrate import MIGRATIONS, migrate
from masking.storage.routes import identity_hash
from tests.conftest import ACCOUNT, TOKEN
from tests.domain.conversation import FIRST


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    name = f"m{uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgres_url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def move_to(url: str, revision: str, *, up: bool = True) -> None:
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=sqlalchemy.NullPool
    )
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.upgrade if up else command.downgrade)(config, revision)


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {str(row[0]) for row in rows} - {"alembic_version"}


def columns(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, 2"
        ).fetchall()


@pytest.mark.anyio
async def test_the_first_versions_accounts_numbers_and_sessions_come_along(empty_url: str, keyring: Keyring) -> None:
    move_to(empty_url, "0001")
    key_id, sealed = keyring.seal(TOKEN.encode(), AUTH)
    token_hash = keyring.lookup_hash(AUTH, f"{ACCOUNT}:{TOKEN}")
    with psycopg.connect(empty_url) as connection:
        connection.execute(
            "INSERT INTO accounts (auth_id, token_hash, token_key_id, token_sealed) VALUES (%s, %s, %s, %s)",
            (ACCOUNT, token_hash, key_id, sealed),
        )
        connection.execute(
            "INSERT INTO numbers (number, account_id, country) VALUES ('+12025550199', %s, 'US')", [ACCOUNT]
        )
        connection.execute(
            "INSERT INTO routes (virtual_number, caller_hash, session_uuid, side, expires_at, held_until)"
            " VALUES ('+12025550199', %s, 'a', 'first', now() + interval '1 hour', now() + interval '2 hours')",
            [identity_hash(keyring, "number", FIRST)],
        )
    migrate(empty_url)

    async with Database(empty_url) as database, database.transaction() as connection:
        assert await authenticate(connection, keyring, ACCOUNT, TOKEN) == Principal(ACCOUNT, None)
        routes = await (await connection.execute("SELECT kind, released FROM routes")).fetchall()
        numbers = await (await connection.execute("SELECT carrier, capabilities, state FROM numbers")).fetchall()
    assert routes == [("number", False)]
    assert numbers == [("voice", ["voice"], "available")]


def test_sessions_that_ask_strangers_for_a_pin_are_told_apart_from_those_that_only_announce(empty_url: str) -> None:
    move_to(empty_url, "0004")
    held = [("asks", "stranger"), ("asks", "pin"), ("announces", "stranger"), ("announces", "number")]
    with psycopg.connect(empty_url) as connection:
        for n, (session, kind) in enumerate(held):
            connection.execute(
                "INSERT INTO routes (virtual_number, caller_hash, session_uuid, side, kind, expires_at, held_until)"
                " VALUES ('+12025550199', %s, %s, 'first', %s, now(), now())",
                (bytes([n]), session, kind),
            )
    kinds = "SELECT session_uuid, kind FROM routes ORDER BY caller_hash"
    migrate(empty_url)
    with psycopg.connect(empty_url) as connection:
        assert connection.execute(kinds).fetchall() == [("asks", "question"), *held[1:]]
    move_to(empty_url, "0004", up=False)
    with psycopg.connect(empty_url) as connection:
        assert connection.execute(kinds).fetchall() == held


def test_every_migration_can_be_undone_and_done_again(empty_url: str) -> None:
    migrate(empty_url)
    newest = columns(empty_url)
    for revision in ("0002", "0001"):
        move_to(empty_url, revision, up=False)
    migrate(empty_url)
    assert columns(empty_url) == newest
    move_to(empty_url, "base", up=False)
    assert tables(empty_url) == set()


def test_what_belongs_to_one_session_is_found_without_reading_what_belongs_to_others(migrated_url: str) -> None:
    """Else evidence and erasure of each session take the longer the more sessions there were, until they time out."""
    with psycopg.connect(migrated_url) as connection:
        found = connection.execute(
            "SELECT table_name FROM information_schema.columns"
            " WHERE column_name = 'session_uuid' AND table_schema = 'public'"
        ).fetchall()
        connection.execute("SET enable_seqscan = off")
        plans = {
            str(table): str(connection.execute(f"EXPLAIN SELECT FROM {table} WHERE session_uuid = 'x'").fetchall())
            for (table,) in found
        }

    read_whole = {table for table, plan in plans.items() if "Seq Scan" in plan}
    assert read_whole == {"resources"}, "of these nobody asks by session"
