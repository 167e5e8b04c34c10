"""What an operator names is found however it is written; what is not there is told so, and is no empty list."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
import typer
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.operate.arguments import auth_id, moment, session_id
from masking.privacy.keyring import Keyring
from masking.storage.database import Database
from masking.storage.looks import note_look
from tests.conftest import ACCOUNT, KEYS, POOL
from tests.storage.test_inbox import active

pytestmark = pytest.mark.anyio

SESSION = "00000000-0000-4000-8000-00000000000a"
NO_SESSION = "masking: there is no session with this id\n"
NO_ACCOUNT = "masking: there is no account with this auth id; list them with `masking accounts list`\n"
OF_A_SESSION = (
    "callbacks list --session {}",
    "callbacks replay --session {}",
    "inbox list --session {}",
    "inbox corrections {}",
    "ledger show {}",
    "privacy looks --session {}",
)
OF_AN_ACCOUNT = (
    "numbers list --account {}",
    "numbers explain +12025550142 +12025550143 --account {}",
    "sessions list --account {}",
    "sessions overdue --account {}",
    "ledger export --month 2026-11 --account {}",
    "accounts disable {}",
    "accounts enable {}",
)


async def runs(database_url: str, command: str, *more: str) -> Result:
    environment = {"DATABASE_URL": database_url, "MASKING_KEYS": KEYS}
    return await asyncio.to_thread(CliRunner().invoke, app, [*command.split(), *more], env=environment)


@pytest.mark.parametrize("command", OF_A_SESSION)
async def test_a_session_that_does_not_exist_is_not_one_of_which_there_is_nothing(
    database: Database, migrated_url: str, command: str
) -> None:
    del database
    for more in ([], ["--json"]):
        done = await runs(migrated_url, command.format(SESSION), *more)
        assert (done.exit_code, done.stdout, done.stderr) == (2, "", NO_SESSION)


@pytest.mark.parametrize("command", OF_AN_ACCOUNT)
async def test_an_account_that_does_not_exist_is_not_one_that_has_nothing(
    database: Database, migrated_url: str, command: str
) -> None:
    del database
    done = await runs(migrated_url, command.format("MANOSUCHACCOUNT00000"))
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", NO_ACCOUNT)


@pytest.mark.parametrize("command", OF_A_SESSION)
async def test_a_session_is_found_in_capital_letters(
    database: Database, keyring: Keyring, migrated_url: str, command: str
) -> None:
    session = await active(database, keyring)
    async with database.transaction() as connection:
        await note_look(connection, who="alice", what="decoded payloads", session_uuid=session.session_uuid)
    done = await runs(migrated_url, command.format(session.session_uuid.upper()))
    assert (done.exit_code, done.stderr) == (0, "")


async def test_an_account_is_found_in_small_letters(database: Database, migrated_url: str) -> None:
    del database
    done = await runs(migrated_url, f"numbers list --account {ACCOUNT.lower()} --json")
    assert [each["number"] for each in json.loads(done.stdout)["numbers"]] == [number for number, _ in POOL]


def test_ids_are_written_as_they_are_stored() -> None:
    assert session_id(f" {SESSION.upper()} ") == SESSION
    assert session_id(f"{SESSION.upper()}:session:3") == f"{SESSION}:session:3"
    assert session_id("No session") == "No session"
    assert auth_id("matestaccount0000000") == "MATESTACCOUNT0000000"
    assert auth_id("somebody") == "somebody"


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-23T14:03:07Z",
        "2026-11-23T15:03:07+01:00",
        "2026-11-23 14:03:07",
        "2026-11-23T14:03:07.000000+00:00",
    ],
)
def test_a_moment_may_have_an_offset_and_fractions_as_our_own_output_has(written: str) -> None:
    assert moment(written) == datetime(2026, 11, 23, 14, 3, 7, tzinfo=UTC)


@pytest.mark.parametrize("written", ["yesterday", "2026-13-01", "14:03", "", "0001-01-01T00:00:00+23:00"])
def test_what_is_no_moment_is_refused(written: str) -> None:
    with pytest.raises(typer.BadParameter, match="not a moment in ISO 8601"):
        moment(written)


async def test_looks_are_asked_for_since_a_date_and_since_a_moment_with_an_offset(
    database: Database, migrated_url: str
) -> None:
    async with database.transaction() as connection:
        await note_look(connection, who="alice", what="decoded payloads", session_uuid=None)
    for since, lines in (("2026-01-01", 2), ("2026-01-01T00:00:00+05:30", 2), ("2999-01-01", 1)):
        done = await runs(migrated_url, f"privacy looks --since {since}")
        assert (done.exit_code, len(done.stdout.splitlines())) == (0, lines)
    refused = await runs(migrated_url, "privacy looks --since tomorrow")
    assert (refused.exit_code, refused.stdout, "not a moment in ISO 8601" in refused.stderr) == (2, "", True)
