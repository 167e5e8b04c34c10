"""The carrier's REST API as Plivo Voice has it (plivo-wire.md §7.1): place, end, and speak into calls."""

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
from masking.carriers.simulator.phones import WrongState
from masking.carriers.simulator.requests import NETWORK, Refused, body_of, e164

_CALLS = r"/v1/Account/{auth_id}/Call/"
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
        web.delete(_CALLS + "{call_uuid}/", _end),
        web.post(_CALLS + "{call_uuid}/Speak/", _speak),
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


def _live(request: web.Request) -> Call:
    _authenticate(request)
    call = request.app[NETWORK].live(request.match_info["call_uuid"])
    if call is None:
        raise Refused(404, "not found")
    return call


def _authenticate(request: web.Request) -> None:
    auth_id = request.match_info["auth_id"]
    try:
        given = aiohttp.BasicAuth.decode(request.headers.get("Authorization", ""), encoding="utf-8")
    except ValueError:
        raise Refused(401, "authentication failed") from None
    right = hmac.compare_digest(given.password.encode(), request.app[NETWORK].token.encode())
    if not (right and _AUTH_ID.fullmatch(auth_id) and given.login == auth_id):
        raise Refused(401, "authentication failed")


def _plus(number: str) -> str:
    return e164(f"+{number.removeprefix('+')}")


def _told(status: int, **about: str) -> web.Response:
    return web.json_response({"api_id": str(uuid4()), **about}, status=status)
