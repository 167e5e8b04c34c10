"""`masking inbox`: what is told of a session that does not exist."""

from __future__ import annotations

import asyncio

import pytest
from typer.testing import CliRunner

from masking.cli import app
from masking.privacy.keyring import Keyring
from masking.storage import batches, inbox
from masking.storage.database import Database
from tests.conftest import KEYS
from tests.domain.conversation import answered_call, call
from tests.storage.test_inbox import active, post

pytestmark = pytest.mark.anyio


async def test_more_events_than_one_statement_may_change_are_retried_some_at_a_time(
    database: Database, keyring: Keyring, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await active(database, keyring)
    await post(database, keyring, session, *answered_call(call())[:5])
    async with database.transaction() as connection:
        await connection.execute("UPDATE inbox SET due_at = now() + interval '5 minutes'")
    monkeypatch.setattr(batches, "AT_ONCE", 2)
    async with database.transaction() as connection:
        assert (await inbox.retry_some(connection)).how_many == 2
    environment = {"DATABASE_URL": migrated_url, "MASKING_KEYS": KEYS}
    done = await asyncio.to_thread(CliRunner().invoke, app, ["inbox", "retry"], env=environment)
    assert (done.exit_code, done.stdout) == (0, "3 events will be tried again.\n")


async def test_a_session_that_does_not_exist_is_not_told_to_have_no_corrections(
    database: Database, migrated_url: str
) -> None:
    del database
    environment = {"DATABASE_URL": migrated_url, "MASKING_KEYS": KEYS}
    asked = ["inbox", "corrections", "00000000-0000-4000-8000-000000000000"]
    done = await asyncio.to_thread(CliRunner().invoke, app, asked, env=environment)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", "masking: there is no session with this id\n")
