"""The ports on which processes of ours listen, and what is said when one cannot be had."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from aiohttp import web

from masking.errors import StartupError

LAST_CALL_S = 0.1
"""For the connections that are there at the end to be accepted, and then for their requests to be read."""

FIRST_WORD_S = 2.0
"""How much longer whoever has just connected may take to ask: on a busy machine it takes its time."""

A_TURN_S = 0.001
"""A timer of the event loop, however short."""

LOOPBACK = "127.0.0.1"

NOT_OF_THIS_MACHINE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)


class Place(NamedTuple):
    """Where a process is to listen.

    Attributes:
        port_setting: the variable that names the port.
        host_setting: the variable that names the host; empty where none does.
    """

    host: str
    port: int
    port_setting: str
    host_setting: str = ""


def check_ports(places: list[Place]) -> None:
    """Look whether each place can be had, and no two are the same.

    Raises:
        StartupError: one cannot; names the variable to change.
    """
    taken: dict[int, Place] = {}
    for place in places:
        other = taken.setdefault(place.port, place)
        if other is not place:
            raise StartupError(
                f"{place.port_setting} is {place.port}, and so is {other.port_setting}: set one of them to another port"
            )
        try:
            family, *_, address = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except (OSError, UnicodeError) as error:
            raise cannot_listen(place, error) from None


@asynccontextmanager
async def listening(
    runner: web.AppRunner, place: Place, silent: Callable[[], bool] = lambda: False
) -> AsyncIterator[None]:
    """Serve at a place while the context lasts; requests under way are answered at its end.

    Whoever has connected by then is let in and heard: the kernel would reset their connections otherwise, and the
    server close those whose request it has not read yet.

    Args:
        silent: whether somebody has connected and not asked for anything yet.

    Raises:
        StartupError: the place cannot be had.
    """
    await runner.setup()
    try:
        site = web.TCPSite(runner, place.host, place.port)
        try:
            await site.start()
        except (OSError, UnicodeError) as error:
            raise cannot_listen(place, error) from None
        try:
            yield
        finally:
            # A timer, as in `all_let_in`.
            await asyncio.sleep(LAST_CALL_S)
            await site.stop()
            await asyncio.sleep(LAST_CALL_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_WORD_S):
                    while silent():  # noqa: ASYNC110 aiohttp tells nobody when a request begins
                        await asyncio.sleep(LAST_CALL_S / 5)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving(served: web.Application | web.BaseRunner, port: int = 0) -> AsyncIterator[str]:
    """Serve on this machine only, while the context lasts: beside a demo, a measurement or a test. The base URL.

    Args:
        served: an application, or the runner of one.
        port: of the system's choice when 0.
    """
    runner = web.AppRunner(served, access_log=None) if isinstance(served, web.Application) else served
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    finally:
        await all_let_in()
        await runner.cleanup()


async def all_let_in() -> None:
    """Return once each connection that was accepted is in its server's hands: nothing else right before it is closed.

    asyncio accepts a connection in one turn of its loop, and gives it to the server in the next. If the server is
    closed between the two, the connection is forgotten: open, answered by nobody, and found by the garbage collector
    (python/cpython#109564). In each turn the loop looks for connections before it looks at timers, so that whoever was
    accepted before a timer is given to the server before the timer's task goes on.
    """
    await asyncio.sleep(A_TURN_S)


def cannot_listen(place: Place, error: Exception) -> StartupError:
    """What to tell when `error` kept a process from listening at `place`."""
    number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
    reason = os.strerror(number) if number else "it is not known"
    if place.host_setting and (number is None or number in NOT_OF_THIS_MACHINE):
        return StartupError(f"{place.host_setting}: {place.host} is no address of this machine ({reason})")
    return StartupError(f"port {place.port} cannot be used ({reason}): free it, or set {place.port_setting} to another")
