"""Whoever looks at what is otherwise hidden is written down first; what was written down stays."""

from __future__ import annotations

import asyncio
import getpass
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.operate import looking
from masking.storage.database import Database
from masking.storage.looks import note_look
from tests.conftest import KEYS

pytestmark = pytest.mark.anyio

SESSION = "2e0e0c2e-0000-4000-8000-000000000001"


class Operator:
    def __init__(self, database_url: str) -> None:
        self.environment = {"DATABASE_URL": database_url, "MASKING_KEYS": KEYS}

    async def runs(self, *arguments: str, **environment: str) -> Result:
        env = {**self.environment, **environment}
        return await asyncio.to_thread(CliRunner().invoke, app, ["privacy", "looks", *arguments], env=env)

    async def told(self, *arguments: str) -> list[dict[str, Any]]:
        done = await self.runs(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return list(json.loads(done.stdout)["looks"])


@pytest.fixture
def operator(migrated_url: str) -> Operator:
    return Operator(migrated_url)


async def test_looks_are_listed_newest_first_by_session_and_since_a_moment(
    database: Database, operator: Operator
) -> None:
    assert (await operator.runs()).stdout == "0 looks.\n"
    async with database.transaction() as connection:
        await note_look(connection, who="alice", what="decoded payloads", session_uuid=None, how_many=7, why="default")
    async with database.transaction() as connection:
        await note_look(connection, who="bob", what="numbers of a session", session_uuid=SESSION)
    newest, oldest = await operator.told()
    assert (newest["who"], newest["what"], newest["session_uuid"], newest["how_many"], newest["why"]) == (
        "bob", "numbers of a session", SESSION, 1, None,
    )  # fmt: skip
    assert (oldest["who"], oldest["how_many"], oldest["why"]) == ("alice", 7, "default")
    assert await operator.told("--session", SESSION) == [newest]
    assert await operator.told("--limit", "1") == [newest]
    for limit, last in (("1", "1 looks shown; there are more: see --limit."), ("2", "2 looks.")):
        assert (await operator.runs("--limit", limit)).stdout.splitlines()[-1] == last
        assert json.loads((await operator.runs("--limit", limit, "--json")).stdout)["more"] is (limit == "1")
    assert len(await operator.told("--since", "2026-01-01 00:00")) == 2
    later = datetime.now(UTC) + timedelta(minutes=2)
    assert await operator.told("--since", f"{later:%Y-%m-%dT%H:%M:%SZ}") == []
    words = (await operator.runs()).stdout
    assert f"UTC  bob: 1 numbers of a session of {SESSION}\n" in words
    assert "UTC  alice: 7 decoded payloads (default)\n" in words
    assert words.endswith("2 looks.\n")


@pytest.mark.parametrize("statement", ["UPDATE looks SET who = 'nobody'", "DELETE FROM looks", "TRUNCATE looks"])
async def test_no_entry_is_changed_or_deleted(database: Database, operator: Operator, statement: str) -> None:
    async with database.transaction() as connection:
        await note_look(connection, who="alice", what="decoded payloads", session_uuid=None)
    with pytest.raises(psycopg.errors.RaiseException, match="never changed or deleted"):
        async with database.transaction() as connection:
            await connection.execute(statement)
    assert [each["who"] for each in await operator.told()] == ["alice"]


def test_an_operator_is_who_logged_in_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASKING_OPERATOR", raising=False)
    assert looking.operator() == getpass.getuser()
    monkeypatch.setenv("MASKING_OPERATOR", "alice@example.com")
    assert looking.operator() == "alice@example.com"
