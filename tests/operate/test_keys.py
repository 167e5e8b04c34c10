"""`masking keys`, and that no process starts with the keys of another database."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.errors import StartupError
from masking.operate import keys
from masking.privacy import keyring as keyrings
from masking.privacy.key_files import load_keyring
from masking.privacy.keyring import Keyring, Unreadable
from masking.settings import Settings
from masking.storage import rewrapping
from masking.storage.accounts import Principal, auth_tokens
from masking.storage.database import Database
from masking.storage.key_checks import must_fit
from masking.storage.sessions import read_session
from tests.conftest import ACCOUNT, KEYS, TOKEN
from tests.storage.test_routes import asked, open_

pytestmark = pytest.mark.anyio

OTHER = base64.b64encode(b"another key of thirty-two bytes!").decode()


class Operator:
    """Runs the command with a key file against the database of the test."""

    def __init__(self, database_url: str, keys_file: Path) -> None:
        self.keys_file = keys_file
        self.environment = {"DATABASE_URL": database_url, "MASKING_KEYS_FILE": str(keys_file), "MASKING_KEYS": ""}

    @property
    def keyring(self) -> Keyring:
        return load_keyring(Settings(keys_file=self.keys_file))

    async def runs(self, *arguments: str, **environment: str) -> Result:
        runner = CliRunner()
        return await asyncio.to_thread(runner.invoke, app, ["keys", *arguments], env=self.environment | environment)

    async def told(self, *arguments: str) -> Any:
        done = await self.runs(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def change(self, **changes: object) -> None:
        self.keys_file.write_text(json.dumps(json.loads(self.keys_file.read_text()) | changes))


@pytest.fixture
def operator(migrated_url: str, tmp_path: Path) -> Operator:
    (tmp_path / "keys.json").write_text(KEYS)
    return Operator(migrated_url, tmp_path / "keys.json")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for processes that there are not."""
    monkeypatch.setattr(keys, "FOLLOWED_WITHIN_S", 0.0)


async def some_sessions(database: Database, keyring: Keyring, count: int = 3) -> list[str]:
    sessions = [asked(f"+1202555{2 * n:04}", f"+1202555{2 * n + 1:04}") for n in range(count)]
    for session in sessions:
        assert await open_(database, keyring, session)
    return [session.session_uuid for session in sessions]


async def checks(database: Database) -> list[str]:
    async with database.transaction() as connection:
        rows = await (await connection.execute("SELECT key_id FROM key_checks ORDER BY 1")).fetchall()
    return [str(row[0]) for row in rows]


async def readable(database: Database, keyring: Keyring, uuids: list[str]) -> bool:
    async with database.transaction() as connection:
        found = [await read_session(connection, keyring, Principal(ACCOUNT, None), uuid) for uuid in uuids]
        return all(found) and list(await auth_tokens(connection, keyring, ACCOUNT)) == [TOKEN]


async def test_a_key_rotates_and_all_is_moved_so_that_the_old_one_may_go(
    database: Database, keyring: Keyring, operator: Operator
) -> None:
    uuids = await some_sessions(database, keyring)
    (only,) = (await operator.told("list"))["keys"]
    assert only == {
        "key_id": "k1", "current": True, "present": True, "sessions": 3, "unopened": 0, "ingress": 0, "tokens": 1,
        "endpoints": 0,
    }  # fmt: skip
    assert await operator.told("rotate") == {"current": "k2"}
    assert (await operator.runs("list")).stdout.splitlines() == [
        "k1  still decrypts: 3 sessions, 0 unopened, 0 ingress, 1 tokens, 0 endpoints",
        "k2  encrypts: 0 sessions, 0 unopened, 0 ingress, 0 tokens, 0 endpoints",
    ]
    assert await readable(database, operator.keyring, uuids)

    assert await operator.told("rewrap") == {"moved": 4, "unreadable": 0}
    assert await operator.told("rewrap") == {"moved": 0, "unreadable": 0}
    assert await checks(database) == ["k2", "lookup"]
    assert not await readable_or_not(database, keyring, uuids), "nothing is under the old key any more"
    content = json.loads(operator.keys_file.read_text())
    operator.change(master={"k2": content["master"]["k2"]})
    assert await readable(database, operator.keyring, uuids)
    (only,) = (await operator.told("list"))["keys"]
    assert (only["key_id"], only["sessions"], only["tokens"]) == ("k2", 3, 1)


async def readable_or_not(database: Database, keyring: Keyring, uuids: list[str]) -> bool:
    try:
        return await readable(database, keyring, uuids)
    except Unreadable:
        return False


