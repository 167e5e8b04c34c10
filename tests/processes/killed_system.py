"""A whole system of separate processes under a supervisor, and how to kill its parts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import psycopg

from masking.client import MaskingClient
from masking.embedded.postgres import running_database_url
from masking.privacy.key_files import load_keyring
from masking.settings import Settings
from masking.storage.database import Unpooled
from masking.storage.payload_keys import StoredPayloadKeys
from masking.temporal import connect, with_keys
from tests.processes.running import command_of, environment

SPEED = 10.0
RECORDING_WAIT_S = 10

COMMANDS = {
    "worker": "worker.py",
    "gateway": "masking.gateway",
    "temporal": "server start-dev",
    "postgres": "postgres -D",
}
GUARD = "masking.embedded.guard"

AT_ONCE = """
from masking.run import service
service.LAST_PAUSE_S = 0.5
from masking.cli import main
main()
"""
"""`masking run` that lets no pause grow before it starts a process again, as a real supervisor would not either."""

HURRIED = f"""
from pathlib import Path
from masking.run import system
system.WORKER = Path({str(Path(__file__).with_name("hurried_worker.py"))!r})
"""

COUNTS = {
    "sessions": "SELECT count(*) FROM sessions",
    "events that wait": "SELECT count(*) FROM inbox WHERE forwarded_at IS NULL",
    # Of a call that came after the bill was closed and connected nobody, the session need not hear.
    "events that came too late": "SELECT count(*) FROM inbox WHERE late AND signal <> 'declined'",
    "corrections": "SELECT count(*) FROM corrections",
    "callbacks that wait": "SELECT count(*) FROM callbacks WHERE state = 'pending'",
    "dead callbacks": "SELECT count(*) FROM callbacks WHERE state = 'dead'",
    "callbacks": "SELECT count(*) FROM callbacks",
}


class Parts:
    """The processes under a supervisor, by what they are."""

    def __init__(self, supervisor: int) -> None:
        self._supervisor = psutil.Process(supervisor)

    def find(self, part: str) -> psutil.Process | None:
        """The process itself, not the guard around it; None while there is none."""
        with contextlib.suppress(psutil.Error):
            for process in self._supervisor.children(recursive=True):
                command = command_of(process)
                if COMMANDS[part] in command and GUARD not in command:
                    return process
        return None

    async def kill(self, part: str) -> None:
        """Kill it; if it is being started again just now, as soon as it is there."""
        async with asyncio.timeout(30):
            while (process := self.find(part)) is None:  # noqa: ASYNC110 nobody tells when a process begins
                await asyncio.sleep(0.05)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@contextlib.asynccontextmanager
async def system(
    data: Path, more: Mapping[str, str], *, crashes: bool = False, hurried: bool = False
) -> AsyncIterator[dict[str, Any]]:
    """`masking run` with ports and a folder of its own. What it said when it was ready.

    Args:
        more: settings besides.
        hurried: whether its worker is `hurried_worker.py`.
        crashes: whether its end is `kill -9` of every process at once, not Ctrl-C.
    """
    # Searched with the rest: what is on disk for a moment only must not be readable either.
    temporary = data / "temporary"
    temporary.mkdir(mode=0o711)
    settings = {"MASKING_SIMULATOR_SPEED": str(SPEED), "MASKING_RECORDING_WAIT": str(RECORDING_WAIT_S)}
    env = environment(data, TMPDIR=str(temporary), **settings, **more)
    with (data / "run.log").open("wb") as log:
        command = (sys.executable, "-c", f"{HURRIED if hurried else ''}{AT_ONCE}", "run", "--json")
        process = await asyncio.create_subprocess_exec(
            *command, env=env, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 90)
        if not line:
            raise AssertionError((data / "run.log").read_text())
        ready = json.loads(line)
        ready["supervisor"], ready["temporal"] = process.pid, f"127.0.0.1:{env['MASKING_TEMPORAL_PORT']}"
        yield ready
        if process.returncode is not None:
            raise AssertionError((data / "run.log").read_text()[-2000:])
    finally:
        if process.returncode is None and crashes:
            await asyncio.to_thread(_kill_all, process.pid)
            await process.wait()
        elif process.returncode is None:
            process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(process.wait(), 60)
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


def _kill_all(supervisor: int) -> None:
    """What a crash of the machine does."""
    top = psutil.Process(supervisor)
    every = [top, *top.children(recursive=True)]
    for process in every:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(every[1:], timeout=30)
    assert not alive


async def counts(data: Path) -> dict[str, int]:
    """What the tables hold."""
    url = running_database_url(data / "postgres")
    assert url is not None, "PostgreSQL does not run"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        found = {}
        for name, query in COUNTS.items():
            ((found[name],),) = await (await connection.execute(query)).fetchall()
        return found


async def sessions_of(ready: dict[str, Any], data: Path) -> MaskingClient:
    """The running system's sessions, through Temporal."""
    keyring = load_keyring(Settings(keys_file=data / "keys.json"))
    environment = {"TEMPORAL_ADDRESS": ready["temporal"], "TEMPORAL_CONFIG_FILE": os.devnull}
    url = running_database_url(data / "postgres")
    assert url is not None, "PostgreSQL does not run"
    client = await connect(keyring, environment=environment)
    return MaskingClient(with_keys(client, keyring, StoredPayloadKeys(Unpooled(url), keyring)))
