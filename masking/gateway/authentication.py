"""HTTP Basic: the auth id in the path is the user, its token the password."""

from __future__ import annotations

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from masking.gateway.context import CONTEXT
from masking.gateway.errors import ApiError
from masking.storage.accounts import is_authentic

PATH_AUTH_ID = "auth_id"


@web.middleware
async def authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let requests for an account through only with that account's credentials."""
    auth_id = request.match_info.get(PATH_AUTH_ID)
    if auth_id is not None:
        await _check(request, auth_id)
    return await handler(request)


async def _check(request: web.Request, auth_id: str) -> None:
    refusal = ApiError(401, "authentication failed", {"WWW-Authenticate": 'Basic realm="masking"'})
    try:
        credentials = aiohttp.BasicAuth.decode(request.headers.get("Authorization", ""), encoding="utf-8")
    except ValueError:
        raise refusal from None
    if credentials.login != auth_id or "\0" in auth_id + credentials.password:
        raise refusal
    context = request.app[CONTEXT]
    async with context.database.transaction() as connection:
        if not await is_authentic(connection, context.keyring, auth_id, credentials.password):
            raise refusal
