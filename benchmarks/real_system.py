"""A whole system of a benchmark's own: PostgreSQL, Temporal as `masking run` starts it, workers, a customer's endpoint.

Each is a process of its own, but for the endpoint, and ends with this one, however that ends.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from aiohttp import web
from temporalio.client import Client

from benchmarks.system import ACCOUNT, KEYRING, TOKEN
from masking.embedded import postgres, temporal
from masking.lifeline import LIFELINE_VARIABLE
from masking.ports import all_let_in
from masking.settings import Settings
from masking.storage.accounts import ensure_account, ensure_numbers
from masking.storage.database import Database
from masking.storage.migrate import migrate
from masking.temporal import masking_plugin
from masking.temporal_setup import register_attributes

START_WITHIN_S = 60.0
STOP_WITHIN_S = 30.0
KEYS = json.dumps(
    {
        "current": "k1",
        "master": {"k1": base64.b64encode(b"1" * 32).decode()},
        "lookup": base64.b64encode(b"2" * 32).decode(),
    }
)
"""The keys of `KEYRING`, as a worker reads them."""


class Endpoint:
    """A customer's endpoint that takes every callback at once. Use it as an async context manager."""

    def __init__(self) -> None:
        self.taken = 0
        self._more = asyncio.Condition()
        self.url = ""
        self._runner = web.ServerRunner(web.Server(self._take))

    async def __aenter__(self) -> Endpoint:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/events"
        return self

    async def __aexit__(self, *_: object) -> None:
        await all_let_in()
        await self._runner.cleanup()

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        async with self._more:
            self.taken += 1
            self._more.notify_all()
        return web.Response()

    async def has_taken(self, count: int) -> None:
        """Return once so many callbacks have come."""
        async with self._more:
            await self._more.wait_for(lambda: self.taken >= count)


class RealSystem(NamedTuple):
    """What runs.

    Attributes:
        database_file: where Temporal keeps its data.
        environment: for the processes of our workers.
        servers: the processes of both, by name.
    """

    client: Client
    database: Database
    database_url: str
    database_file: Path
    endpoint: Endpoint
    environment: Mapping[str, str]
    servers: Mapping[str, int]


@asynccontextmanager
async def real_system(folder: Path, numbers: Sequence[tuple[str, str]]) -> AsyncIterator[RealSystem]:
    """Start everything but the workers, with one account and its numbers (E.164, ISO country)."""
    async with AsyncExitStack() as stack:
        (ui_port, port), data = free_ports(2), folder / "data"
        prepared = postgres.prepare_postgres(data / "postgres")
        database_server = await stack.enter_async_context(child(prepared.command, {}, log=folder / "postgres.log"))
        settings = Settings(temporal_port=port, temporal_ui_port=ui_port)
        command = temporal.temporal_command(settings, data, None)
        temporal_server = await stack.enter_async_context(child(command, {}, log=folder / "temporal.log"))
        address = f"{temporal.HOST}:{port}"
        await until(lambda: postgres.is_up(prepared.server_url))
        await until(lambda: temporal.is_up(address))
        migrate(prepared.database_url)
        database = await stack.enter_async_context(Database(prepared.database_url))
        async with database.transaction() as connection:
            await ensure_account(connection, KEYRING, ACCOUNT, TOKEN)
            await ensure_numbers(connection, ACCOUNT, numbers)
        client = await Client.connect(address, plugins=[masking_plugin(KEYRING)])
        await register_attributes(client)
        yield RealSystem(
            client=client,
            database=database,
            database_url=prepared.database_url,
            database_file=data / "temporal.db",
            endpoint=await stack.enter_async_context(Endpoint()),
            environment={
                "DATABASE_URL": prepared.database_url,
                "TEMPORAL_ADDRESS": address,
                "MASKING_KEYS": KEYS,
                "MASKING_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
                # As installed packages have it: without, the workflow sandbox would compile sources for each session.
                "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
            },
            servers={"Temporal": temporal_server.pid, "PostgreSQL": database_server.pid},
        )


@asynccontextmanager
async def our_worker(system: RealSystem) -> AsyncIterator[int]:
    """The worker of production as a process; its id."""
    async with child([sys.executable, "-m", "worker"], system.environment) as process:
        yield process.pid


@asynccontextmanager
async def bare_worker(system: RealSystem) -> AsyncIterator[int]:
    """The worker of the bare workflows as a process; its id."""
    async with child([sys.executable, "-m", "benchmarks.bare"], system.environment) as process:
        yield process.pid


@asynccontextmanager
async def child(
    command: Sequence[str], environment: Mapping[str, str], *, log: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ends with this one: its lifeline is a pipe whose other end only we hold.

    Args:
        log: where what it says goes; to our own standard error when None.
    """
    others = ("MASKING_", "TEMPORAL_", "PYTHONDONTWRITEBYTECODE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    lifeline, held = os.pipe()
    said = sys.stderr.fileno() if log is None else os.open(log, os.O_WRONLY | os.O_CREAT)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**inherited, **environment, LIFELINE_VARIABLE: str(lifeline)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            pass_fds=[lifeline],
        )
    finally:
        os.close(lifeline)
        if log is not None:
            os.close(said)
    try:
        yield process
    finally:
        os.close(held)
        try:
            await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until it is so."""
    async with asyncio.timeout(START_WITHIN_S):
        while not await is_so():  # noqa: ASYNC110 other processes set no event
            await asyncio.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
