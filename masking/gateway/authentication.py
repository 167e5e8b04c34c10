"""HTTP Basic: the auth id in the path is the user, its token the password."""

from __future__ import annotations

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from masking.gateway.context import CONTEXT
from masking.gateway.errors import ApiError
from masking.storage.accounts import TOKEN_LENGTH, Principal, authenticate

PATH_AUTH_ID = "auth_id"
PRINCIPAL = web.RequestKey("principal", Principal)


@web.middleware
async def authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let requests for an account through only with that account's credentials, and not too many of them.

    A main account and its subaccounts are counted as one; who does not sign in is not counted.
    """
    auth_id = request.match_info.get(PATH_AUTH_ID)
    if auth_id is not None:
        principal = request[PRINCIPAL] = await _signed_in(request, auth_id)
        retry_after = request.app[CONTEXT].limiter.seconds_to_wait(principal.account_id)
        if retry_after:
            raise ApiError(429, "Too many requests. Wait and try again.", {"Retry-After": str(retry_after)})
    return await handler(request)


async def _signed_in(request: web.Request, auth_id: str) -> Principal:
    refusal = ApiError(401, "authentication failed", {"WWW-Authenticate": 'Basic realm="masking"'})
    try:
        credentials = aiohttp.BasicAuth.decode(request.headers.get("Authorization", ""), encoding="utf-8")
    except ValueError:
        raise refusal from None
    if credentials.login != auth_id or "\0" in auth_id + credentials.password:
        raise refusal
    context, address, token = request.app[CONTEXT], request.remote or "", credentials.password
    wait = context.logins.seconds_to_wait(address, auth_id, token)
    too_many = ApiError(429, "Too many failed logins. Wait and try again.", {"Retry-After": str(wait)})
    # Behind a proxy all callers share an address: whoever guesses must not keep out an account whose token was not
    # used lately. Nobody guesses a token as long as ours.
    if wait and len(token) < TOKEN_LENGTH:
        raise too_many
    async with context.database.transaction() as connection:
        principal = await authenticate(connection, context.keyring, auth_id, token)
    if principal is None and wait:
        raise too_many
    if principal is None:
        context.logins.failed(address, auth_id)
        raise refusal
    context.logins.succeeded(address, auth_id, token)
    return principal
