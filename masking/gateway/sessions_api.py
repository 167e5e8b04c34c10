"""The Masking Session API: create, retrieve, update, expire."""

from __future__ import annotations

import json
import uuid

from aiohttp import web

from masking.client import (
    NumberPoolExhausted,
    OutcomeUnknown,
    SessionAlreadyExpired,
    SessionError,
    SessionNotFound,
)
from masking.domain.money import Rate
from masking.domain.session import Session
from masking.domain.terms import SessionRequest
from masking.gateway.arguments import read_create, read_update
from masking.gateway.authentication import PATH_AUTH_ID
from masking.gateway.context import CONTEXT, Context
from masking.gateway.errors import ApiError, new_api_id
from masking.gateway.resources import account_url, session_resource
from masking.settings import Settings
from masking.storage.sessions import read_session

SESSIONS = r"/v1/Account/{auth_id}/Masking/Session{_slashes:/*}"
SESSION = r"/v1/Account/{auth_id}/Masking/Session{_slashes:/+}{session_uuid:[^/]+}{_more_slashes:/*}"
"""With and without a trailing slash, doubled ones too: no SDK follows a redirect."""

IDEMPOTENCY_KEY = "Idempotency-Key"
_KEY_SPACE = uuid.UUID("6f1f8f5e-52a5-4f0e-9d0b-0a9a8f4f7c11")


def routes() -> list[web.RouteDef]:
    """The API's routes."""
    return [
        web.post(SESSIONS, create, name="session.create"),
        web.get(SESSION, retrieve, name="session.retrieve"),
        web.post(SESSION, update, name="session.update"),
        web.delete(SESSION, expire, name="session.expire"),
    ]


async def create(request: web.Request) -> web.Response:
    """`POST …/Session/`: 201 with the session."""
    context, auth_id = request.app[CONTEXT], request.match_info[PATH_AUTH_ID]
    arguments = read_create(await _json_body(request))
    settings = context.settings
    session_uuid = _session_uuid(auth_id, request.headers.get(IDEMPOTENCY_KEY))
    try:
        await context.sessions.start(
            SessionRequest(
                session_uuid=session_uuid,
                account_id=auth_id,
                terms=arguments.terms(settings),
                session_expiry=arguments.session_expiry or settings.session_expiry,
                pair_grace=settings.pair_grace,
                recording_wait=settings.recording_wait,
                rate=_rate(settings),
                resource_base_url=account_url(settings.base_url, auth_id),
            )
        )
    except SessionError as error:
        raise _api_error(error) from None
    session = await _stored(context, auth_id, session_uuid)
    return web.json_response(
        {
            "api_id": new_api_id(),
            "session_uuid": session_uuid,
            "virtual_number": session.virtual_number,
            "message": "Session created",
            "session": session_resource(session),
        },
        status=201,
    )


async def retrieve(request: web.Request) -> web.Response:
    """`GET …/Session/{uuid}/`: 200 with the session."""
    session = await _stored(request.app[CONTEXT], *_named(request))
    return web.json_response({"api_id": new_api_id(), "response": session_resource(session)})


async def update(request: web.Request) -> web.Response:
    """`POST …/Session/{uuid}/`: 200 with the changed session."""
    context, (auth_id, session_uuid) = request.app[CONTEXT], _named(request)
    change = read_update(await _json_body(request)).change()
    await _stored(context, auth_id, session_uuid)
    try:
        await context.sessions.modify(session_uuid, change)
    except SessionError as error:
        raise _api_error(error) from None
    session = await _stored(context, auth_id, session_uuid)
    return web.json_response(
        {"api_id": new_api_id(), "message": "Session updated", "session": session_resource(session)}
    )


async def expire(request: web.Request) -> web.Response:
    """`DELETE …/Session/{uuid}/`: 200; a body is ignored."""
    context, (auth_id, session_uuid) = request.app[CONTEXT], _named(request)
    await _stored(context, auth_id, session_uuid)
    try:
        await context.sessions.expire(session_uuid)
    except SessionError as error:
        raise _api_error(error) from None
    return web.json_response({"api_id": new_api_id(), "message": "Session expired"})


def _named(request: web.Request) -> tuple[str, str]:
    return request.match_info[PATH_AUTH_ID], request.match_info["session_uuid"]


async def _stored(context: Context, auth_id: str, session_uuid: str) -> Session:
    """The account's session; other accounts' sessions do not exist for it."""
    if "\0" in session_uuid:
        raise ApiError(404, "not found")
    async with context.database.transaction() as connection:
        session = await read_session(connection, context.keyring, auth_id, session_uuid)
    if session is None:
        raise ApiError(404, "not found")
    return session


async def _json_body(request: web.Request) -> object:
    if request.content_type != "application/json":
        raise ApiError(415, "The request body must be application/json.")
    try:
        return json.loads(await request.text() or "{}")
    except (ValueError, RecursionError):
        raise ApiError(400, "The request body is not valid JSON.") from None


def _session_uuid(auth_id: str, idempotency_key: str | None) -> str:
    """A new session's id; the same one again for the same key of the same account."""
    return str(uuid.uuid4() if idempotency_key is None else uuid.uuid5(_KEY_SPACE, f"{auth_id}:{idempotency_key}"))


def _rate(settings: Settings) -> Rate:
    return Rate(per_minute=settings.rate_per_minute, increment=settings.billing_increment)


def _api_error(error: SessionError) -> ApiError:
    """The HTTP answer for what a session did not do."""
    match error:
        case NumberPoolExhausted():
            return ApiError(400, "Number pool exhausted or not available.")
        case SessionAlreadyExpired() | SessionNotFound():
            # The row exists, so a workflow that Temporal does not know as open has ended.
            return ApiError(400, "Session already expired")
        case OutcomeUnknown():
            return ApiError(503, "The service did not answer in time. Try again.", {"Retry-After": "1"})
        case _:
            return ApiError(400, str(error))
