"""JSON bodies of requests."""

from __future__ import annotations

import json

from aiohttp import web

from masking.gateway.errors import ApiError


async def json_body(request: web.Request) -> object:
    """What a request's body says; an empty one is an empty object.

    Raises:
        ApiError: 415 or 400.
    """
    if request.content_type != "application/json":
        raise ApiError(415, "The request body must be application/json.")
    try:
        return json.loads(await request.read() or b"{}")
    except (ValueError, RecursionError):
        raise ApiError(400, "The request body is not valid JSON.") from None
