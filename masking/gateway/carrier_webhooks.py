"""The webhooks of Voice carriers. Stored before they are answered, forwarded to the workflow afterwards.

None of them waits for Temporal: a call connects while Temporal is away.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from masking.carriers.signature import is_signed_by
from masking.carriers.voice.answer_xml import CallUrls, answer_xml, hangup_xml
from masking.carriers.voice.webhooks import (
    Form,
    InboundCall,
    caller_hangup,
    dial_event,
    inbound_call,
    recording_completed,
)
from masking.domain.events import Answer, AnyCarrierEvent, Call, Hangup, LegName, Ring
from masking.domain.interaction import HANGUP_SLACK
from masking.domain.routing import Connect, Decision, decide, decide_unknown
from masking.gateway.context import CONTEXT, Context
from masking.gateway.errors import ApiError
from masking.storage import inbox
from masking.storage.calls import FoundRoute, find_call, find_route, note_call, note_call_ended
from masking.storage.database import Connection

PREFIX = "/carrier/voice"
ANSWER_PATH = f"{PREFIX}/answer"
HANGUP_PATH = f"{PREFIX}/hangup"
FORM = web.RequestKey("form", dict[str, str])

Reading = Callable[[Form, Call, datetime], AnyCarrierEvent | None]
"""What a webhook's form tells of a call, at a moment."""


def routes() -> list[web.RouteDef]:
    """The carriers' routes."""
    return [
        web.post(ANSWER_PATH, _answer, name="carrier.answer"),
        web.post(HANGUP_PATH, _hangup, name="carrier.hangup"),
        web.post(f"{PREFIX}/calls/{{call_uuid}}/dial", _dial_event, name="carrier.dial"),
        web.post(f"{PREFIX}/calls/{{call_uuid}}/dialled", _dial_done, name="carrier.dialled"),
        web.post(f"{PREFIX}/calls/{{call_uuid}}/recording", _recording, name="carrier.recording"),
    ]


@web.middleware
async def signed_by_carrier(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a carrier's webhook through only with its V3 signature; anything else changes nothing."""
    if request.path.startswith(PREFIX):
        context = request.app[CONTEXT]
        form = {key: value for key, value in (await request.post()).items() if isinstance(value, str)}
        url = f"{context.settings.base_url}{request.raw_path}"
        if not is_signed_by(request.method, url, form, request.headers, context.carrier_tokens):
            raise ApiError(403, "The webhook's signature is missing or wrong.")
        request[FORM] = form
    return await handler(request)


async def _answer(request: web.Request) -> web.Response:
    """A call reached one of our numbers: decide, note, and tell the carrier what to do."""
    context, form = request.app[CONTEXT], request[FORM]
    inbound = inbound_call(form)
    async with context.database.transaction() as connection:
        decision = await _decided(connection, context, inbound)
    context.forwarder.wake()
    return _xml(answer_xml(decision, _urls(context, inbound.call_uuid)))


async def _decided(connection: Connection, context: Context, inbound: InboundCall) -> Decision:
    found = await find_route(connection, context.keyring, inbound.called, inbound.caller, inbound.call_uuid)
    if found is None:
        return decide_unknown()
    decision = decide(inbound.called, found.route, found.now)
    if isinstance(decision, Connect):
        await _note_connected(connection, found, inbound.call_uuid, decision)
    return decision


async def _note_connected(connection: Connection, found: FoundRoute, call_uuid: str, decision: Connect) -> None:
    """Note the call, and that the caller's leg is answered and the callee's phone rings.

    The carrier has no webhook for the ringing: it begins when the carrier gets our answer.
    """
    route = found.route
    call = Call(
        call_uuid=call_uuid,
        caller=route.caller,
        from_number=route.caller_number,
        to_number=route.callee_number,
        dialled=True,
        recorded=decision.record is not None,
    )
    longest = timedelta(seconds=decision.ring_timeout + decision.call_time_limit) + HANGUP_SLACK
    await note_call(connection, found, call, decision, longest)
    begun: tuple[AnyCarrierEvent, ...] = (
        Answer(event_id=f"{call_uuid}:caller:answer", at=found.now, call=call, leg=LegName.CALLER, leg_uuid=call_uuid),
        Ring(event_id=f"{call_uuid}:callee:ring", at=found.now, call=call),
    )
    for event in begun:
        await inbox.post(connection, route.session_uuid, found.cipher, event)


async def _dial_event(request: web.Request) -> web.Response:
    """Something happened to the callee's leg."""
    return await _hear(request, request.match_info["call_uuid"], dial_event)


async def _recording(request: web.Request) -> web.Response:
    """A conversation's recording is ready."""
    return await _hear(request, request.match_info["call_uuid"], recording_completed)


async def _dial_done(request: web.Request) -> web.Response:
    """The conversation is over; what is left of the call ends."""
    return _xml(hangup_xml())


async def _hangup(request: web.Request) -> web.Response:
    """The caller's leg ended."""
    return await _hear(request, request[FORM].get("CallUUID", ""), caller_hangup)


async def _hear(request: web.Request, call_uuid: str, read: Reading) -> web.Response:
    """Put what a webhook tells into the inbox. A call that belongs to no session is nobody's business."""
    context, form = request.app[CONTEXT], request[FORM]
    async with context.database.transaction() as connection:
        known = await find_call(connection, context.keyring, call_uuid)
        event = read(form, known.call, known.now) if known is not None else None
        if known is not None and event is not None:
            await inbox.post(connection, known.session_uuid, known.cipher, event)
            if isinstance(event, Hangup) and event.leg is LegName.CALLER:
                await note_call_ended(connection, call_uuid)
    context.forwarder.wake()
    return web.Response()


def _urls(context: Context, call_uuid: str) -> CallUrls:
    call = f"{context.settings.base_url}{PREFIX}/calls/{quote(call_uuid, safe='')}"
    return CallUrls(dial_event=f"{call}/dial", dial_done=f"{call}/dialled", recording=f"{call}/recording")


def _xml(document: str) -> web.Response:
    return web.Response(text=document, content_type="application/xml")
