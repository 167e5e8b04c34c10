"""What Plivo tells of the sessions that it masks: stored before it is acknowledged, forwarded afterwards.

Form or JSON, GET or POST: how Plivo sends it is not documented for masking (plivo-wire.md §5.11).
"""

from __future__ import annotations

import asyncio
import hmac
import json
from datetime import datetime

from aiohttp import web

from masking.carriers.plivo.callbacks import PATH, About, read_callback, session_path
from masking.carriers.signature import is_signed_by
from masking.domain.bill.money import CallRates
from masking.gateway.context import CONTEXT, Context
from masking.gateway.errors import ApiError
from masking.gateway.form_body import form_body
from masking.rate_card import Decided, rates_of
from masking.storage import inbox
from masking.storage.sessions import KnownSession, find_session

Fields = dict[str, str]

OPENS_WITHIN_S, LOOK_EVERY_S = 5.0, 0.1
"""How long a callback may be ahead of the answer to the create, in which Plivo names the session."""


def routes() -> list[web.RouteDef]:
    """The door for Plivo's callbacks of sessions and recordings."""
    path = f"{PATH}/{{session_uuid}}/{{mark}}"
    return [web.post(path, _told, name="plivo.told"), web.get(path, _told, name="plivo.told_by_get")]


async def _told(request: web.Request) -> web.Response:
    """Put what a callback tells into the inbox; what we do not follow is acknowledged."""
    context, session_uuid = request.app[CONTEXT], request.match_info["session_uuid"]
    fields = await _fields(request)
    _check_signature(request, context, fields)
    path = session_path(context.keyring, session_uuid)
    if "\0" in session_uuid or not hmac.compare_digest(request.path.encode(), path.encode()):
        raise ApiError(404, "not found")
    async with asyncio.timeout(OPENS_WITHIN_S * 2):
        known = await _session(context, session_uuid)
    if known is None:
        # Plivo made it, and we have not written it yet, or never will. What it says now, its record says later.
        raise ApiError(503, "The session is not open yet. Try again.", {"Retry-After": "1"})

    def rates(caller: str, callee: str, at: datetime) -> CallRates | None:
        return rates_of(context.rate_card, Decided(caller, callee, at))

    event = read_callback(fields, About(session_uuid, known.terms, rates, known.now, known.cipher.digest))
    if event is None:
        return web.Response()
    async with context.database.transaction() as connection:
        await inbox.post(connection, session_uuid, known.cipher, event)
    context.forwarder.wake()
    return web.Response()


async def _session(context: Context, session_uuid: str) -> KnownSession | None:
    """The session, once it is written; None if it is not before long."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + OPENS_WITHIN_S
    while True:
        async with context.database.transaction() as connection:
            known = await find_session(connection, context.keyring, session_uuid)
        if known is not None or loop.time() >= give_up_at:
            return known
        await asyncio.sleep(LOOK_EVERY_S)


def _check_signature(request: web.Request, context: Context, fields: Fields) -> None:
    """Only Plivo's own callbacks change anything: signed by the account's token, or by the main account's."""
    token, url = context.settings.plivo_auth_token, f"{context.settings.base_url}{request.raw_path}"
    tokens = [token.get_secret_value()] if token is not None else []
    # What is signed of a JSON body is not documented: its fields as those of a form, or nothing of it.
    signed = [fields, {}] if request.content_type == "application/json" else [fields]
    if not any(is_signed_by(request.method, url, params, request.headers, tokens) for params in signed):
        raise ApiError(403, "The callback's signature is missing or wrong.")


async def _fields(request: web.Request) -> Fields:
    """What a callback says, by name."""
    if request.method == "GET":
        return dict(request.query)
    if request.content_type != "application/json":
        return await form_body(request)
    try:
        told = json.loads(await request.read() or b"{}")
        if not isinstance(told, dict):
            raise ValueError
        return {name: _text(value) for name, value in told.items() if value is not None}
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not what its Content-Type says.") from None


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
