"""`masking sessions list`: which sessions there are, found by indexes, and nothing of their parties."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.domain.lifecycle import opened
from masking.domain.session import Session
from masking.domain.terms import Carrier
from masking.operate import pages, session_list
from masking.privacy.keyring import Keyring
from masking.storage.database import Database
from masking.storage.sessions import insert_session
from tests.conftest import ACCOUNT, KEYS, POOL
from tests.domain.conversation import FIRST, SECOND
from tests.storage.test_routes import asked

pytestmark = pytest.mark.anyio

OTHER, SUBACCOUNT = "MAANOTHERACCOUNT0000", "SAOFTHEACCOUNT000000"
NUMBER, OTHER_NUMBER = POOL[0][0], POOL[1][0]


async def runs(database_url: str, *arguments: str) -> Result:
    environment = {"DATABASE_URL": database_url, "MASKING_KEYS": KEYS}
    return await asyncio.to_thread(CliRunner().invoke, app, ["sessions", "list", *arguments], env=environment)


async def listed(database_url: str, *arguments: str) -> list[str]:
    done = await runs(database_url, *arguments, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    return [each["session_uuid"] for each in json.loads(done.stdout)["sessions"]]


class Kept:
    """Sessions that are written as they would be opened, each an hour older than the one before."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring, self._count = database, keyring, 0

    async def __call__(
        self,
        first: str = FIRST,
        second: str = SECOND,
        *,
        account: str = ACCOUNT,
        subaccount: str | None = None,
        number: str = NUMBER,
        carrier: Carrier = "voice",
        lasts: timedelta = timedelta(days=7),
    ) -> str:
        now = datetime.now(UTC) - timedelta(hours=self._count)
        self._count += 1
        owner = {"account_id": account, "subaccount_id": subaccount, "carrier": carrier}
        times = {"created_at": now, "expires_at": now + lasts}
        session: Session = opened(asked(first, second), number).session.model_copy(update={**owner, **times})
        async with self._database.transaction() as connection:
            await insert_session(connection, self._keyring, session)
        return session.session_uuid


@pytest.fixture
async def keep(database: Database, keyring: Keyring) -> Kept:
    async with database.transaction() as connection:
        await connection.execute(
            "INSERT INTO accounts (auth_id, parent_id) VALUES (%s, NULL), (%s, %s)", (OTHER, SUBACCOUNT, ACCOUNT)
        )
    return Kept(database, keyring)


async def test_sessions_of_all_accounts_are_told_newest_first_and_nothing_of_their_parties(
    keep: Kept, migrated_url: str
) -> None:
    ours = await keep()
    theirs = await keep(account=OTHER, number=OTHER_NUMBER)
    subaccounts = await keep(subaccount=SUBACCOUNT, lasts=timedelta(minutes=30))

    done = await runs(migrated_url)
    names, *lines, last = done.stdout.splitlines()
    assert names.split("  ")[0] == "session"
    assert [line.split()[:4] for line in lines] == [
        [ours, ACCOUNT, NUMBER, "active"],
        [theirs, OTHER, OTHER_NUMBER, "active"],
        [subaccounts, SUBACCOUNT, NUMBER, "expired"],
    ]
    assert last == "3 sessions."
    assert not any(party.lstrip("+") in done.stdout for party in (FIRST, SECOND))

    whole = json.loads((await runs(migrated_url, "--json")).stdout)
    assert set(whole["sessions"][0]) == {
        "session_uuid", "account", "virtual_number", "status", "created_at", "expires_at",
    }  # fmt: skip
    assert [each["account"] for each in whole["sessions"]] == [ACCOUNT, OTHER, SUBACCOUNT]


async def test_an_account_s_are_its_subaccounts_too(keep: Kept, migrated_url: str) -> None:
    ours, theirs, subaccounts = await keep(), await keep(account=OTHER), await keep(subaccount=SUBACCOUNT)

    assert await listed(migrated_url, "--account", ACCOUNT.lower()) == [ours, subaccounts]
    assert await listed(migrated_url, "--account", SUBACCOUNT) == [subaccounts]
    assert await listed(migrated_url, "--account", OTHER) == [theirs]


