"""Customers' endpoints, a process of their own: `python -m benchmarks.customers PORT... --dead PORT`.

Those at the first ports take every callback at once; the dead one takes connections and never answers.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web

from benchmarks.real_system import child, free_ports, until
from masking.lifeline import until_stopped


class Customers(NamedTuple):
    """The addresses of endpoints that take everything, and of one that never answers."""

    fast: list[str]
    dead: str


@asynccontextmanager
async def customers(count: int) -> AsyncIterator[Customers]:
    """So many endpoints and a dead one, as long as the context lasts."""
    *fast, dead = free_ports(count + 1)
    command = [sys.executable, "-m", "benchmarks.customers", *map(str, fast), "--dead", str(dead)]

    async def listens() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", dead)
        except OSError:
            return False
        writer.close()
        return True

    async with child(command, {}):
        await until(listens)
        yield Customers([f"http://127.0.0.1:{port}/events" for port in fast], f"http://127.0.0.1:{dead}/events")


async def _take(request: web.BaseRequest) -> web.StreamResponse:
    await request.read()
    return web.Response()


class _NeverAnswers(asyncio.Protocol):
    """Takes what it is sent."""


async def serve(fast: list[int], dead: int) -> None:
    """Serve until the parent is gone."""
    runner = web.ServerRunner(web.Server(_take))
    await runner.setup()
    for port in fast:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.get_running_loop().create_server(_NeverAnswers, "127.0.0.1", dead)
    await until_stopped()
    await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fast", type=int, nargs="+")
    parser.add_argument("--dead", type=int, required=True)
    given = parser.parse_args()
    asyncio.run(serve(given.fast, given.dead))
