"""`masking inbox`: what is told of a session that does not exist."""

from __future__ import annotations

import asyncio

import pytest
from typer.testing import CliRunner

from masking.cli import app
from masking.storage.database import Database
from tests.conftest import KEYS

pytestmark = pytest.mark.anyio


async def test_a_session_that_does_not_exist_is_not_told_to_have_no_corrections(
    database: Database, migrated_url: str
) -> None:
    del database
    environment = {"DATABASE_URL": migrated_url, "MASKING_KEYS": KEYS}
    asked = ["inbox", "corrections", "00000000-0000-4000-8000-000000000000"]
    done = await asyncio.to_thread(CliRunner().invoke, app, asked, env=environment)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", "masking: there is no session with this id\n")