async def test_they_are_chosen_by_status_time_number_and_either_party(
    keep: Kept, database: Database, migrated_url: str
) -> None:
    active, in_progress = await keep(), await keep(FIRST, "+12025550171")
    ended = await keep("+12025550172", FIRST, number=OTHER_NUMBER, lasts=timedelta(minutes=5))
    erased = await keep()
    async with database.transaction() as connection:
        update = "UPDATE sessions SET status = %s WHERE session_uuid = %s"
        await connection.execute(update, ("in-progress", in_progress))
        await connection.execute(update, ("erased", erased))

    assert await listed(migrated_url) == [active, in_progress, ended]
    assert await listed(migrated_url, "--status", "active") == [active, in_progress]
    assert await listed(migrated_url, "--status", "in-progress") == [in_progress]
    assert await listed(migrated_url, "--status", "expired") == [ended]
    assert await listed(migrated_url, "--number", OTHER_NUMBER.lstrip("+")) == [ended]
    assert await listed(migrated_url, "--party", FIRST) == [active, in_progress, ended]
    assert await listed(migrated_url, "--party", SECOND.lstrip("+"), "--number", NUMBER) == [active]
    assert await listed(migrated_url, "--party", "+12025550173") == []
    middle = (datetime.now(UTC) - timedelta(minutes=90)).isoformat()
    assert await listed(migrated_url, "--created-before", middle) == [ended]
    assert await listed(migrated_url, "--created-after", middle) == [active, in_progress]
    assert await listed(migrated_url, "--created-after", middle, "--created-before", middle) == []


async def test_a_list_goes_on_behind_a_session_and_is_whole_for_machines(
    keep: Kept, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", 2)
    monkeypatch.setattr(session_list, "PAGE", 2)
    kept = [await keep(account=(ACCOUNT, OTHER)[n % 2], carrier=("voice", "plivo")[n % 3 == 2]) for n in range(7)]

    assert await listed(migrated_url) == kept
    assert await listed(migrated_url, "--after", kept[4].upper()) == kept[5:]
    assert await listed(migrated_url, "--after", kept[4], "--account", OTHER) == [kept[5]]
    assert await listed(migrated_url, "--after", kept[6]) == []
    some = await runs(migrated_url, "--limit", "3")
    assert some.stdout.splitlines()[-1] == "3 sessions shown; there are more: see --limit and --after."
    assert json.loads((await runs(migrated_url, "--limit", "3", "--json")).stdout)["more"] is True

    assert await listed(migrated_url, "--carrier", "plivo") == [kept[2], kept[5]]
    assert await listed(migrated_url, "--carrier", "voice") == [kept[n] for n in (0, 1, 3, 4, 6)]
    first = json.loads((await runs(migrated_url, "--carrier", "plivo", "--limit", "1", "--json")).stdout)
    assert ([each["session_uuid"] for each in first["sessions"]], first["more"]) == ([kept[2]], True)


async def test_sessions_that_cannot_be_read_are_told_where_it_takes_reading_them(
    keep: Kept, database: Database, migrated_url: str
) -> None:
    readable, altered = await keep(), await keep()
    async with database.transaction() as connection:
        await connection.execute("UPDATE sessions SET sealed_session = '' WHERE session_uuid = %s", (altered,))

    assert await listed(migrated_url) == [readable, altered]
    done = await runs(migrated_url, "--carrier", "voice", "--json")
    assert [each["session_uuid"] for each in json.loads(done.stdout)["sessions"]] == [readable]
    assert (done.exit_code, done.stderr) == (1, "masking: 1 could not be read: who masks them is not known\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--after", "00000000-0000-4000-8000-00000000000a"], "--after: there is no session with this id"),
        (["--party", "twelve"], "--party is not a valid phone number"),
        (["--number", "+12025550142"], "this number is not in the inventory, and no session was ever on it"),
    ],
)
async def test_what_is_not_there_is_no_empty_list(
    keep: Kept, migrated_url: str, arguments: list[str], told: str
) -> None:
    del keep
    done = await runs(migrated_url, *arguments, "--json")
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"masking: {told}\n")
