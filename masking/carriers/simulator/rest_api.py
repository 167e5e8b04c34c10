"""The carrier's REST API as Plivo Voice has it (plivo-wire.md §7.1): place, end, speak into and look up calls."""

from __future__ import annotations

import hmac
import re
from typing import Literal
from uuid import uuid4

import aiohttp
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from masking.carriers.simulator.application import Webhook
from masking.carriers.simulator.call import Call, Order
from masking.carriers.simulator.call_resources import PAGING, Resource, call_resource, page, recording_resource
from masking.carriers.simulator.phones import WrongState
from masking.carriers.simulator.requests import NETWORK, Refused, body_of, e164

_CALLS = r"/v1/Account/{auth_id}/Call/"
_RECORDINGS = r"/v1/Account/{auth_id}/Recording/"
_AUTH_ID = re.compile(r"(MA|SA)[A-Z0-9]{18}")


class PlaceCall(BaseModel):
    """The arguments of a call. Times in simulated seconds."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_: str = Field(alias="from", pattern=r"^\+?[0-9]{6,15}$")
    to: str = Field(pattern=r"^\+?[0-9]{6,15}$")
    answer_url: str = Field(pattern=r"^https?://")
    answer_method: Literal["POST", "GET"] = "POST"
    hangup_url: str = Field(default="", pattern=r"^(https?://.*)?$")
    hangup_method: Literal["POST", "GET"] = "POST"
    ring_timeout: int = Field(default=120, ge=1, le=86400)
    time_limit: int = Field(default=14400, ge=1, le=86400)


class Speech(BaseModel):
    """Words for a call."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=1000)
    legs: Literal["aleg", "bleg", "both"] = "aleg"
    mix: bool = True


def routes() -> list[web.RouteDef]:
    """The API's routes."""
    return [
        web.post(_CALLS, _place),
        web.get(_CALLS, _ended_legs),
        web.get(_CALLS + "{call_uuid}/", _ended_leg),
        web.delete(_CALLS + "{call_uuid}/", _end),
        web.post(_CALLS + "{call_uuid}/Speak/", _speak),
        web.get(_RECORDINGS, _recordings),
    ]


async def _place(request: web.Request) -> web.Response:
    _authenticate(request)
    asked = await body_of(request, PlaceCall)
    order = Order(
        Webhook(asked.answer_url, asked.answer_method),
        Webhook(asked.hangup_url, asked.hangup_method),
        asked.ring_timeout,
        asked.time_limit,
    )
    try:
        record = request.app[NETWORK].place(_plus(asked.from_), _plus(asked.to), order)
    except WrongState as wrong:
        raise Refused(400, str(wrong)) from None
    return _told(201, message="call fired", request_uuid=record.call_uuid)


async def _end(request: web.Request) -> web.Response:
    _live(request).end()
    return web.Response(status=204)


async def _speak(request: web.Request) -> web.Response:
    call = _live(request)
    call.say((await body_of(request, Speech)).text)
    return _told(202, message="speak started")


async def _ended_leg(request: web.Request) -> web.Response:
    auth_id = _authenticate(request)
    # Plivo's SDKs say the id once more in the query.
    _check_query(request, "call_uuid")
    found = request.app[NETWORK].leg(request.match_info["call_uuid"])
    if found is None or found[1].ended_at is None:
        raise Refused(404, "not found")
    return _told(200, **call_resource(*found, auth_id))


async def _ended_legs(request: web.Request) -> web.Response:
    auth_id = _authenticate(request)
    _check_query(request, "parent_call_uuid", *PAGING)
    parent = request.query.get("parent_call_uuid")
    found = [
        call_resource(record, leg, auth_id)
        for record in request.app[NETWORK].calls()
        for leg in reversed(record.legs if parent is None else record.callees)
        if leg.ended_at is not None and parent in (None, record.call_uuid)
    ]
    return _listed(request, found)


async def _recordings(request: web.Request) -> web.Response:
    auth_id = _authenticate(request)
    _check_query(request, "call_uuid", *PAGING)
    call_uuid = request.query.get("call_uuid")
    found = [
        recording_resource(record, recording, auth_id)
        for record in request.app[NETWORK].calls()
        for recording in reversed(record.recordings)
        if call_uuid in (None, record.call_uuid)
    ]
    return _listed(request, found)


def _check_query(request: web.Request, *known: str) -> None:
    """Refuse what this network would have to ignore. Raises `Refused` 400."""
    for name in request.query:
        if name not in known:
            raise Refused(400, f"this network cannot look for {name[:40]} here")


def _live(request: web.Request) -> Call:
    _authenticate(request)
    call = request.app[NETWORK].live(request.match_info["call_uuid"])
    if call is None:
        raise Refused(404, "not found")
    return call


def _authenticate(request: web.Request) -> str:
    """The account that asks. Raises `Refused` 401."""
    auth_id = request.match_info["auth_id"]
    try:
        given = aiohttp.BasicAuth.decode(request.headers.get("Authorization", ""), encoding="utf-8")
    except ValueError:
        raise Refused(401, "authentication failed") from None
    right = hmac.compare_digest(given.password.encode(), request.app[NETWORK].token.encode())
    if not (right and _AUTH_ID.fullmatch(auth_id) and given.login == auth_id):
        raise Refused(401, "authentication failed")
    return auth_id


def _plus(number: str) -> str:
    return e164(f"+{number.removeprefix('+')}")


def _listed(request: web.Request, found: list[Resource]) -> web.Response:
    return _told(200, **page(request.rel_url, found))


def _told(status: int, **about: object) -> web.Response:
    return web.json_response({"api_id": str(uuid4()), **about}, status=status)
