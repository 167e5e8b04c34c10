"""Brings the system up in order, and takes it down in the opposite one."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from masking.embedded import postgres, temporal
from masking.errors import StartupError
from masking.privacy.keyring import Keyring, ensure_keys_file, load_keyring
from masking.provision import DemoAccount, provision_demo
from masking.run.service import RunningService, Service
from masking.settings import Settings
from masking.storage.migrate import migrate
from masking.temporal import connect

TEMPORAL_IS_ELSEWHERE = ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")
WORKER = Path(__file__).parent.parent.parent / "worker.py"

Say = Callable[[str], None]


@dataclass(frozen=True)
class ReadySystem:
    """What a person or a program needs to use a running system."""

    api_url: str
    account: DemoAccount
    simulator_url: str
    temporal_ui_url: str | None
    pids: Mapping[str, int]
    failure: asyncio.Future[None] | None = None
    """Fails with `StartupError` when the system cannot go on; None for a system that runs elsewhere."""


@asynccontextmanager
async def running_system(settings: Settings, say: Say) -> AsyncIterator[ReadySystem]:
    """Start everything, and stop everything at the end.

    Args:
        say: told of each step, in a few words.

    Raises:
        StartupError: something cannot start; names it and what to do.
    """
    data = settings.data.absolute()
    _make_private(data)
    with _only_one(data):
        settings, environment, keyring = _with_keys(settings, data)
        embedded_temporal = temporal_ui_url(settings) is not None
        _check_ports(settings, embedded_temporal)
        async with AsyncExitStack() as stack:
            services = _Services(stack, data / "logs", say)
            database_url = await _start_postgres(settings, data, services)
            environment["DATABASE_URL"] = database_url
            if embedded_temporal:
                environment |= await _start_temporal(settings, data, services)
            else:
                say("Temporal at TEMPORAL_ADDRESS")
                await connect(keyring)
            say("tables")
            await asyncio.to_thread(migrate, database_url)
            account = await provision_demo(settings, database_url, keyring)
            for service in _our_services(settings, environment):
                await services.start(service)
            yield ReadySystem(
                api_url=settings.base_url,
                account=account,
                simulator_url=settings.simulator_url,
                temporal_ui_url=temporal_ui_url(settings),
                pids=services.pids,
                failure=services.failure,
            )


class _Services:
    """Starts services one after the other; the stack stops them in the opposite order."""

    def __init__(self, stack: AsyncExitStack, logs: Path, say: Say) -> None:
        self._stack, self._logs, self._say = stack, logs, say
        self._running: list[RunningService] = []
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        logs.mkdir(mode=0o700, exist_ok=True)
        # Only this process holds the write end; the kernel closes it however this process ends.
        self._lifeline, write_end = os.pipe()
        stack.callback(os.close, self._lifeline)
        stack.callback(os.close, write_end)

    async def start(self, service: Service) -> None:
        self._say(service.name)
        running = RunningService(service, self._lifeline, self._logs, self._say)
        self._stack.push_async_callback(running.stop)
        self._running.append(running)
        watching = await running.start()
        watching.add_done_callback(self._ended)

    def _ended(self, watching: asyncio.Task[None]) -> None:
        error = None if watching.cancelled() else watching.exception()
        if error is not None and not self.failure.done():
            self.failure.set_exception(error)

    @property
    def pids(self) -> dict[str, int]:
        return {running.service.name: running.pid for running in self._running if running.pid is not None}


def temporal_ui_url(settings: Settings) -> str | None:
    """Where the embedded Temporal's Web UI is; None when Temporal runs elsewhere."""
    if any(name in os.environ for name in TEMPORAL_IS_ELSEWHERE):
        return None
    return f"http://{temporal.HOST}:{settings.temporal_ui_port}"


def _make_private(data: Path) -> None:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartupError(f"MASKING_DATA: cannot make {data}: {error.strerror}") from None


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Hold the data folder's lock, which the kernel frees however this process ends."""
    file = os.open(data / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartupError(
                f"another `masking run` uses {data}: stop it, or set MASKING_DATA to another folder"
            ) from None
        yield
    finally:
        os.close(file)


def _with_keys(settings: Settings, data: Path) -> tuple[Settings, dict[str, str], Keyring]:
    """The settings with their keys; makes keys on the first start of an embedded system."""
    environment: dict[str, str] = {}
    if settings.keys is None and settings.keys_file is None:
        keys_file = data / "keys.json"
        ensure_keys_file(keys_file)
        settings = settings.model_copy(update={"keys_file": keys_file})
        environment["MASKING_KEYS_FILE"] = str(keys_file)
    keyring = load_keyring(settings)
    if settings.carrier_api_url is None:
        environment["MASKING_CARRIER_API_URL"] = settings.simulator_url
    if settings.carrier_auth_token is None:
        environment["MASKING_CARRIER_AUTH_TOKEN"] = keyring.derived_token("carrier")
    return settings, environment, keyring


def _check_ports(settings: Settings, embedded_temporal: bool) -> None:
    wanted = {"MASKING_PORT": (settings.host, settings.port)}
    wanted["MASKING_SIMULATOR_PORT"] = ("127.0.0.1", settings.simulator_port)
    if settings.metrics_port:
        wanted["MASKING_METRICS_PORT"] = (settings.metrics_host, settings.metrics_port)
    if embedded_temporal:
        wanted["MASKING_TEMPORAL_PORT"] = (temporal.HOST, settings.temporal_port)
        wanted["MASKING_TEMPORAL_UI_PORT"] = (temporal.HOST, settings.temporal_ui_port)
    for variable, address in wanted.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                raise StartupError(
                    f"port {address[1]} cannot be used ({error.strerror}): free it, or set {variable} to another"
                ) from None


async def _start_postgres(settings: Settings, data: Path, services: _Services) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    prepared = await asyncio.to_thread(postgres.prepare_postgres, data / "postgres")
    await services.start(Service("postgres", prepared.command, lambda: postgres.is_up(prepared.server_url)))
    return prepared.database_url


async def _start_temporal(settings: Settings, data: Path, services: _Services) -> dict[str, str]:
    address = f"{temporal.HOST}:{settings.temporal_port}"
    command = temporal.temporal_command(settings, data, f"{settings.base_url}/codec")
    await services.start(Service("temporal", command, lambda: temporal.is_up(address)))
    return {"TEMPORAL_ADDRESS": address, "MASKING_UI_ORIGIN": temporal_ui_url(settings) or ""}


def _our_services(settings: Settings, environment: Mapping[str, str]) -> list[Service]:
    return [
        Service("worker", [sys.executable, str(WORKER)], _at_once, environment),
        Service(
            "gateway",
            [sys.executable, "-m", "masking.gateway"],
            lambda: is_healthy(settings.base_url),
            environment,
        ),
        Service(
            "simulator",
            [sys.executable, "-m", "masking.carriers.simulator"],
            lambda: is_healthy(settings.simulator_url),
            environment,
        ),
    ]


async def _at_once() -> bool:
    return True


async def is_healthy(url: str) -> bool:
    """Whether `GET /healthz` answers 200 there."""
    try:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            return (await http.get(f"{url}/healthz")).status_code == 200
    except httpx.HTTPError:
        return False
