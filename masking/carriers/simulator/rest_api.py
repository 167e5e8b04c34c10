"""The carrier's REST API as Plivo Voice has it (plivo-wire.md §7.1): place, end, speak into and look up calls."""

from __future__ import annotations

import asyncio
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from masking.carriers.simulator.application import Webhook
from masking.carriers.simulator.call import Call
from masking.carriers.simulator.call_parts import Order, Transfer
from masking.carriers.simulator.call_resources import PAGING, call_resource, recording_resource
from masking.carriers.simulator.elements import LONGEST_CALL_S
from masking.carriers.simulator.phones import WrongState
from masking.carriers.simulator.records import CallRecord, Recording
from masking.carriers.simulator.requests import NETWORK, Refused, WebhookUrl, body_of, e164
from masking.carriers.simulator.rest_answers import authenticate, check_query, listed, told

_CALLS = r"/v1/Account/{auth_id}/Call/"
_LEGS = {"aleg": ("caller",), "bleg": ("callee",), "both": ("caller", "callee")}
_RECORDINGS = r"/v1/Account/{auth_id}/Recording/"


class PlaceCall(BaseModel):
    """The arguments of a call. Times in simulated seconds."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    from_: str = Field(alias="from", pattern=r"^\+?[0-9]{6,15}$")
    to: str = Field(pattern=r"^\+?[0-9]{6,15}$")
    answer_url: WebhookUrl = Field(min_length=1)
    answer_method: Literal["POST", "GET"] = "POST"
    hangup_url: WebhookUrl = ""
    hangup_method: Literal["POST", "GET"] = "POST"
    fallback_url: WebhookUrl = ""
    fallback_method: Literal["POST", "GET"] = "POST"
    ring_timeout: int = Field(default=120, ge=1, le=86400)
    time_limit: int = Field(default=14400, ge=1)


class Speech(BaseModel):
    """Words for a call."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=1000)
    legs: Literal["aleg", "bleg", "both"] = "aleg"
    mix: bool = True


class TransferCall(BaseModel):
    """Where the legs go on."""

    model_config = ConfigDict(extra="forbid")

    legs: Literal["aleg", "bleg", "both"] = "aleg"
    aleg_url: WebhookUrl = ""
    aleg_method: Literal["POST", "GET"] = "POST"
    bleg_url: WebhookUrl = ""
    bleg_method: Literal["POST", "GET"] = "POST"


def routes() -> list[web.RouteDef]:
    """The API's routes."""
    return [
        web.post(_CALLS, _place),
        web.get(_CALLS, _ended_legs),
        web.get(_CALLS + "{call_uuid}/", _ended_leg),
        web.delete(_CALLS + "{call_uuid}/", _end),
        web.post(_CALLS + "{call_uuid}/", _transfer),
        web.post(_CALLS + "{call_uuid}/Speak/", _speak),
        web.get(_RECORDINGS, _recordings),
        web.get(_RECORDINGS + "{recording_id}/", _recording),
        web.delete(_RECORDINGS + "{recording_id}/", _delete_recording),
    ]


async def _place(request: web.Request) -> web.Response:
    authenticate(request)
    asked = await body_of(request, PlaceCall)
    order = Order(
        Webhook(asked.answer_url, asked.answer_method),
        Webhook(asked.hangup_url, asked.hangup_method),
        asked.ring_timeout,
        min(asked.time_limit, LONGEST_CALL_S),
        Webhook(asked.fallback_url, asked.fallback_method),
    )
    try:
        record = request.app[NETWORK].place(_plus(asked.from_), _plus(asked.to), order)
    except WrongState as wrong:
        raise Refused(400, str(wrong)) from None
    return told(201, message="call fired", request_uuid=record.call_uuid)


async def _end(request: web.Request) -> web.Response:
    _live(request).end()
    return web.Response(status=204)


async def _transfer(request: web.Request) -> web.Response:
    call = _live(request)
    asked = await body_of(request, TransferCall)
    for leg, url in (("aleg", asked.aleg_url), ("bleg", asked.bleg_url)):
        if asked.legs in (leg, "both") and not url:
            raise Refused(400, f"{leg}_url is missing")
    caller = Webhook(asked.aleg_url, asked.aleg_method) if asked.legs != "bleg" else Webhook("")
    callee = Webhook(asked.bleg_url, asked.bleg_method) if asked.legs != "aleg" else Webhook("")
    call.transfer(Transfer(caller, callee))
    return told(202, message="call transferred")


async def _speak(request: web.Request) -> web.Response:
    call = _live(request)
    asked = await body_of(request, Speech)
    call.say(asked.text, _LEGS[asked.legs])
    return told(202, message="speak started")


async def _ended_leg(request: web.Request) -> web.Response:
    auth_id = authenticate(request)
    # Plivo's SDKs say the id once more in the query.
    check_query(request, "call_uuid")
    found = request.app[NETWORK].leg(request.match_info["call_uuid"])
    if found is None or found[1].ended_at is None:
        raise Refused(404, "not found")
    return told(200, **call_resource(*found, auth_id))


async def _ended_legs(request: web.Request) -> web.Response:
    auth_id = authenticate(request)
    check_query(request, "parent_call_uuid", *PAGING)
    parent = request.query.get("parent_call_uuid")
    found = [
        call_resource(record, leg, auth_id)
        for record in request.app[NETWORK].calls()
        for leg in reversed(record.legs if parent is None else record.callees)
        if leg.ended_at is not None and parent in (None, record.call_uuid)
    ]
    return listed(request, found)


async def _recordings(request: web.Request) -> web.Response:
    auth_id = authenticate(request)
    check_query(request, "call_uuid", *PAGING)
    call_uuid = request.query.get("call_uuid")
    found = [
        recording_resource(record, recording, auth_id)
        for record in request.app[NETWORK].calls()
        for recording in reversed(record.recordings)
        if call_uuid in (None, record.call_uuid)
    ]
    return listed(request, found)


async def _recording(request: web.Request) -> web.Response:
    auth_id = authenticate(request)
    return told(200, **recording_resource(*_recorded(request), auth_id))


async def _delete_recording(request: web.Request) -> web.Response:
    authenticate(request)
    record, recording = _recorded(request)
    record.recordings.remove(recording)
    await asyncio.to_thread(request.app[NETWORK].recordings.delete, recording.file)
    return web.Response(status=204)


def _recorded(request: web.Request) -> tuple[CallRecord, Recording]:
    recording_id = request.match_info["recording_id"]
    for record in request.app[NETWORK].calls():
        for recording in record.recordings:
            if recording.recording_id == recording_id:
                return record, recording
    raise Refused(404, "not found")


def _live(request: web.Request) -> Call:
    authenticate(request)
    call = request.app[NETWORK].live(request.match_info["call_uuid"])
    if call is None:
        raise Refused(404, "not found")
    return call


def _plus(number: str) -> str:
    return e164(f"+{number.removeprefix('+')}")
