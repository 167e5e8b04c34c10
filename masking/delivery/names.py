"""The addresses of customers' hosts, whose name servers may take their time."""

from __future__ import annotations

import asyncio
import functools
import socket
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

THREADS = 128
"""Twice as many as callbacks are sent at once: who asks for a name gives up before the system does."""


class Names(AbstractResolver):
    """Asks the system, each time in a thread of its own.

    The event loop has a handful of threads for this. A few names whose servers never answer would hold all of them, and
    with them whatever else in the process asks for a name: other customers' callbacks, the carrier, PostgreSQL.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "name")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises `socket.gaierror`."""
        ask = functools.partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Let go of the threads; those that still ask end with their answer."""
        self._threads.shutdown(wait=False, cancel_futures=True)
