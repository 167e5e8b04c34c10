"""Decodes payloads for the Temporal Web UI, so that an operator can read a session's story there.

Only mounted when `MASKING_UI_ORIGIN` names the UI. A browser lets no other page read the
answers; whoever else reaches this port could, so it belongs on the loopback interface.
"""

from __future__ import annotations

from aiohttp import hdrs, web
from google.protobuf import json_format
from temporalio.api.common.v1 import Payloads

from masking.gateway.errors import ApiError
from masking.privacy.keyring import Unreadable
from masking.privacy.payload_codec import EncryptingCodec

PATH = "/codec"


def routes(codec: EncryptingCodec, origin: str) -> list[web.RouteDef]:
    """The codec's routes, for pages of `origin` only."""

    async def decode(request: web.Request) -> web.Response:
        _check_origin(request, origin)
        try:
            payloads = json_format.Parse(await request.read(), Payloads())
            decoded = Payloads(payloads=await codec.decode(payloads.payloads))
        except (json_format.ParseError, Unreadable):
            raise ApiError(400, "These payloads cannot be decoded.") from None
        return web.Response(
            text=json_format.MessageToJson(decoded), content_type="application/json", headers=_allowed(origin)
        )

    async def preflight(request: web.Request) -> web.Response:
        _check_origin(request, origin)
        return web.Response(headers=_allowed(origin))

    return [
        web.post(f"{PATH}/decode", decode, name="codec.decode"),
        web.options(f"{PATH}/decode", preflight, name="codec.preflight"),
    ]


def _check_origin(request: web.Request, origin: str) -> None:
    if request.headers.get(hdrs.ORIGIN) != origin:
        raise ApiError(403, "Only the Temporal Web UI may have payloads decoded.")


def _allowed(origin: str) -> dict[str, str]:
    return {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: "POST, OPTIONS",
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "content-type, x-namespace, authorization",
        hdrs.VARY: hdrs.ORIGIN,
    }
