"""The Masking Session API: create, list, retrieve, update, expire."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from aiohttp import web

from masking.client import SessionAlreadyExpired, SessionError
from masking.domain.bill.money import ZERO
from masking.domain.session import Session
from masking.domain.terms import Carrier, SessionRequest
from masking.gateway.arguments import CreateArguments, read_create, read_update
from masking.gateway.authentication import PATH_AUTH_ID, PRINCIPAL
from masking.gateway.context import CONTEXT, Context
from masking.gateway.create_once import Create, NeverOpened, create_once
from masking.gateway.errors import ApiError
from masking.gateway.json_body import json_body
from masking.gateway.list_arguments import read_list
from masking.gateway.list_pages import links
from masking.gateway.paths import path
from masking.gateway.resources import (
    ListAnswer,
    ListMeta,
    SessionAnswer,
    SessionCreated,
    SessionExpired,
    SessionList,
    SessionUpdated,
    answered,
)
from masking.gateway.session_errors import api_error
from masking.gateway.session_objects import listed, seen_by, session_object
from masking.house import account_url
from masking.rate_card import flat_rate
from masking.storage.accounts import Principal, carrier_of, is_subaccount_of
from masking.storage.session_list import list_sessions, list_sessions_from
from masking.storage.sessions import read_session

SESSIONS = path("v1/Account/{auth_id}/Masking/Session")
SESSION = path("v1/Account/{auth_id}/Masking/Session/{session_uuid}")


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
    body = await json_body(request)
    arguments = read_create(body)
    subaccount = await _subaccount(context, principal, arguments)
    carrier = await _carrier(context, principal, subaccount)
    auth_id = request.match_info[PATH_AUTH_ID]
    wanted = Create.from_request(request, context.keyring, auth_id, body)

    async def start(session_uuid: str) -> Session:
        asked = _session_request(context, principal, subaccount, arguments, auth_id, session_uuid)
        request = asked.model_copy(update={"carrier": carrier})
        # A session that has run its course since is still the answer to its key.
        with suppress(SessionAlreadyExpired):
            await context.sessions.start(request)
        session = await _read(context, principal, auth_id, session_uuid)
        if session is None:
            raise NeverOpened
        return session

    connection = request.transport
    session = await create_once(
        context,
        principal,
        wanted,
        start,
        is_waited_for=lambda: connection is not None and not connection.is_closing(),
    )
    shown = session_object(session, _now())
    return answered(
        SessionCreated(session_uuid=session.session_uuid, virtual_number=session.virtual_number, session=shown),
        status=201,
    )


async def list_(request: web.Request) -> web.Response:
    """`GET …/Session/`: 200 with a page of sessions, newest first."""
    context, now = request.app[CONTEXT], _now()
    wanted, limit, offset, cursor, filters = read_list(request.query, now)
    keyring, principal = context.keyring, request[PRINCIPAL]
    async with context.database.transaction() as connection:
        if cursor is None:
            page, total = await list_sessions(connection, keyring, principal, wanted, limit=limit, offset=offset)
        else:
            page = await list_sessions_from(connection, keyring, principal, wanted, cursor.position, limit=limit)
            total = cursor.total_count
    auth_id = request.match_info[PATH_AUTH_ID]
    addresses = [
        query and f"/v1/Account/{auth_id}/Masking/Session/?{query}"
        for query in links(page, total, filters, cursor, now, limit=limit, offset=offset)
    ]
    meta = ListMeta(limit=limit, next=addresses[1], offset=offset, previous=addresses[0], total_count=total)
    shown = (seen_by(session, context.settings.base_url, auth_id) for session in page.sessions)
    objects = [listed(session, now, auth_id) for session in shown]
    return answered(ListAnswer(response=SessionList(meta=meta, objects=objects)))


async def retrieve(request: web.Request) -> web.Response:
    """`GET …/Session/{uuid}/`: 200 with the session."""
    return answered(SessionAnswer(response=session_object(await _asked_for(request), _now())))


async def update(request: web.Request) -> web.Response:
    """`POST …/Session/{uuid}/`: 200 with the changed session."""
    body, session = await json_body(request), await _asked_for(request)
    change = read_update(body, single_party=session.terms.single_party).change()
    try:
        await request.app[CONTEXT].sessions.modify(session.session_uuid, change)
    except SessionError as error:
        raise api_error(error) from None
    return answered(SessionUpdated(session=session_object(await _asked_for(request), _now())))


async def expire(request: web.Request) -> web.Response:
    """`DELETE …/Session/{uuid}/`: 200; a body is ignored."""
    session = await _asked_for(request)
    try:
        await request.app[CONTEXT].sessions.expire(session.session_uuid)
    except SessionError as error:
        raise api_error(error) from None
    return answered(SessionExpired())


async def _asked_for(request: web.Request) -> Session:
    """The session that the path names; other accounts' sessions do not exist for it."""
    names = request.match_info
    session = await _read(request.app[CONTEXT], request[PRINCIPAL], names[PATH_AUTH_ID], names["session_uuid"])
    if session is None:
        raise ApiError(404, "not found")
    return session


async def _read(context: Context, principal: Principal, auth_id: str, session_uuid: str) -> Session | None:
    """A session of the account's, as `auth_id` sees it."""
    if "\0" in session_uuid:
        return None
    async with context.database.transaction() as connection:
        session = await read_session(connection, context.keyring, principal, session_uuid)
    return session and seen_by(session, context.settings.base_url, auth_id)


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


async def _carrier(context: Context, principal: Principal, subaccount: str | None) -> Carrier:
    """Who masks a new session."""
    async with context.database.transaction() as connection:
        chosen = await carrier_of(connection, subaccount or principal.account_id, principal.account_id)
    carrier = chosen or context.settings.carrier
    if carrier == "plivo" and context.settings.plivo_auth_token is None:
        raise ApiError(503, "Sessions of this account cannot be made at the moment: its carrier is not set up.")
    return carrier


def _session_request(
    context: Context,
    principal: Principal,
    subaccount: str | None,
    arguments: CreateArguments,
    auth_id: str,
    session_uuid: str,
) -> SessionRequest:
    settings, card = context.settings, context.rate_card
    return SessionRequest(
        session_uuid=session_uuid,
        account_id=principal.account_id,
        subaccount_id=subaccount,
        terms=arguments.terms(settings),
        session_expiry=arguments.session_expiry or settings.session_expiry,
        pair_grace=settings.pair_grace,
        recording_wait=settings.recording_wait,
        at_expiry=settings.at_expiry,
        rate=flat_rate(settings, card),
        session_fee=card.session_fee_amount(_now()) if card is not None else ZERO,
        resource_base_url=account_url(settings.base_url, auth_id),
    )


def _now() -> datetime:
    return datetime.now(UTC)
