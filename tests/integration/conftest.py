"""The whole service in one process, on a real Temporal server and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiohttp import web
from google.protobuf.duration_pb2 import Duration
from pydantic import SecretStr
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from masking.carriers.chosen import audio_of, webhooks_of
from masking.carriers.signature import signed_headers
from masking.client import MaskingClient
from masking.gateway.context import Context
from masking.gateway.inbox_forwarder import InboxForwarder
from masking.gateway.protocol import GatewayRunner
from masking.gateway.request_limit import RequestLimiter
from masking.gateway.server import build_app
from masking.gateway.switchboard import call_policy
from masking.ports import serving
from masking.privacy.keyring import Keyring
from masking.privacy.party_hash import party_hash
from masking.rate_card import load_rate_card
from masking.recordings.store import open_store
from masking.settings import Settings
from masking.storage.creates import UnansweredCreates
from masking.storage.database import Database
from masking.storage.payload_keys import StoredPayloadKeys
from masking.temporal import masking_plugin, with_keys
from masking.temporal_setup import register_attributes
from masking.tls import trusted
from tests.conftest import ACCOUNT, TOKEN
from worker import working

CARRIER_TOKEN = "what-the-carrier-signs-with"
ANSWERED_WITHIN = timedelta(seconds=20)
"""How long an outcome is waited for here: in the 4 s of the product a busy machine may stand still."""

PORTS_EACH = 1_500
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_ports = itertools.cycle(range(20_000 + _WORKER * PORTS_EACH, 20_000 + (_WORKER + 1) * PORTS_EACH))
for _ in range(random.randrange(PORTS_EACH)):
    next(_ports)


def free_port() -> int:
    """A free port that is given to no other test for a long time.

    Outside the range from which the system serves outgoing connections, so that none takes it first.
    """
    while True:
        port = next(_ports)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@dataclass
class Receiver:
    """A customer's endpoint: takes callbacks, or fails as it is told."""

    url: str
    requests: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    failures: int = 0

    async def take(self, request: web.Request) -> web.Response:
        if self.failures:
            self.failures -= 1
            return web.Response(status=500)
        self.bodies.append(await request.read())
        sent = request.query if request.method == "GET" else await request.post()
        self.requests.append({key: str(value) for key, value in sent.items()})
        self.headers.append(dict(request.headers))
        self.methods.append(request.method)
        return web.Response()

    @property
    def names(self) -> list[str]:
        return [request["EventName"] for request in self.requests]


@dataclass
class System:
    """The running service."""

    settings: Settings
    client: Client
    database: Database
    sessions: MaskingClient
    http: httpx.AsyncClient

    @property
    def api(self) -> str:
        return f"{self.settings.base_url}/v1/Account/{ACCOUNT}/Masking/Session"

    async def webhook(self, path: str, form: dict[str, str], token: str = CARRIER_TOKEN) -> httpx.Response:
        """Post what a carrier would post, signed as it would sign."""
        url = path if path.startswith("http") else f"{self.settings.base_url}{path}"
        return await self.http.post(url, data=form, headers=signed_headers("POST", url, form, [token]))


async def another_namespace(client: Client, name: str, **options: Any) -> Client:
    """A client of a namespace of the same server, which is made if it is missing."""
    request = RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=Duration(seconds=86_400))
    with suppress(RPCError):
        await client.workflow_service.register_namespace(request)
    its = Client(client.service_client, namespace=name, **options)
    async with asyncio.timeout(20):
        # One that was just made is not known everywhere at once.
        while True:
            with suppress(RPCError):
                await its.count_workflows()
                return its
            await asyncio.sleep(0.1)


async def namespace_of_its_own(client: Client, keyring: Keyring) -> Client:
    """A client of a new namespace, set up for sessions: for tests in which our queue must have its own name.

    Other tests use that one in the namespace that all share.
    """
    its = await another_namespace(client, f"own-{uuid4().hex[:8]}", plugins=[masking_plugin(keyring)])
    await register_attributes(its)
    return its


