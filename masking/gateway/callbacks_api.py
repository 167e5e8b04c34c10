"""What became of an account's callbacks, and sending them again. Ours: Plivo's API has nothing of the kind."""

from __future__ import annotations

import re

from aiohttp import web

from masking.gateway.authentication import PATH_AUTH_ID, PRINCIPAL
from masking.gateway.callback_arguments import CALLBACK_ID, read_callback_list, read_replay
from masking.gateway.callback_resources import (
    CallbackAnswer,
    CallbackListAnswer,
    CallbacksReplayed,
    EndpointListAnswer,
    callback_detail,
    endpoint_objects,
    page_of,
)
from masking.gateway.context import CONTEXT
from masking.gateway.errors import ApiError
from masking.gateway.json_body import json_body
from masking.gateway.paths import path
from masking.gateway.resources import answered
from masking.storage.callback_endpoints import failing
from masking.storage.callback_records import find, replay, show

CALLBACKS = path("v1/Account/{auth_id}/Masking/Callback")
REPLAY = path("v1/Account/{auth_id}/Masking/Callback/Replay")
ENDPOINTS = path("v1/Account/{auth_id}/Masking/Callback/Endpoint")
CALLBACK = path("v1/Account/{auth_id}/Masking/Callback/{callback_id}")


def routes() -> list[web.RouteDef]:
    """The routes; the more special ones first."""
    return [
        web.get(CALLBACKS, _list, name="callback.list"),
        web.post(REPLAY, _replay, name="callback.replay"),
        web.get(ENDPOINTS, _endpoints, name="callback.endpoints"),
        web.get(CALLBACK, _retrieve, name="callback.retrieve"),
    ]


async def _list(request: web.Request) -> web.Response:
    context, auth_id = request.app[CONTEXT], request.match_info[PATH_AUTH_ID]
    chosen, limit, after, filters = read_callback_list(request.query, request[PRINCIPAL])
    async with context.database.transaction() as connection:
        found = await find(connection, chosen, limit + 1, after)
    page = page_of(found[:limit], len(found) > limit, auth_id, limit, filters)
    return answered(CallbackListAnswer(response=page))


async def _retrieve(request: web.Request) -> web.Response:
    context, callback_id = request.app[CONTEXT], request.match_info["callback_id"]
    shown = None
    if re.fullmatch(CALLBACK_ID, callback_id):
        async with context.database.transaction() as connection:
            shown = await show(connection, context.keyring, callback_id, request[PRINCIPAL])
    if shown is None:
        raise ApiError(404, "not found")
    return answered(CallbackAnswer(response=callback_detail(shown, request.match_info[PATH_AUTH_ID])))


async def _replay(request: web.Request) -> web.Response:
    wanted = read_replay(await json_body(request))
    async with request.app[CONTEXT].database.transaction() as connection:
        count = await replay(connection, wanted.chosen(request[PRINCIPAL]))
    return answered(CallbacksReplayed(replayed=count))


async def _endpoints(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    async with context.database.transaction() as connection:
        found = await failing(connection, context.keyring, request[PRINCIPAL])
    return answered(EndpointListAnswer(response=endpoint_objects(found)))
