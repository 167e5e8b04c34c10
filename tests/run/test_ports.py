"""Every port is a setting of its own, and what is wrong with it is told by its name."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web

from masking import ports
from masking.errors import StartupError
from masking.gateway.protocol import GatewayRunner
from masking.ports import Place, all_let_in, cannot_listen, listening, serving
from masking.run.system import _check_ports
from masking.settings import Settings
from tests.integration.conftest import free_port

PORTS = ["port", "simulator_port", "metrics_port", "codec_port", "temporal_port", "temporal_ui_port"]


def settings(**more: Any) -> Settings:
    return Settings(**{name: free_port() for name in PORTS} | more)


@pytest.mark.parametrize("name", PORTS)
def test_a_port_in_use_is_named(name: str) -> None:
    given = settings()
    with (
        socket.create_server(("127.0.0.1", getattr(given, name))),
        pytest.raises(StartupError, match=rf"port {getattr(given, name)} .*set MASKING_{name.upper()} to another"),
    ):
        _check_ports(given, embedded_temporal=True)


@pytest.mark.parametrize("name", PORTS[1:])
def test_two_of_our_ports_are_never_the_same(name: str) -> None:
    shared = free_port()
    with pytest.raises(StartupError, match=rf"MASKING_{name.upper()} is .*, and so is MASKING_PORT"):
        _check_ports(settings(**{name: shared, "port": shared}), embedded_temporal=True)


def test_ports_that_are_not_used_are_not_asked_for() -> None:
    given = settings(metrics_port=0)
    with socket.create_server(("127.0.0.1", given.temporal_port)):
        _check_ports(given, embedded_temporal=False)


@pytest.mark.parametrize("host", ["nowhere.invalid", "192.0.2.1", "two..dots"])
def test_a_wrong_host_is_not_blamed_on_the_port(host: str) -> None:
    with pytest.raises(StartupError, match=f"MASKING_HOST: {host} is no address of this machine"):
        _check_ports(settings(host=host), embedded_temporal=True)
    with pytest.raises(StartupError, match="MASKING_METRICS_HOST: "):
        _check_ports(settings(metrics_host=host), embedded_temporal=True)


def test_a_port_that_only_root_may_use_is_the_ports_fault() -> None:
    told = cannot_listen(Place("127.0.0.1", 80, "MASKING_PORT", "MASKING_HOST"), PermissionError(13, "whatever"))
    assert str(told) == "port 80 cannot be used (Permission denied): free it, or set MASKING_PORT to another"


@pytest.mark.anyio
async def test_whoever_has_connected_already_is_answered_before_the_end() -> None:
    """They are in the kernel's hands only: nobody has accepted them, nor read what they ask."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="answered")

    app, port = web.Application(), free_port()
    app.router.add_get("/", answer)
    async with AsyncExitStack() as stack:
        async with listening(web.AppRunner(app, access_log=None), Place("127.0.0.1", port, "MASKING_PORT")):
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)) for _ in range(5)]
            for client in clients:
                client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        for client in clients:
            assert client.recv(1000).endswith(b"answered")


@pytest.mark.anyio
@pytest.mark.parametrize("asks_after", [0.6, None], ids=["it asks later", "it never asks"])
async def test_whoever_has_connected_and_not_asked_yet_may_ask_for_a_while(
    asks_after: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="answered")

    monkeypatch.setattr(ports, "FIRST_WORD_S", 30.0 if asks_after is not None else 0.3)
    app, port = web.Application(), free_port()
    app.router.add_get("/", answer)
    runner, request = GatewayRunner(app), b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"

    async def asks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        if asks_after is not None:
            await asyncio.sleep(asks_after)
            writer.write(request)
        told = await reader.read()
        writer.close()
        return told

    async with listening(runner, Place("127.0.0.1", port, "MASKING_PORT"), runner.silent):
        one = await asyncio.open_connection("127.0.0.1", port)
        # Whoever asked before keeps nobody waiting, though its connection is open.
        two = await asyncio.open_connection("127.0.0.1", port)
        two[1].write(request)
        assert (await two[0].readuntil(b"answered")).startswith(b"HTTP/1.1 200")
        asking = asyncio.create_task(asks(*one))
        began = asyncio.get_running_loop().time()
    took = asyncio.get_running_loop().time() - began
    two[1].close()

    told = await asking
    assert told.endswith(b"answered") if asks_after is not None else told == b""
    assert (asks_after or 0.3) < took < 20


@asynccontextmanager
async def streams() -> AsyncIterator[str]:
    """A server of asyncio's own."""

    def goodbye(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(goodbye, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await all_let_in()


@pytest.mark.anyio
@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("kind", ["serving", "streams"])
async def test_whoever_connects_as_a_server_closes_is_not_left_without_an_answer(kind: str, turns: int) -> None:
    """In whichever turn of the event loop: it is accepted in the second."""
    async with serving(web.Application()) if kind == "serving" else streams() as url:
        client = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
        for _ in range(turns):
            await asyncio.sleep(0)
    client.settimeout(60)
    with client, suppress(ConnectionResetError):
        assert await asyncio.to_thread(client.recv, 1) == b""
