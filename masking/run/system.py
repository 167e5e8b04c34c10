"""Brings the system up in order, and takes it down in the opposite one."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client

from masking.client import MaskingClient
from masking.embedded import postgres, temporal
from masking.errors import StartupError
from masking.health import is_healthy, is_polling
from masking.ports import Place, check_ports
from masking.privacy.key_files import ensure_keys_file, load_keyring
from masking.privacy.keyring import Keyring
from masking.provision import DemoAccount, provision_demo
from masking.rate_card import load_rate_card
from masking.run.service import RunningService, Service
from masking.settings import Settings
from masking.storage.database import Unpooled
from masking.storage.migrate import migrate
from masking.storage.payload_keys import StoredPayloadKeys
from masking.temporal import connect, with_keys
from masking.temporal_setup import prepare_namespace

TEMPORAL_IS_ELSEWHERE = ("TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE")
UI_USER = "temporal-ui"
"""Who looks through the embedded server's UI, as the entries about looks name it."""
LOOPBACK = "127.0.0.0/8,::1/128"
WORKER = Path(__file__).parent.parent.parent / "worker.py"

Say = Callable[[str], None]


@dataclass(frozen=True)
class ReadySystem:
    """What a person or a program needs to use a running system.

    Attributes:
        codec_url: where Temporal's payloads are decoded for its UI, with the secret of this start; None if nowhere.
        failure: fails with `StartupError` when the system cannot go on; None for a system that runs elsewhere.
    """

    api_url: str
    account: DemoAccount
    simulator_url: str
    temporal_ui_url: str | None
    codec_url: str | None
    sessions: MaskingClient
    pids: Mapping[str, int]
    failure: asyncio.Future[None] | None = None


@asynccontextmanager
async def running_system(settings: Settings, say: Say) -> AsyncIterator[ReadySystem]:
    """Start everything, and stop everything at the end.

    Args:
        say: told of each step, in a few words.

    Raises:
        StartupError: something cannot start; names it and what to do.
    """
    # Before anything is started whose processes would stop at it.
    load_rate_card(settings)
    data = settings.data.absolute()
    with _only_one(data):
        settings, environment, keyring = _with_keys(settings, data)
        embedded_temporal = temporal_ui_url(settings) is not None
        _check_ports(settings, embedded_temporal)
        async with AsyncExitStack() as stack:
            services = _Services(stack, data / "logs", say)
            database_url = await _start_postgres(settings, data, services)
            environment["DATABASE_URL"] = database_url
            codec_url = None
            if embedded_temporal:
                codec_url, for_ui = _codec_for_ui(settings)
                environment |= await _start_temporal(settings, data, services, codec_url) | for_ui
            else:
                say("Temporal at TEMPORAL_ADDRESS")
            client = await connect(keyring, environment=temporal_environment(settings))
            await prepare_namespace(client, say, lookup=settings.lookup)
            say("tables")
            await asyncio.to_thread(migrate, database_url)
            account = await provision_demo(settings, database_url, keyring, say)
            await services.start_together(_our_services(settings, environment, client))
            yield ReadySystem(
                api_url=settings.base_url,
                account=account,
                simulator_url=settings.simulator_url,
                temporal_ui_url=temporal_ui_url(settings),
                codec_url=codec_url,
                sessions=MaskingClient(
                    with_keys(client, keyring, StoredPayloadKeys(Unpooled(database_url), keyring)),
                    lookup=settings.lookup,
                ),
                pids=services.pids,
                failure=services.failure,
            )


class _Services:
    """Starts services; the stack stops them in the opposite order."""

    def __init__(self, stack: AsyncExitStack, logs: Path, say: Say) -> None:
        self._stack, self._logs, self._say = stack, logs, say
        self._running: list[RunningService] = []
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Only this process holds the write end; the kernel closes it however this process ends.
        self._lifeline, write_end = os.pipe()
        stack.callback(os.close, self._lifeline)
        stack.callback(os.close, write_end)

    async def start(self, service: Service) -> None:
        self._say(service.name)
        needs = [each for each in self._running if each.service.name in service.needs]
        running = RunningService(service, self._lifeline, self._logs, self._say, needs)
        self._stack.push_async_callback(running.stop)
        self._running.append(running)
        watching = await running.start()
        watching.add_done_callback(self._ended)

    async def start_together(self, services: list[Service]) -> None:
        """Start services of which none needs another."""
        starting = [asyncio.create_task(self.start(service)) for service in services]
        try:
            await asyncio.gather(*starting)
        finally:
            for each in starting:
                each.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    def _ended(self, watching: asyncio.Task[None]) -> None:
        error = None if watching.cancelled() else watching.exception()
        if error is not None and not self.failure.done():
            self.failure.set_exception(error)

    @property
    def pids(self) -> dict[str, int]:
        return {running.service.name: running.pid for running in self._running if running.pid is not None}


def temporal_ui_url(settings: Settings) -> str | None:
    """Where the embedded Temporal's Web UI is; None when Temporal runs elsewhere."""
    if any(os.environ.get(name) for name in TEMPORAL_IS_ELSEWHERE):
        return None
    return f"http://{temporal.HOST}:{settings.temporal_ui_port}"


