"""Decides calls: a carrier asks what to do, and the answer goes back as Voice XML.

One read finds the session, a pure function decides, and the decision, the call and its first
events are written in the same transaction. Temporal is not asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from urllib.parse import quote

from aiohttp import web

from masking.carriers.protocol import PATH, CallUrls, InboundCall
from masking.domain.decisions import call_of, events_of, placed_call, ring_of, wrong_pin, wrong_pin_id
from masking.domain.events import AnyCarrierEvent
from masking.domain.routing import (
    AskPin,
    CallPolicy,
    Connect,
    Decision,
    Guesses,
    Reason,
    decide,
    decide_dial,
    decide_first_party_answered,
    decide_pin,
    decide_unknown,
)
from masking.gateway.carrier_webhooks import FORM, post_caller_hangup, told
from masking.gateway.context import CONTEXT, Context
from masking.rate_card import Decided, placed_rates, rates_of
from masking.settings import Settings
from masking.storage import inbox, pin_failures
from masking.storage.call_routes import (
    FoundRoute,
    find_first_party,
    find_route,
    find_route_by_pin,
    find_route_for_strangers,
    find_route_that_asks,
)
from masking.storage.calls import find_call, find_connecting, note_call
from masking.storage.database import Connection

ANSWER_PATH = f"{PATH}/answer"
MOST_WRONG_PINS = 10
"""More than any session allows in one call."""


def routes() -> list[web.RouteDef]:
    """The routes by which carriers ask."""
    return [
        web.post(ANSWER_PATH, _answer, name="carrier.answer"),
        web.post(f"{PATH}/calls/{{call_uuid}}/pin", _pin, name="carrier.pin"),
        web.post(f"{PATH}/calls/{{call_uuid}}/connect", _caller_has_listened, name="carrier.connect"),
        web.post(f"{PATH}/sessions/{{session_uuid}}/answer", _first_party_answered, name="carrier.first.answer"),
        web.post(f"{PATH}/sessions/{{session_uuid}}/hangup", _first_party_hung_up, name="carrier.first.hangup"),
    ]


def call_policy(settings: Settings) -> CallPolicy:
    """What the settings say about calls."""
    return CallPolicy(
        ended_play_url=settings.ended_play_url or "",
        ended_answer_url=settings.ended_answer_url or "",
        pin_failures_per_caller=settings.pin_failures_per_caller,
        pin_failures_per_number=settings.pin_failures_per_number,
    )


async def _answer(request: web.Request) -> web.Response:
    """A call reached one of our numbers."""
    context, form = request.app[CONTEXT], request[FORM]
    inbound = context.webhooks.inbound_call(form)
    async with context.database.transaction() as connection:
        decision = await _decided(connection, context, inbound)
    return _told(request, inbound.call_uuid, decision)


async def _pin(request: web.Request) -> web.Response:
    """The caller entered digits, or none in time."""
    context, form = request.app[CONTEXT], request[FORM]
    inbound, digits = context.webhooks.inbound_call(form), context.webhooks.entered_digits(form)
    before = request.query.get("wrong", "0")
    wrong_pins = min(int(before), MOST_WRONG_PINS) if before.isascii() and before.isdecimal() else MOST_WRONG_PINS
    async with context.database.transaction() as connection:
        decision = await _decided_by_pin(connection, context, inbound, digits, wrong_pins)
    return _told(request, inbound.call_uuid, decision)


async def _caller_has_listened(request: web.Request) -> web.Response:
    """The caller heard its audio: now the callee's phone rings, unless the caller has left or the session ended."""
    context, call_uuid = request.app[CONTEXT], request.match_info["call_uuid"]
    async with context.database.transaction() as connection:
        connecting = await find_connecting(connection, context.keyring, call_uuid)
        if connecting is None or connecting.ended:
            return told(request, context.webhooks.hang_up())
        known = connecting.known
        decision = decide_dial(
            known.call,
            known.terms,
            connecting.virtual_number,
            connecting.expires_at,
            known.now,
            context.policy,
        )
        if isinstance(decision, Connect):
            await inbox.post(connection, known.session_uuid, known.cipher, ring_of(known.call, known.now))
    return _told(request, call_uuid, decision)


async def _first_party_answered(request: web.Request) -> web.Response:
    """The first party picked up the call that we made to it."""
    context, form = request.app[CONTEXT], request[FORM]
    inbound = context.webhooks.inbound_call(form)
    call_uuid = inbound.call_uuid
    async with context.database.transaction() as connection:
        found = await find_first_party(connection, context.keyring, request.match_info["session_uuid"], call_uuid)
        if found is None:
            return told(request, context.webhooks.hang_up())
        number = found.route.virtual_number or ""
        decision = decide_first_party_answered(number, found.route, found.now, context.policy)
        await _note(connection, context, call_uuid, found, decision, placed=True)
    return _told(request, call_uuid, decision)