@pytest.fixture
async def creates(database: Database, migrated_url: str) -> AsyncIterator[UnansweredCreates]:
    async with UnansweredCreates(database, migrated_url) as creates:
        yield creates


@pytest.fixture
def simulator_port() -> int:
    """Where the telephone network is, in tests that have one."""
    return free_port()


@pytest.fixture
def more_settings() -> dict[str, Any]:
    """Settings that a test file wants besides."""
    return {}


@functools.cache
def _usual_settings() -> Settings:
    """Reading them takes 10 ms, and most tests want the same."""
    return _settings()


def _settings(**more: Any) -> Settings:
    return Settings(
        carrier_auth_token=SecretStr(CARRIER_TOKEN),
        recording_wait=5,
        request_limit=0,
        callback_allowed_networks=(ip_network("127.0.0.0/8"),),
        **more,
    )


@pytest.fixture
def settings(simulator_port: int, more_settings: dict[str, Any]) -> Settings:
    base = _settings(**more_settings) if more_settings else _usual_settings()
    own = {"port": free_port(), "carrier_api_url": f"http://127.0.0.1:{simulator_port}"}
    return base.model_copy(update=own)


@pytest.fixture
def answered_within() -> timedelta:
    """How long the API waits for an outcome before it answers 503."""
    return ANSWERED_WITHIN


@pytest.fixture
def task_queue() -> str:
    """A queue of the test's own: sessions that an earlier test left running are not served here."""
    return f"masking-{uuid4()}"


@pytest.fixture
async def worker(
    database: Database, keyring: Keyring, temporal: Client, settings: Settings, task_queue: str
) -> AsyncIterator[None]:
    """A Temporal worker, in this process."""
    async with working(temporal, database, keyring, settings, task_queue):
        yield


@asynccontextmanager
async def served(
    database: Database,
    keyring: Keyring,
    client: Client,
    creates: UnansweredCreates,
    settings: Settings,
    queue: str,
    *,
    answered_within: timedelta = ANSWERED_WITHIN,
) -> AsyncIterator[System]:
    """The gateway, with its forwarder; a worker is somebody else's."""
    keys = StoredPayloadKeys(database, keyring)
    client = with_keys(client, keyring, keys)
    forwarder = InboxForwarder(database, client, keyring)
    http = httpx.AsyncClient(auth=(ACCOUNT, TOKEN), timeout=30, verify=trusted())
    context = Context(
        settings=settings,
        database=database,
        keyring=keyring,
        keys=keys,
        sessions=MaskingClient(client, task_queue=queue, timeout=answered_within, party_hash=party_hash(keyring)),
        forwarder=forwarder,
        creates=creates,
        policy=call_policy(settings),
        limiter=RequestLimiter(settings.request_limit, settings.request_window),
        webhooks=webhooks_of(settings),
        audio=audio_of(settings, http, None),
        rate_card=load_rate_card(settings),
        recordings=open_store(settings.recordings) if settings.recordings is not None else None,
    )
    async with serving(GatewayRunner(build_app(context)), settings.port), http, forwarder.running():
        yield System(settings, client, database, context.sessions, http)


@pytest.fixture
async def system(
    database: Database,
    keyring: Keyring,
    temporal: Client,
    creates: UnansweredCreates,
    settings: Settings,
    task_queue: str,
    answered_within: timedelta,
    worker: None,
) -> AsyncIterator[System]:
    del worker
    gateway = served(database, keyring, temporal, creates, settings, task_queue, answered_within=answered_within)
    async with gateway as system:
        yield system


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    port = free_port()
    receiver = Receiver(f"http://127.0.0.1:{port}/events")
    app = web.Application()
    app.router.add_route("*", "/events", receiver.take)
    async with serving(app, port):
        yield receiver
