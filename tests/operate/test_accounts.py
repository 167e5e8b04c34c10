"""`masking accounts recordings`: whether the carrier deletes an account's recordings once they are fetched."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.privacy.keyring import Keyring
from masking.storage.accounts import authenticate
from masking.storage.database import Database
from tests.conftest import ACCOUNT, KEYS, TOKEN

pytestmark = pytest.mark.anyio


async def runs(database_url: str, *arguments: str) -> Result:
    environment = {"DATABASE_URL": database_url, "MASKING_KEYS": KEYS, "COLUMNS": "200"}
    return await asyncio.to_thread(CliRunner().invoke, app, ["accounts", *arguments], env=environment)


async def listed(database_url: str) -> dict[str, Any]:
    done = await runs(database_url, "list", "--json")
    (account,) = json.loads(done.stdout)["accounts"]
    return dict(account)


async def test_an_account_that_was_disabled_by_mistake_is_let_in_again(
    database: Database, keyring: Keyring, migrated_url: str
) -> None:
    for command, disabled in (("disable", True), ("enable", False)):
        done = await runs(migrated_url, command, ACCOUNT.lower(), "--json")
        assert (done.exit_code, json.loads(done.stdout)) == (0, {"auth_id": ACCOUNT, "disabled": disabled})
        async with database.transaction() as connection:
            assert (await authenticate(connection, keyring, ACCOUNT, TOKEN) is None) is disabled
        assert (ACCOUNT in (shown := (await runs(migrated_url, "list")).stdout), "disabled" in shown) == (
            True,
            disabled,
        )


async def test_an_account_has_its_recordings_deleted_or_kept_at_the_carrier_or_says_nothing(
    database: Database, migrated_url: str
) -> None:
    del database
    assert (await listed(migrated_url))["delete_recordings"] is None
    for word, stored in (("delete", True), ("keep", False), ("default", None)):
        done = await runs(migrated_url, "recordings", ACCOUNT, word, "--json")
        assert (done.exit_code, json.loads(done.stdout)) == (0, {"auth_id": ACCOUNT, "delete_recordings": stored})
        assert (await listed(migrated_url))["delete_recordings"] is stored
        assert word in (await runs(migrated_url, "list")).stdout
    people = await runs(migrated_url, "recordings", ACCOUNT, "delete")
    assert f"new recordings of {ACCOUNT} at the carrier: delete." in people.stdout

    unknown = await runs(migrated_url, "recordings", "MANOSUCHACCOUNT00000", "delete")
    assert (unknown.exit_code, "there is no account with this auth id" in unknown.output) == (2, True)
    assert (await runs(migrated_url, "recordings", ACCOUNT, "burn")).exit_code == 2
    assert (await listed(migrated_url))["delete_recordings"] is True
