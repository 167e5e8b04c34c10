"""What aiohttp answers and logs before a request reaches our handlers: in our shape, and without what was sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from masking.gateway.errors import error_response, http_error

logger = logging.getLogger(__name__)

MAX_LINE = 8190
_OPTIONS: dict[str, Any] = {
    "access_log": None,
    "max_line_size": MAX_LINE,
    "max_field_size": MAX_LINE,
    # `content_encoding` does it, so that a body that cannot be decoded is answered like any other.
    "auto_decompress": False,
}


class GatewayRunner(web.AppRunner):
    """Runs the gateway's application; use it instead of aiohttp's own runner.

    aiohttp has no public place for how a connection tells errors, so this makes the server itself.
    """

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(_in_json(made.request_handler), request_factory=made.request_factory)

    def silent(self) -> bool:
        """Whether somebody has connected and not asked for anything yet."""
        connections = self.server.connections if self.server is not None else []
        return any(isinstance(each, _Connection) and not each.has_asked for each in connections)


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **_OPTIONS)


class _Connection(web.RequestHandler):
    __slots__ = ("has_asked",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.has_asked = False
        super().connection_made(transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP request, or failed where nobody else answers for it."""
        del message  # It quotes the request.
        level = logging.INFO if status < 500 else logging.ERROR
        logger.log(level, "a connection answered %d for %s", status, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        sentence = "Internal server error."
        if status < 500:
            sentence = "The request is not valid HTTP."
        if isinstance(exc, LineTooLong):
            sentence = f"The request's address and each of its headers should be under {MAX_LINE} bytes."
        answer = error_response(status, sentence)
        answer.force_close()
        return answer

    def log_exception(self, *args: object, exc_info: BaseException | None = None, **_: object) -> None:
        """Say that something failed, by its type only: a message could quote what the request held."""
        del args
        logger.error("a connection failed with %s", type(exc_info).__name__ if exc_info is not None else "no answer")


_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def _in_json(handler: _Handler) -> _Handler:
    """Answer in our shape also what aiohttp refuses before it asks the middlewares: an unknown `Expect`.

    Whatever a connection asks for comes this way.
    """

    async def answered(request: web.BaseRequest) -> web.StreamResponse:
        if isinstance(request.protocol, _Connection):
            request.protocol.has_asked = True
        try:
            return await handler(request)
        except web.HTTPException as error:
            return http_error(error)

    return answered
