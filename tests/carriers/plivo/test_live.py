"""The stub of Plivo in its own time: what happens is told as it happens, once more where nobody could be reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from aiohttp import web

from masking.domain.events import Side
from masking.ports import serving
from tests.carriers.plivo import live
from tests.carriers.plivo.live import LivePlivo
from tests.carriers.plivo.stub import Made
from tests.carriers.plivo.truth import Talk
from tests.integration.conftest import free_port
from tests.integration.stubbed_plivo import AUTH_ID, TOKEN

pytestmark = pytest.mark.anyio

PARTIES = {"first_party": "+12025550101", "second_party": "+12025550102"}
Handle = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def gateway(port: int, handle: Handle) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_post("/told", handle)
    async with serving(web.AppRunner(app, access_log=None, shutdown_timeout=0.1), port):
        yield


@asynccontextmanager
async def made(gateway_port: int, **more: object) -> AsyncIterator[tuple[LivePlivo, Made, httpx.AsyncClient, str]]:
    plivo, port = LivePlivo(1, AUTH_ID, TOKEN), free_port()
    api = f"http://127.0.0.1:{port}/v1/Account/{AUTH_ID}/Masking/Session/"
    async with plivo.serving(port), httpx.AsyncClient(auth=(AUTH_ID, TOKEN), trust_env=False) as http:
        body = PARTIES | {"session_expiry": 60, "callback_url": f"http://127.0.0.1:{gateway_port}/told"} | more
        answer = await http.post(api, json=body)
        assert answer.status_code == 201
        uuid = answer.json()["session_uuid"]
        yield plivo, plivo.sessions[uuid], http, f"{api}{uuid}/"


def fates(plivo: LivePlivo) -> dict[str, str]:
    return {fields["EventName"]: fate for _, fields, fate in plivo.told}


async def test_a_call_goes_on_and_is_told_of_step_by_step() -> None:
    port, told, answered = free_port(), list[str](), asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        told.append(str((await request.post())["EventName"]))
        if told[-1] == "SessionFirstPartyAnswer":
            answered.set()
        return web.Response()

    async with gateway(port, take), made(port) as (plivo, session, http, url):
        calling = asyncio.create_task(plivo.call(session, Talk(0, rings=1, talks=1, caller=Side.FIRST)))
        await answered.wait()
        (shown,) = (await http.get(url)).json()["response"]["interaction"]
        assert (shown["end_time"], shown["total_call_count"]) == ("", 0)
        assert "SessionFirstPartyHangup" not in told
        assert await calling == 1
        (shown,) = (await http.get(url)).json()["response"]["interaction"]
        assert (shown["end_time"] != "", shown["total_call_count"]) == (True, 2)
        assert sorted(told) == sorted(each["EventName"] for each in session.truth.told_of(1))
        assert (await http.delete(url)).status_code == 200
        await plivo.finished()
        assert told[-1] == "SessionTimeout"


async def test_it_ends_at_its_time() -> None:
    async with made(free_port()) as (_, session, _, _):
        session.truth.start -= timedelta(seconds=60)
        async with asyncio.timeout(5):
            while not session.ended:  # noqa: ASYNC110 nobody tells
                await asyncio.sleep(0.02)
        assert session.truth.lives == 60


async def test_a_callback_that_nobody_could_take_is_sent_once_more_and_then_lost() -> None:
    port, times = free_port(), 0
    async with made(port) as (plivo, session, _, _):
        plivo.end(session)
        await plivo.finished()
        assert fates(plivo) == {"SessionTimeout": "lost"}

    async def away_at_first(request: web.Request) -> web.Response:
        nonlocal times
        times += 1
        return web.Response(status=503)

    async with gateway(port, away_at_first), made(port) as (plivo, session, _, _):
        plivo.end(session)
        await plivo.finished()
        # An answer is one, whatever it says.
        assert (fates(plivo), times) == ({"SessionTimeout": "lost"}, 1)


async def test_a_callback_reaches_a_gateway_that_is_back_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    port, plivo_tries = free_port(), asyncio.Event()
    real = httpx.AsyncClient.post

    async def post(self: httpx.AsyncClient, *args: Any, **named: Any) -> httpx.Response:
        try:
            return await real(self, *args, **named)
        finally:
            plivo_tries.set()

    async def take(request: web.Request) -> web.Response:
        return web.Response()

    async with made(port) as (plivo, session, _, _):
        monkeypatch.setattr(live, "AGAIN_AFTER_S", (1.0, 2.0))
        monkeypatch.setattr(httpx.AsyncClient, "post", post)
        plivo.end(session)
        await plivo_tries.wait()
        async with gateway(port, take):
            await plivo.finished()
        assert fates(plivo) == {"SessionTimeout": "taken"}


async def test_an_answer_that_nobody_hears_is_counted() -> None:
    async with made(free_port()) as (plivo, session, http, url):
        asking = asyncio.create_task(http.post(url, json={"ring_timeout": 30}))
        await plivo.holds.wait()
        asking.cancel()
        async with asyncio.timeout(5):
            while not plivo.unheard:  # noqa: ASYNC110 nobody tells
                await asyncio.sleep(0.02)
        assert (dict(plivo.unheard), session.arguments["ring_timeout"]) == ({"updates": 1}, 30)
