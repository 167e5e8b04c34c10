"""Looking for work again and again, in the background of a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any


@asynccontextmanager
async def alongside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have work go on while the context lasts; it is cancelled at the end, and waited for."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Lookout:
    """Looks for work at once when woken, and every so often otherwise: for what others left behind.

    Args:
        look: does what there is to do; must not raise.
        every_s: seconds between looks that nobody asked for.
    """

    def __init__(self, look: Callable[[], Awaitable[None]], every_s: float) -> None:
        self._look, self._every_s = look, every_s
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def stopping(self) -> bool:
        """Whether no more work should be begun."""
        return self._stopping.is_set()

    def wake(self) -> None:
        """There is something new; do not wait for the next look."""
        self._woken.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look until the context ends; the look under way is finished first."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._stopping.set()
            self.wake()
            await task

    async def _run(self) -> None:
        while not self.stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._every_s)
            self._woken.clear()
            await self._look()
