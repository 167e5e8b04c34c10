"""A customer's endpoint: takes callbacks and remembers them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from masking.demo.timeline import StepFailed
from masking.ports import serving

PATH = "/callbacks"

Callback = dict[str, str]


class Receiver:
    """The callbacks so far, and a way to wait for one.

    Args:
        on_callback: told of each as it arrives.
    """

    def __init__(self, on_callback: Callable[[Callback], None]) -> None:
        self.callbacks: list[Callback] = []
        self._on_callback = on_callback
        self._arrived = asyncio.Condition()
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take callbacks on a free port of this machine."""
        app = web.Application()
        app.router.add_post(PATH, self._take)
        async with serving(app) as url:
            self.url = f"{url}{PATH}"
            yield

    async def expect(self, name: str, *, within: float = 20.0) -> Callback:
        """The callback with this event name, now or once it arrives.

        Raises:
            StepFailed: it did not arrive within so many seconds.
        """
        async with self._arrived:
            try:
                await asyncio.wait_for(self._arrived.wait_for(lambda: self._named(name) is not None), within)
            except TimeoutError:
                raise StepFailed(f"the callback {name} did not arrive within {within:g} s") from None
            found = self._named(name)
        assert found is not None  # noqa: S101 what was just waited for
        return found

    def _named(self, name: str) -> Callback | None:
        return next((callback for callback in self.callbacks if callback["EventName"] == name), None)

    async def _take(self, request: web.Request) -> web.Response:
        callback = {key: str(value) for key, value in (await request.post()).items()}
        async with self._arrived:
            self.callbacks.append(callback)
            self._arrived.notify_all()
        self._on_callback(callback)
        return web.Response()
