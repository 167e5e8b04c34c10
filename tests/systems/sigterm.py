"""SIGTERM, as every deployment sends it: what was begun is finished, nothing is done twice, the exit code is 0."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
from aiohttp import web
from temporalio.client import Client

from masking.client import DEFAULT_TIMEOUT
from masking.embedded.postgres import running_database_url
from masking.ports import serving
from masking.tls import trusted
from tests.integration.conftest import free_port
from tests.processes.running import Run

IN_FLIGHT = 24
ANSWERED_WITHIN = 0.9 * DEFAULT_TIMEOUT
"""After so long at least a gateway may answer that it does not know."""
SLOW_S = 1.0


@contextlib.asynccontextmanager
async def customers(run: Run) -> AsyncIterator[httpx.AsyncClient]:
    """Clients that make a connection for each request, as most of Plivo's SDKs do."""
    auth = (run.ready["auth_id"], run.ready["auth_token"])
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(auth=auth, timeout=30, trust_env=False, limits=limits, verify=trusted()) as http:
        yield http


class SlowCustomer:
    """An endpoint that takes its time, and counts how often it got each callback."""

    def __init__(self) -> None:
        self.took: Counter[str] = Counter()
        self.answering = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        self.took[request.headers["X-Masking-Callback-Id"]] += 1
        self.answering.set()
        await asyncio.sleep(SLOW_S)
        return web.Response()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/events", self.take)
        async with serving(app, free_port()) as url:
            yield f"{url}/events"


class Sent:
    """Counts the requests that have left us whole, as httpx's extension `trace`."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, happened: str, _: dict[str, Any]) -> None:
        self.count += happened == "http11.send_request_body.complete"


async def create(
    run: Run, http: httpx.AsyncClient, n: int, sent: Sent | None = None, **arguments: Any
) -> httpx.Response:
    body = {"first_party": f"+1202556{n:04}", "second_party": f"+1202557{n:04}"} | arguments
    extensions = {"trace": sent} if sent is not None else None
    return await http.post(f"{run.api}/", json=body, headers={"Idempotency-Key": f"key {n}"}, extensions=extensions)


async def created(run: Run, http: httpx.AsyncClient, n: int, **arguments: Any) -> str:
    """Create until it is answered, as a customer does."""
    while True:
        answer = await create(run, http, n, **arguments)
        if answer.status_code == 201:
            return str(answer.json()["session_uuid"])
        assert answer.status_code == 503
        await asyncio.sleep(0.3)


async def expire(run: Run, http: httpx.AsyncClient, uuid: str) -> None:
    while True:
        answer = await http.delete(f"{run.api}/{uuid}/")
        if answer.status_code == 200 or "already expired" in answer.text:
            return
        assert answer.status_code == 503
        await asyncio.sleep(0.3)


async def another(run: Run, part: str, before: int) -> None:
    """Return when the supervisor has started a part again."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(StopIteration):
                if run.named(part).pid != before:
                    return
            await asyncio.sleep(0.1)


async def the_gateway_answers_every_request_that_it_accepted(run: Run, http: httpx.AsyncClient) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    chance = random.Random(seed)
    gateway = run.named("masking.gateway")
    await created(run, http, 9999)
    for first in range(1000, 2000, IN_FLIGHT):
        sent = Sent()
        begun = [asyncio.create_task(create(run, http, first + n, sent)) for n in range(IN_FLIGHT)]
        # On a busy machine we may take seconds to send all of them, and a gateway waits for none that long.
        async with asyncio.timeout(60):
            while sent.count < IN_FLIGHT:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(chance.uniform(0, 0.1))
        if not all(each.done() for each in begun):
            break
        # They were over too early to be interrupted: others are begun.
    gateway.send_signal(signal.SIGTERM)
    await asyncio.sleep(0.05)
    later = [asyncio.create_task(create(run, http, 2000 + n)) for n in range(5)]

    answers = await asyncio.gather(*begun)
    # On a busy machine an outcome may not be known in time, which is answered as well.
    unknown = [n for n, answer in enumerate(answers) if answer.status_code == 503 and answer.elapsed > ANSWERED_WITHIN]
    assert {answer.status_code for n, answer in enumerate(answers) if n not in unknown} <= {201}
    for each in await asyncio.gather(*later, return_exceptions=True):
        refused = isinstance(each, httpx.ConnectError)
        assert refused or (isinstance(each, httpx.Response) and each.status_code == 201), each
    await another(run, "masking.gateway", gateway.pid)
    uuids = {answer.json()["session_uuid"] for n, answer in enumerate(answers) if n not in unknown}
    async with asyncio.timeout(60):
        while not await healthy(run, http):  # noqa: ASYNC110 it is another process
            await asyncio.sleep(0.1)
    for uuid in uuids:
        assert (await http.get(f"{run.api}/{uuid}/")).status_code == 200
    for n in unknown:
        await created(run, http, first + n)


async def healthy(run: Run, http: httpx.AsyncClient) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return (await http.get(f"{run.ready['api_url']}/healthz")).status_code == 200
    return False


async def the_worker_finishes_what_it_began(
    run: Run, http: httpx.AsyncClient, customer: SlowCustomer, url: str
) -> list[str]:
    """Its sessions, which are all expired."""
    worker = run.named("worker.py")
    uuids = [await created(run, http, n, callback_url=url) for n in range(100, 108)]
    for uuid in uuids[:4]:
        await expire(run, http, uuid)
    await asyncio.wait_for(customer.answering.wait(), 60)
    creating = [asyncio.create_task(created(run, http, n, callback_url=url)) for n in range(108, 116)]
    expiring = [asyncio.create_task(expire(run, http, uuid)) for uuid in uuids[4:]]
    await asyncio.sleep(0.1)
    worker.send_signal(signal.SIGTERM)

    await another(run, "worker.py", worker.pid)
    await asyncio.gather(*expiring)
    uuids += await asyncio.gather(*creating)
    assert len(set(uuids)) == 16
    for uuid in uuids[8:]:
        await expire(run, http, uuid)
    return uuids


async def settled(data: Path, sessions: int) -> bool:
    """Whether all bills are closed and all callbacks delivered."""
    url = running_database_url(data / "postgres")
    assert url is not None
    async with await psycopg.AsyncConnection.connect(url) as connection:
        answer = await connection.execute(
            "SELECT (SELECT count(*) FROM settlements), (SELECT count(*) FROM callbacks WHERE state <> 'delivered')"
        )
        return await answer.fetchall() == [(sessions, 0)]


async def attempts(run: Run) -> set[int]:
    """Which tries of ordinary activities stand in the histories."""
    client = await Client.connect(f"127.0.0.1:{run.env['MASKING_TEMPORAL_PORT']}")
    found: set[int] = set()
    async for workflow in client.list_workflows():
        history = await client.get_workflow_handle(workflow.id).fetch_history()
        for event in history.events:
            if event.HasField("activity_task_started_event_attributes"):
                found.add(event.activity_task_started_event_attributes.attempt)
    return found
