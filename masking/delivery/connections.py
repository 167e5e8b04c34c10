"""Connections to customers' endpoints, which may send what they like."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

from masking.delivery.names import Names

MOST_HINTS = 16
"""So many answers of status 1xx may come before the answer; more are no hints."""


class Connector(aiohttp.TCPConnector):
    """Ends connections over which more comes than was asked for. Arguments as aiohttp's own.

    aiohttp reads through hints for as long as they come, and keeps answers that nobody asked for, so that one endpoint
    could keep a worker from everything else, and fill its memory. It has no public place for such a limit.
    """

    def __init__(self, **options: Any) -> None:
        self._names = Names()
        super().__init__(resolver=self._names, **options)
        self._factory = functools.partial(_Answers, loop=self._loop)  # type: ignore[assignment] # aiohttp's is narrower

    async def close(self, *, abort_ssl: bool = False) -> None:
        """End all connections."""
        await super().close(abort_ssl=abort_ssl)
        await self._names.close()


class _Answers(ResponseHandler):
    """The answers of one connection, each to a request of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._hints = 0

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Take an answer's beginning; end the connection where it is one too many."""
        is_hint = data[0].code < 200
        self._hints = self._hints + 1 if is_hint else 0
        # The next request goes out once its answer was read.
        if self._hints > MOST_HINTS or (not is_hint and self._has_answer()):
            if self.transport is not None:
                self.transport.abort()
            return
        super().feed_data(data, size)

    def _has_answer(self) -> bool:
        return any(message.code >= 200 for (message, _), _ in self._buffer)
