"""The Masking Session API: create, list, retrieve, update, expire."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlencode

from aiohttp import web

from masking.client import SessionAlreadyExpired, SessionError
from masking.domain.money import Rate
from masking.domain.session import Session
from masking.domain.terms import SessionRequest
from masking.gateway.arguments import CreateArguments, read_create, read_update
from masking.gateway.authentication import PATH_AUTH_ID, PRINCIPAL
from masking.gateway.context import CONTEXT, Context
from masking.gateway.create_once import Create, create_once
from masking.gateway.errors import ApiError
from masking.gateway.list_arguments import read_list
from masking.gateway.resources import (
    ListAnswer,
    ListMeta,
    SessionAnswer,
    SessionCreated,
    SessionExpired,
    SessionList,
    SessionUpdated,
    account_url,
    answered,
    listed,
    session_object,
)
from masking.gateway.session_errors import api_error
from masking.settings import Settings
from masking.storage.accounts import Principal, is_subaccount_of
from masking.storage.session_list import SessionPage, list_sessions
from masking.storage.sessions import read_session

SESSIONS = r"/v1/Account/{auth_id}/Masking/Session{_slashes:/*}"
SESSION = r"/v1/Account/{auth_id}/Masking/Session{_slashes:/+}{session_uuid:[^/]+}{_more_slashes:/*}"
"""With and without a trailing slash, doubled ones too: no SDK follows a redirect."""


def routes() -> list[web.RouteDef]:
    """The API's routes."""
    return [
        web.post(SESSIONS, create, name="session.create"),
        web.get(SESSIONS, list_, name="session.list"),
        web.get(SESSION, retrieve, name="session.retrieve"),
        web.post(SESSION, update, name="session.update"),
        web.delete(SESSION, expire, name="session.expire"),
    ]


async def create(request: web.Request) -> web.Response:
    """`POST …/Session/`: 201 with the session."""
    context, principal = request.app[CONTEXT], request[PRINCIPAL]
    body = await _json_body(request)
    arguments = read_create(body)
    subaccount = await _subaccount(context, principal, arguments)
    auth_id = request.match_info[PATH_AUTH_ID]
    wanted = Create.from_request(request, context.keyring, auth_id, body)

    async def start(session_uuid: str) -> Session:
        request = _session_request(context.settings, principal, subaccount, arguments, auth_id, session_uuid)
        # A session that has run its course since is still the answer to its key.
        with suppress(SessionAlreadyExpired):
            await context.sessions.start(request)
        return await _stored(context, principal, session_uuid)

    session = await create_once(context, principal, wanted, start)
    shown = session_object(session, _now())
    return answered(
        SessionCreated(session_uuid=session.session_uuid, virtual_number=session.virtual_number, session=shown),
        status=201,
    )


async def list_(request: web.Request) -> web.Response:
    """`GET …/Session/`: 200 with a page of sessions, newest first."""
    context, now = request.app[CONTEXT], _now()
    wanted, limit, offset = read_list(request.query, now)
    async with context.database.transaction() as connection:
        page = await list_sessions(connection, context.keyring, request[PRINCIPAL], wanted, limit=limit, offset=offset)
    auth_id = request.match_info[PATH_AUTH_ID]
    meta = ListMeta(
        limit=limit,
        next=_page_address(request, page, limit, offset + limit) if offset + limit < page.total_count else None,
        offset=offset,
        previous=_page_address(request, page, limit, max(0, offset - limit)) if offset > 0 else None,
        total_count=page.total_count,
    )
    objects = [listed(session, now, auth_id) for session in page.sessions]
    return answered(ListAnswer(response=SessionList(meta=meta, objects=objects)))


async def retrieve(request: web.Request) -> web.Response:
    """`GET …/Session/{uuid}/`: 200 with the session."""
    session = await _stored(request.app[CONTEXT], request[PRINCIPAL], request.match_info["session_uuid"])
    return answered(SessionAnswer(response=session_object(session, _now())))


async def update(request: web.Request) -> web.Response:
    """`POST …/Session/{uuid}/`: 200 with the changed session."""
    context, principal, session_uuid = request.app[CONTEXT], request[PRINCIPAL], request.match_info["session_uuid"]
    change = read_update(await _json_body(request)).change()
    await _stored(context, principal, session_uuid)
    try:
        await context.sessions.modify(session_uuid, change)
    except SessionError as error:
        raise api_error(error) from None
    session = await _stored(context, principal, session_uuid)
    return answered(SessionUpdated(session=session_object(session, _now())))


async def expire(request: web.Request) -> web.Response:
    """`DELETE …/Session/{uuid}/`: 200; a body is ignored."""
    context, session_uuid = request.app[CONTEXT], request.match_info["session_uuid"]
    await _stored(context, request[PRINCIPAL], session_uuid)
    try:
        await context.sessions.expire(session_uuid)
    except SessionError as error:
        raise api_error(error) from None
    return answered(SessionExpired())


async def _stored(context: Context, principal: Principal, session_uuid: str) -> Session:
    """The account's session; other accounts' sessions do not exist for it."""
    if "\0" in session_uuid:
        raise ApiError(404, "not found")
    async with context.database.transaction() as connection:
        session = await read_session(connection, context.keyring, principal, session_uuid)
    if session is None:
        raise ApiError(404, "not found")
    return session


async def _subaccount(context: Context, principal: Principal, arguments: CreateArguments) -> str | None:
    """The subaccount that a new session is for."""
    named = arguments.subaccount
    if principal.subaccount_id is not None:
        if named not in (None, principal.subaccount_id):
            raise ApiError(400, "Invalid parameter. subaccount should be the auth ID of a subaccount of yours.")
        return principal.subaccount_id
    if named is not None:
        async with context.database.transaction() as connection:
            if not await is_subaccount_of(connection, named, principal.account_id):
                raise ApiError(400, "Invalid parameter. subaccount should be the auth ID of a subaccount of yours.")
    return named


def _session_request(
    settings: Settings,
    principal: Principal,
    subaccount: str | None,
    arguments: CreateArguments,
    auth_id: str,
    session_uuid: str,
) -> SessionRequest:
    return SessionRequest(
        session_uuid=session_uuid,
        account_id=principal.account_id,
        subaccount_id=subaccount,
        terms=arguments.terms(settings),
        session_expiry=arguments.session_expiry or settings.session_expiry,
        pair_grace=settings.pair_grace,
        recording_wait=settings.recording_wait,
        at_expiry=settings.at_expiry,
        rate=Rate(per_minute=settings.rate_per_minute, increment=settings.billing_increment),
        resource_base_url=account_url(settings.base_url, auth_id),
    )


def _page_address(request: web.Request, page: SessionPage, limit: int, offset: int) -> str:
    """Another page's address. It fixes the newest session, so that new ones do not shift the pages."""
    query = {**request.query, "limit": str(limit), "offset": str(offset)}
    if not any(key.startswith("created_time") for key in query) and page.sessions:
        newest = page.sessions[0].created_at if int(request.query.get("offset") or 0) == 0 else _now()
        query["created_time__lte"] = newest.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return f"/v1/Account/{request.match_info[PATH_AUTH_ID]}/Masking/Session/?{urlencode(query)}"


async def _json_body(request: web.Request) -> object:
    if request.content_type != "application/json":
        raise ApiError(415, "The request body must be application/json.")
    try:
        return json.loads(await request.read() or b"{}")
    except (ValueError, RecursionError):
        raise ApiError(400, "The request body is not valid JSON.") from None


def _now() -> datetime:
    return datetime.now(UTC)
