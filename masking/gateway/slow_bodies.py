"""Bodies that never come to their end."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from masking.gateway.content_encoding import WITH_BODY
from masking.gateway.errors import ApiError

BODY_WITHIN_S = 20.0
"""Any body that we take is 64 KiB at most. Carriers give up sooner."""


@web.middleware
async def in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Have the whole body of a request before anything is done for it, and wait for none for ever."""
    if request.method in WITH_BODY:
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                await request.read()
        except TimeoutError:
            raise ApiError(408, f"The request body should come within {BODY_WITHIN_S:g} seconds.") from None
        except ConnectionError:
            # Who sent it is gone, and hears nothing; it is no failure of ours.
            raise ApiError(400, "The request body was cut short.") from None
    return await handler(request)
