"""What stands before a carrier's REST API, and fails as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from aiohttp import web

from masking.ports import serving
from masking.tls import trusted


@dataclass
class Between:
    """Stands before the API.

    Attributes:
        makes: how the path ends of requests that make something: a call, a session.
        faults: of the next such requests: a status, of which the API does not hear; the same with ` after` behind it,
            `cut` and `stall`, whose answer is lost after it did.
        says: with which words.
        is_down: whether everything fails, of which the API does not hear.
        orders: how many such requests came.
    """

    port: int
    api: str
    makes: str = "/Call/"
    faults: list[str] = field(default_factory=list)
    says: str = "authentication failed"
    is_down: bool = False
    orders: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        async with serving(app, self.port):
            try:
                yield
            finally:
                self.released.set()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        fault = ""
        if request.method == "POST" and request.path.endswith(self.makes):
            self.orders += 1
            fault = self.faults.pop(0) if self.faults else ""
        if self.is_down:
            fault = "503"
        if fault.isdecimal():
            return self._failed(fault)
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        async with httpx.AsyncClient(trust_env=False, verify=trusted()) as http:
            url = f"{self.api}{request.path_qs}"
            answer = await http.request(request.method, url, content=await request.read(), headers=headers)
        if fault.endswith(" after"):
            return self._failed(fault.split()[0])
        if fault == "stall":
            await self.released.wait()
        if fault and request.transport is not None:
            request.transport.close()
        return web.Response(body=answer.content, status=answer.status_code)

    def _failed(self, status: str) -> web.Response:
        return web.json_response({"api_id": "x", "error": self.says}, status=int(status))