async def test_what_a_process_wrote_before_it_took_up_a_new_key_is_moved_too(
    database: Database, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "FOLLOWED_WITHIN_S", 60.0)
    waits, written = threading.Event(), threading.Event()

    async def until_written(seconds: float) -> None:
        assert 0 < seconds <= 60
        waits.set()
        assert await asyncio.to_thread(written.wait, 60)

    monkeypatch.setattr(keys, "asyncio", SimpleNamespace(sleep=until_written, to_thread=asyncio.to_thread))
    monkeypatch.setattr(keyrings, "FOLLOW_EVERY_S", 3600.0)
    running = operator.keyring
    assert running.current == "k1", "it has not looked since"
    assert await operator.told("rotate") == {"current": "k2"}
    moving = asyncio.create_task(operator.runs("rewrap"))
    assert await asyncio.to_thread(waits.wait, 60)
    uuids = await some_sessions(database, running)
    written.set()
    done = await moving
    assert (done.exit_code, done.stdout) == (0, "4 keys and tokens were moved to the current master key.\n")
    assert "until then a process may encrypt with an older key" in done.stderr
    content = json.loads(operator.keys_file.read_text())
    operator.change(master={"k2": content["master"]["k2"]})
    assert await readable(database, operator.keyring, uuids)


async def test_moving_goes_on_where_it_was_stopped(
    database: Database, keyring: Keyring, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuids = await some_sessions(database, keyring, 7)
    await operator.told("rotate")
    monkeypatch.setattr(rewrapping, "BATCH", 2)
    async with database.transaction() as connection:
        batch = await rewrapping.rewrap_some(connection, operator.keyring, rewrapping.PLACES[0], None)
    assert (batch.moved, batch.last) == (2, (sorted(uuids)[1],))
    assert await operator.told("rewrap") == {"moved": 6, "unreadable": 0}
    assert await readable(database, operator.keyring, uuids)


async def test_what_was_altered_is_left_as_it_is_and_told_and_the_rest_is_moved(
    database: Database, keyring: Keyring, operator: Operator
) -> None:
    altered, *uuids = await some_sessions(database, keyring)
    async with database.transaction() as connection:
        await connection.execute("UPDATE sessions SET wrapped_key = '\\x00' WHERE session_uuid = %s", (altered,))
    await operator.told("rotate")
    done = await operator.runs("rewrap", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"moved": 3, "unreadable": 1}
    assert "1 could not be read and were left as they are" in done.stderr
    assert await readable(database, operator.keyring, uuids)
    assert await checks(database) == ["k1", "k2", "lookup"]


async def test_no_process_starts_with_keys_that_are_not_this_databases(
    database: Database, keyring: Keyring, operator: Operator
) -> None:
    await some_sessions(database, keyring, 1)
    await must_fit(database, operator.keyring)
    known = await checks(database)
    right = operator.keys_file.read_text()
    for changes, told in (
        ({"master": {"k1": OTHER}}, "k1 is another"),
        ({"master": {"k2": OTHER}, "current": "k2"}, "k1 is missing"),
        ({"lookup": OTHER}, "the look-up key is another"),
    ):
        operator.keys_file.write_text(right)
        operator.change(**changes)
        with pytest.raises(StartupError, match=told):
            await must_fit(database, operator.keyring)
        for command in ("list", "rotate", "rewrap"):
            done = await operator.runs(command)
            assert done.exit_code == 2
            assert f"not those that this database was written with: {told}. Nothing was changed" in done.stderr
            assert len(done.stderr.splitlines()) == 1
    assert await checks(database) == known
    operator.keys_file.write_text(right)
    assert (await operator.told("list"))["keys"][0]["sessions"] == 1


async def test_a_process_that_finds_its_keys_noted_writes_nothing(database: Database, operator: Operator) -> None:
    await operator.told("list")
    async with database.transaction() as connection:
        await connection.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
    try:
        assert [key["key_id"] for key in (await operator.told("list"))["keys"]] == ["k1"]
    finally:
        async with database.transaction() as connection:
            await connection.execute("ALTER DATABASE postgres RESET default_transaction_read_only")


async def test_a_database_of_before_there_were_checks_is_known_by_its_tokens(
    database: Database, operator: Operator
) -> None:
    right = operator.keys_file.read_text()
    operator.change(master={"k1": OTHER})
    with pytest.raises(StartupError, match="k1 is another"):
        await must_fit(database, operator.keyring)
    assert await checks(database) == []
    operator.keys_file.write_text(right)
    await must_fit(database, operator.keyring)
    assert await checks(database) == ["k1", "lookup"]


async def test_keys_of_the_environment_cannot_be_rotated_in_a_file(database: Database, operator: Operator) -> None:
    done = await operator.runs("rotate", MASKING_KEYS=KEYS)
    assert done.exit_code == 2
    assert "add a new one to its JSON" in done.stderr
    (operator.keys_file).write_text(KEYS[:40])
    for command in ("rotate", "rewrap", "list"):
        done = await operator.runs(command)
        assert done.exit_code == 2
        assert done.stderr == (
            'masking: MASKING_KEYS_FILE is no key ring: JSON with "current", "master" and "lookup",'
            " each key 32 bytes in base64\n"
        )