async def _first_party_hung_up(request: web.Request) -> web.Response:
    """The call that we made to the first party is over, answered or not."""
    context, form = request.app[CONTEXT], request[FORM]
    call_uuid = form.get("CallUUID", "")
    async with context.database.transaction() as connection:
        known = await find_call(connection, context.keyring, call_uuid)
        call = known.call if known is not None else None
        found = await find_first_party(connection, context.keyring, request.match_info["session_uuid"], call_uuid)
        if found is None:
            return web.Response()
        if call is None:
            # It ended before anybody noted that it was placed.
            call = placed_call(call_uuid, found.route, placed_rates(context.rate_card, found.route, found.now))
            await note_call(connection, found, call, None)
        began_at = known.began_at if known is not None else found.now
        hangup = context.webhooks.caller_hangup(form, call, began_at, found.now)
        await post_caller_hangup(connection, found.route.session_uuid, found.cipher, found.route.terms, hangup)
    context.forwarder.wake()
    return web.Response()


async def _decided(connection: Connection, context: Context, inbound: InboundCall) -> Decision:
    keyring, (call_uuid, caller, called) = context.keyring, inbound
    found = await find_route(connection, keyring, called, caller, call_uuid)
    if found is None:
        found = await find_route_for_strangers(connection, keyring, called, caller)
    if found is None or found.over:
        return decide_unknown()
    guesses = Guesses()
    if found.route.may_be_asked:
        guesses = await pin_failures.guesses(connection, keyring, called, caller, _window(context))
    decision = decide(called, found.route, guesses, found.now, context.policy)
    if decision != decide_unknown():
        await _note(connection, context, call_uuid, found, decision)
    return decision


async def _decided_by_pin(
    connection: Connection, context: Context, inbound: InboundCall, digits: str, wrong_pins: int
) -> Decision:
    keyring, (call_uuid, caller, called) = context.keyring, inbound
    this = wrong_pin_id(call_uuid, wrong_pins + 1)
    guesses = await pin_failures.guesses(
        connection, keyring, called, caller, _window(context), in_turn=True, other_than=this
    )
    entered = await find_route_by_pin(connection, keyring, called, digits, caller, call_uuid) if digits else None
    asked = await find_route_that_asks(connection, keyring, called, caller, call_uuid) or entered
    if asked is None or asked.over or (entered is not None and entered.over):
        return decide_unknown()
    decision = decide_pin(
        called, asked.route, entered.route if entered else None, wrong_pins, guesses, asked.now, context.policy
    )
    if decision.reason in (Reason.WRONG_PIN, Reason.ASKED_FOR_PIN):
        event = wrong_pin(call_uuid, asked.route, wrong_pins + 1, decision, asked.now)
        async with connection.pipeline():
            await pin_failures.note_failure(connection, keyring, event.event_id, called, caller, _window(context))
            await _post(connection, asked, [event])
    elif decision.reason is Reason.TOO_MANY_WRONG_PINS:
        await _note(connection, context, call_uuid, asked, decision)
    elif entered is not None:
        await _note(connection, context, call_uuid, entered, decision)
    return decision


async def _note(
    connection: Connection,
    context: Context,
    call_uuid: str,
    found: FoundRoute,
    decision: Decision,
    *,
    placed: bool = False,
) -> None:
    """Write down what was decided: the call, where there is one now, and what the session is to hear."""
    route, rates = found.route, None
    if isinstance(decision, Connect):
        rates = rates_of(context.rate_card, Decided(route.caller_number, route.callee_number, found.now, placed))
    async with connection.pipeline():
        if isinstance(decision, Connect):
            await note_call(connection, found, call_of(call_uuid, route, decision, rates), decision)
        await _post(connection, found, events_of(call_uuid, route, decision, found.now, rates))


async def _post(connection: Connection, found: FoundRoute, events: Iterable[AnyCarrierEvent]) -> None:
    for event in events:
        await inbox.post(connection, found.route.session_uuid, found.cipher, event)


def _told(request: web.Request, call_uuid: str, decision: Decision) -> web.Response:
    context = request.app[CONTEXT]
    context.forwarder.wake()
    wrong_pins = decision.wrong_pins if isinstance(decision, AskPin) else 0
    urls = _urls(context.settings, call_uuid, wrong_pins)
    return told(request, context.webhooks.answer(decision, urls))


def _urls(settings: Settings, call_uuid: str, wrong_pins: int) -> CallUrls:
    call = f"{settings.base_url}{PATH}/calls/{quote(call_uuid, safe='')}"
    return CallUrls(
        connect=f"{call}/connect",
        dial_event=f"{call}/dial",
        dial_done=f"{call}/dialled",
        recording=f"{call}/recording",
        greeting=f"{call}/greeting",
        pin=f"{call}/pin?wrong={wrong_pins}",
    )


def _window(context: Context) -> timedelta:
    return timedelta(seconds=context.settings.pin_failure_window)