def temporal_environment(settings: Settings) -> dict[str, str] | None:
    """The `TEMPORAL_*` variables of the embedded server's clients; None when Temporal runs elsewhere.

    The file is an empty one: neither other variables nor Temporal's own file are about the embedded server.
    """
    if temporal_ui_url(settings) is None:
        return None
    return {"TEMPORAL_ADDRESS": f"{temporal.HOST}:{settings.temporal_port}", "TEMPORAL_CONFIG_FILE": os.devnull}


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Make the data folder if it is missing, and hold its lock, which the kernel frees however this process ends."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        (data / "logs").mkdir(mode=0o700, exist_ok=True)
        file = os.open(data / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartupError(f"MASKING_DATA: {data} cannot hold our data ({error.strerror})") from None
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


def _with_keys(settings: Settings, data: Path) -> tuple[Settings, dict[str, str | None], Keyring]:
    """The settings with their keys; makes keys on the first start of an embedded system."""
    environment: dict[str, str | None] = {"MASKING_ARCHIVE": settings.archive_place}
    if not settings.names_keys:
        keys_file = data / "keys.json"
        try:
            ensure_keys_file(keys_file)
        except OSError as error:
            raise StartupError(f"MASKING_DATA: cannot write {keys_file} ({error.strerror})") from None
        settings = settings.model_copy(update={"keys_file": keys_file})
        environment["MASKING_KEYS_FILE"] = str(keys_file)
    keyring = load_keyring(settings)
    if settings.carrier_api_url is None:
        environment["MASKING_CARRIER_API_URL"] = settings.simulator_url
        if not settings.callback_allowed_networks:
            # Where there is no real carrier, customers try things out on this machine.
            environment["MASKING_CALLBACK_ALLOWED_NETWORKS"] = LOOPBACK
    if settings.carrier_auth_token is None:
        environment["MASKING_CARRIER_AUTH_TOKEN"] = keyring.derived_token("carrier")
    return settings, environment, keyring


def _check_ports(settings: Settings, embedded_temporal: bool) -> None:
    places = [
        Place(settings.host, settings.port, "MASKING_PORT", "MASKING_HOST"),
        Place("127.0.0.1", settings.simulator_port, "MASKING_SIMULATOR_PORT"),
    ]
    if settings.metrics_port:
        places.append(
            Place(settings.metrics_host, settings.metrics_port, "MASKING_METRICS_PORT", "MASKING_METRICS_HOST")
        )
    if settings.codec_port and (embedded_temporal or settings.codec_tokens is not None):
        places.append(Place(settings.codec_host, settings.codec_port, "MASKING_CODEC_PORT", "MASKING_CODEC_HOST"))
    if embedded_temporal:
        places.append(Place(temporal.HOST, settings.temporal_port, "MASKING_TEMPORAL_PORT"))
        places.append(Place(temporal.HOST, settings.temporal_ui_port, "MASKING_TEMPORAL_UI_PORT"))
    check_ports(places)


async def _start_postgres(settings: Settings, data: Path, services: _Services) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    prepared = await asyncio.to_thread(postgres.prepare_postgres, data / "postgres")
    await services.start(Service("postgres", prepared.command, lambda _: postgres.is_up(prepared.server_url)))
    return prepared.database_url


def _codec_for_ui(settings: Settings) -> tuple[str | None, dict[str, str | None]]:
    """Where the embedded server's UI has payloads decoded, and the gateway's environment for it.

    The UI of the dev server can send no credentials of ours, so the URL holds them: a token of this start alone.
    """
    if settings.codec_port == 0:
        return None, {}
    token = secrets.token_urlsafe(32)
    others = settings.codec_tokens.get_secret_value() if settings.codec_tokens is not None else ""
    tokens = ",".join(filter(None, (others, f"{UI_USER}:{token}")))
    environment = {"MASKING_CODEC_TOKENS": tokens, "MASKING_UI_ORIGIN": temporal_ui_url(settings)}
    return f"{settings.codec_url}/{token}", environment


async def _start_temporal(
    settings: Settings, data: Path, services: _Services, codec_url: str | None
) -> dict[str, str | None]:
    """Start it. Returns the environment of its clients, which inherit nothing about another server."""
    address = f"{temporal.HOST}:{settings.temporal_port}"
    command = temporal.temporal_command(settings, data, codec_url)
    inherited: dict[str, str | None] = {name: None for name in os.environ if name.startswith("TEMPORAL_")}
    await services.start(Service("temporal", command, lambda _: temporal.is_up(address), inherited))
    return inherited | (temporal_environment(settings) or {})


def _our_services(settings: Settings, environment: Mapping[str, str | None], client: Client) -> list[Service]:
    host = socket.gethostname()
    ours = [
        Service(
            "worker",
            [sys.executable, str(WORKER)],
            lambda pid: is_polling(client, f"{pid}@{host}"),
            environment,
            needs=("postgres", "temporal"),
        ),
        Service(
            "gateway",
            [sys.executable, "-m", "masking.gateway"],
            lambda _: is_healthy(settings.gateway_url),
            environment,
            needs=("postgres",),
        ),
    ]
    simulator = Service(
        "simulator",
        [sys.executable, "-m", "masking.carriers.simulator"],
        lambda _: is_healthy(settings.simulator_url),
        environment,
    )
    return ours if settings.has_real_carrier else [*ours, simulator]
