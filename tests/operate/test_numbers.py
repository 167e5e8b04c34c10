"""`masking numbers`: files of numbers, large ones too, and what is told of a failing database."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.errors import DatabaseFailed
from masking.operate.system import operated_system
from masking.settings import Settings
from masking.storage.database import Database
from masking.storage.numbers import NewNumber, NumberError, add_numbers, list_numbers
from tests.conftest import ACCOUNT, KEYS, POOL

pytestmark = pytest.mark.anyio

OTHER = "MAANOTHERACCOUNT0000"


async def runs(database_url: str, *arguments: str) -> Result:
    environment = {"DATABASE_URL": database_url, "MASKING_KEYS": KEYS, "COLUMNS": "200"}
    return await asyncio.to_thread(CliRunner().invoke, app, ["numbers", *arguments], env=environment)


async def add_account(database: Database, auth_id: str) -> None:
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO accounts (auth_id) VALUES (%s) ON CONFLICT DO NOTHING", (auth_id,))


def many(count: int, account: str, first: int = 2_000_000) -> list[NewNumber]:
    return [NewNumber(f"+1212{number}", account, "US") for number in range(first, first + count)]


async def test_a_file_is_checked_as_it_would_be_imported(database: Database, migrated_url: str, tmp_path: Path) -> None:
    await add_account(database, OTHER)
    file = tmp_path / "numbers.csv"
    file.write_text("number\n+12125550101\n")
    assert (await runs(migrated_url, "import", str(file), "--account", ACCOUNT)).exit_code == 0

    unknown = await runs(migrated_url, "import", str(file), "--account", "MANOSUCHACCOUNT00000", "--dry-run")
    assert (unknown.exit_code, "there is no account MANOSUCHACCOUNT00000" in unknown.stderr) == (2, True)
    of_another = await runs(migrated_url, "import", str(file), "--account", OTHER, "--dry-run")
    assert (of_another.exit_code, "belongs to another account" in of_another.stderr) == (2, True)
    own = await runs(migrated_url, "import", str(file), "--account", ACCOUNT, "--dry-run", "--json")
    assert (own.exit_code, json.loads(own.stdout)) == (0, {"checked": 1})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("number,area\n+12125550101,Washington, DC\n", "line 2: more values than the first line names columns"),
        ("number,area\n+12125550101,a\0b\n", "line 2: a NUL character"),
        ("number,number\n+12125550101,+12125550102\n", "the first line names a column twice"),
    ],
)
async def test_a_line_that_is_not_what_it_seems_is_named(
    database: Database, migrated_url: str, tmp_path: Path, content: str, told: str
) -> None:
    file = tmp_path / "numbers.csv"
    file.write_text(content)
    refused = await runs(migrated_url, "import", str(file), "--account", ACCOUNT)
    assert (refused.exit_code, told in refused.stderr) == (2, True)
    async with database.transaction() as connection:
        assert "+12125550101" not in {each.number for each in await list_numbers(connection)}


async def test_empty_values_beyond_the_columns_are_no_fault(
    database: Database, migrated_url: str, tmp_path: Path
) -> None:
    del database
    file = tmp_path / "numbers.csv"
    file.write_text("number,area\n+12125550101,New York,,\n+12125550102\n")
    done = await runs(migrated_url, "import", str(file), "--account", ACCOUNT, "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"added": 2, "known": 0})


async def test_a_large_inventory_is_added_in_its_order_and_within_the_time_of_a_statement(database: Database) -> None:
    await add_account(database, OTHER)
    ours, theirs = many(12_000, ACCOUNT), many(12_000, OTHER, 3_000_000)
    for numbers in (ours, theirs):
        async with database.transaction() as connection:
            assert await add_numbers(connection, numbers) == 12_000
    async with database.transaction() as connection:
        assert await add_numbers(connection, [*ours, *many(1, ACCOUNT, 4_000_000)]) == 1
        kept = [each.number for each in await list_numbers(connection, account_id=OTHER)]
    assert kept == [each.number for each in theirs]

    with pytest.raises(NumberError, match=re.escape(f"{theirs[-1].number} belongs to another account")):
        async with database.transaction() as connection:
            await add_numbers(connection, [*many(11_000, ACCOUNT, 5_000_000), theirs[-1]._replace(account_id=ACCOUNT)])


async def test_a_large_inventory_is_listed_page_by_page_and_whole_for_machines(
    database: Database, migrated_url: str
) -> None:
    await add_account(database, OTHER)
    numbers = [*many(1_100, OTHER), *many(1_500, ACCOUNT, 3_000_000)]
    async with database.transaction() as connection:
        await add_numbers(connection, numbers)
        every = [each.number for each in await list_numbers(connection)]
    told = json.loads((await runs(migrated_url, "list", "--json")).stdout)
    assert ([each["number"] for each in told["numbers"]], told["more"]) == (every, False)
    some = json.loads((await runs(migrated_url, "list", "--json", "--limit", "1001")).stdout)
    assert ([each["number"] for each in some["numbers"]], some["more"]) == (every[:1001], True)

    first, *lines, last = (await runs(migrated_url, "list")).stdout.splitlines()
    assert first.split() == ["number", "account", "country", "area", "carrier", "state", "live", "cooling"]
    assert ([line.split()[0] for line in lines], last) == (every[:50], "50 numbers shown; there are more: see --limit.")
    first, *lines, last = (await runs(migrated_url, "list", "--limit", str(len(every)))).stdout.splitlines()
    assert ([line.split()[0] for line in lines], last) == (every, f"{len(every)} numbers.")


async def test_a_number_is_one_line_whatever_the_width_and_nothing_of_it_is_left_out(
    database: Database, migrated_url: str
) -> None:
    async with database.transaction() as connection:
        new = NewNumber("+12125550101", ACCOUNT, "US", "Washington, District of Columbia", "another-carrier")
        await add_numbers(connection, [new])
    environment = {"DATABASE_URL": migrated_url, "MASKING_KEYS": KEYS, "COLUMNS": "40"}
    done = await asyncio.to_thread(CliRunner().invoke, app, ["numbers", "list", "--country", "us"], env=environment)
    (line,) = (line for line in done.stdout.splitlines() if new.number in line)
    assert re.split("  +", line)[:5] == [new.number, ACCOUNT, "US", new.area, new.carrier]


async def test_two_imports_at_once_each_count_their_own(database: Database) -> None:
    async def add(first: int) -> int:
        async with database.transaction() as connection:
            return await add_numbers(connection, many(3_000, ACCOUNT, first))

    assert await asyncio.gather(*(add(first) for first in (2_000_000, 3_000_000, 4_000_000))) == [3_000] * 3


async def test_who_reached_whom_may_be_asked_of_any_moment(database: Database, migrated_url: str) -> None:
    del database
    for moment in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        done = await runs(migrated_url, "who", POOL[0][0], "hidden", "--at", moment)
        assert (done.exit_code, done.stdout) == (1, "No session on this number had anything to do with this caller.\n")


async def test_of_a_number_that_never_was_ours_nothing_is_told(database: Database, migrated_url: str) -> None:
    del database
    done = await runs(migrated_url, "who", "+12025550142", "hidden")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "masking: this number is not in the inventory, and no session was ever on it\n"


async def test_a_pin_that_nobody_enters_is_no_pin_that_reached_nobody(database: Database, migrated_url: str) -> None:
    del database
    done = await runs(migrated_url, "who", POOL[0][0], "hidden", "--pin")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("masking: --pin asks for the PIN")


@pytest.mark.parametrize("written", ["12025550199", "+1 (202) 555-0199", "1.202.555.0199"])
async def test_a_number_of_the_inventory_is_found_however_it_is_written(
    database: Database, migrated_url: str, written: str
) -> None:
    del database
    done = await runs(migrated_url, "drain", written)
    assert (done.exit_code, done.stdout) == (0, "+12025550199 is draining.\n")


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (["SET LOCAL statement_timeout = 20", "SELECT pg_sleep(5)"], "PostgreSQL took longer for a step than it may"),
        (["SELECT pg_terminate_backend(pg_backend_pid())"], "PostgreSQL went away meanwhile"),
        (["SET TRANSACTION READ ONLY", "DELETE FROM numbers"], "it is read-only"),
        (["SELECT '+12025550142'::uuid"], "PostgreSQL refused a step, which was undone (InvalidTextRepresentation"),
    ],
)
async def test_a_database_that_fails_is_told_in_a_line_without_its_values(
    database: Database, migrated_url: str, statements: list[str], told: str
) -> None:
    del database

    async def operate() -> None:
        settings = Settings.model_validate({"database_url": migrated_url, "keys": KEYS})
        async with operated_system(settings) as system, system.database.transaction() as connection:
            for statement in statements:
                await connection.execute(statement.encode())

    with pytest.raises(DatabaseFailed, match=re.escape(told)) as failed:
        await operate()
    assert "2025550142" not in str(failed.value)


async def test_numbers_of_countries_with_the_same_code_are_explained_as_free_and_come_after_its_own(
    database: Database, migrated_url: str
) -> None:
    parties = ("+14165550123", "+12025550101")
    async with database.transaction() as connection:
        await connection.execute("UPDATE numbers SET country = 'CA' WHERE number = '+12025550197'")

    done = await runs(migrated_url, "explain", *parties, "--account", ACCOUNT)

    assert done.exit_code == 0
    assert "+12025550197  next\n" in done.stdout
    assert "+12025550199  free\n" in done.stdout
    assert "+912269947011  it is of IN, not of CA\n" in done.stdout
