"""A provider that is like Plivo and is not Plivo: what docs/carriers.md says that one module is enough for.

Its signature is in headers of its own, its REST API elsewhere, and it names a call by `call_uuid`.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from aiohttp import web

from masking.carriers.protocol import Form
from masking.carriers.signature import MAIN_ACCOUNT_SIGNATURE, NONCE, SIGNATURE
from masking.carriers.voice.calls_api import CallsApi
from masking.carriers.voice.webhooks import PlivoWebhooks
from masking.tls import trusted

OWN = {
    SIGNATURE: "X-Similar-Signature",
    MAIN_ACCOUNT_SIGNATURE: "X-Similar-Main-Signature",
    NONCE: "X-Similar-Nonce",
}
"""Its headers, by Plivo's names."""


class SimilarWebhooks(PlivoWebhooks):
    """Its webhooks."""

    def are_signed(self, method: str, url: str, form: Form, headers: Mapping[str, str]) -> bool:
        renamed = {plivos: headers[own] for plivos, own in OWN.items() if own in headers}
        return super().are_signed(method, url, form, renamed)


class SimilarApi(CallsApi):
    """Its REST API."""

    ACCOUNTS = "/Api/v2/Account/"
    PLACED = "call_uuid"


def similar_headers(plivos: Mapping[str, str]) -> dict[str, str]:
    """How it signs, from how Plivo would."""
    return {OWN.get(name, name): value for name, value in plivos.items()}


def similar_front(network: str) -> web.Application:
    """The simulator's REST API, as this provider has it.

    Args:
        network: the simulator's URL.
    """

    async def pass_on(request: web.Request) -> web.Response:
        if request.path.startswith("/v1/Account/"):
            return web.json_response({"error": "not found"}, status=404)
        path = request.path_qs.replace(SimilarApi.ACCOUNTS, "/v1/Account/")
        headers = {name: request.headers[name] for name in ("Authorization",) if name in request.headers}
        async with httpx.AsyncClient(trust_env=False, verify=trusted()) as http:
            body = await request.read()
            answer = await http.request(request.method, f"{network}{path}", content=body, headers=headers)
        content = answer.content.replace(b'"request_uuid"', b'"call_uuid"')
        return web.Response(body=content, status=answer.status_code, content_type="application/octet-stream")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", pass_on)
    return app
