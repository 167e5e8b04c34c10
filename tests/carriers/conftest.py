"""A network on a fast clock, and an application that answers calls as it is told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from masking.carriers.signature import is_signed_by
from masking.carriers.simulator.application import ApplicationClient
from masking.carriers.simulator.applications import voice_application
from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.network import Network
from masking.carriers.simulator.records import CallRecord
from masking.carriers.simulator.server import build_app
from masking.carriers.voice.calls_api import CallsApi
from masking.ports import serving
from masking.tls import trusted
from tests.integration.conftest import free_port

TOKEN = "carrier-token"
AUTH_ID = "MACARRIER00000000000"
NUMBER, ALICE, BOB = "+12025550199", "+12025550101", "+12025550102"
SPEED = 100.0


@dataclass
class Application:
    """What plays the masking gateway: answers with documents, and remembers what it was told.

    Attributes:
        failures: with which statuses it answers first, by path.
    """

    base: str
    documents: dict[str, str] = field(default_factory=dict)
    status: int = 200
    failures: dict[str, list[int]] = field(default_factory=dict)
    told: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    unsigned: int = 0
    methods: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    async def take(self, request: web.Request) -> web.Response:
        sent = request.query if request.method == "GET" else await request.post()
        form = {key: str(value) for key, value in sent.items()}
        self.methods[request.path].append(request.method)
        if not is_signed_by(request.method, f"{self.base}{request.path_qs}", form, request.headers, [TOKEN]):
            self.unsigned += 1
        self.told.append((request.path, form))
        document, failures = self.documents.get(request.path, ""), self.failures.get(request.path)
        status = failures.pop(0) if failures else self.status
        return web.Response(text=document, content_type="application/xml", status=status)

    def forms(self, path: str) -> list[dict[str, str]]:
        return [form for told, form in self.told if told == path]


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    port = free_port()
    application = Application(f"http://127.0.0.1:{port}")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", application.take)
    async with serving(app, port):
        yield application
        assert application.unsigned == 0


@pytest.fixture
async def network(application: Application, tmp_path: Path) -> AsyncIterator[Network]:
    async with ApplicationClient(TOKEN) as client:
        network = Network(client, SimulatedClock(SPEED), tmp_path / "recordings", "http://carrier.example/media")
        network.inventory.bind(NUMBER, voice_application(f"{application.base}/answer", f"{application.base}/hangup"))
        yield network
        await network.close()


@pytest.fixture
async def address(network: Network, tmp_path: Path) -> AsyncIterator[str]:
    """Where the network's REST API is."""
    async with serving(build_app(network), free_port()) as url:
        yield url


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=30, verify=trusted()) as http:
        yield http


@pytest.fixture
def api(http: httpx.AsyncClient, address: str) -> CallsApi:
    return CallsApi(http, address, AUTH_ID, TOKEN)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 conditions of all kinds
            await asyncio.sleep(0.01)


async def reported(application: Application, record: CallRecord) -> None:
    """Wait until the call is over and its hangup reported."""
    await until(lambda: record.ended and bool(application.forms("/hangup")))


def connect(application: Application, *, record: str = "", timeout: int = 30, limit: int = 600) -> None:
    """Have calls to the number connected to Bob."""
    base = application.base
    recording = (
        f'<Record startOnDialAnswer="true" redirect="false" fileFormat="{record}" maxLength="600"'
        f' callbackUrl="{base}/recording" callbackMethod="POST"/>'
        if record
        else ""
    )
    application.documents["/answer"] = (
        f'<Response>{recording}<Dial callerId="{NUMBER[1:]}" timeout="{timeout}" timeLimit="{limit}"'
        f' action="{base}/done" callbackUrl="{base}/dial"><Number>{BOB[1:]}</Number></Dial></Response>'
    )
    application.documents["/done"] = "<Response><Hangup/></Response>"


def heard(record: CallRecord, leg: str = "caller") -> list[str]:
    return [line.detail for line in record.transcript if line.leg == leg and line.what in ("heard", "pressed")]
