"""The webhooks of Voice carriers. Stored before they are answered, forwarded to the workflow afterwards.

None of them waits for Temporal: a call connects while Temporal is away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from masking.carriers import words
from masking.carriers.protocol import PATH, Form, Webhooks
from masking.domain.decisions import never_dialled
from masking.domain.events import AnyCarrierEvent, Hangup, LegName, RecordingCompleted
from masking.domain.terms import Terms
from masking.gateway.context import CONTEXT
from masking.gateway.errors import ApiError
from masking.gateway.form_body import form_body
from masking.privacy.session_cipher import SessionCipher
from masking.storage import inbox, recordings
from masking.storage.calls import (
    KnownCall,
    find_call,
    find_decided_call,
    note_call_ended,
    note_end_of_undecided,
    was_dialled_for,
)
from masking.storage.database import Connection

HANGUP_PATH = f"{PATH}/hangup"
FALLBACK_PATH = f"{PATH}/fallback"
FORM: web.RequestKey[dict[str, str]] = web.RequestKey("form", dict[str, str])

Reading = Callable[[Webhooks, Form, KnownCall], AnyCarrierEvent | None]
"""What a webhook's form tells of a call."""


def routes() -> list[web.RouteDef]:
    """The carriers' routes."""
    return [
        web.post(HANGUP_PATH, _hangup, name="carrier.hangup"),
        web.post(FALLBACK_PATH, _fallback, name="carrier.fallback"),
        web.post(f"{PATH}/farewell", _farewell, name="carrier.farewell"),
        web.post(f"{PATH}/calls/{{call_uuid}}/dial", _dial_event, name="carrier.dial"),
        web.post(f"{PATH}/calls/{{call_uuid}}/dialled", _dial_done, name="carrier.dialled"),
        web.post(f"{PATH}/calls/{{call_uuid}}/recording", _recording, name="carrier.recording"),
        web.post(f"{PATH}/calls/{{call_uuid}}/greeting", _greeting, name="carrier.greeting"),
    ]


@web.middleware
async def signed_by_carrier(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a carrier's webhook through only with its signature; anything else changes nothing."""
    if request.path.startswith(PATH):
        context = request.app[CONTEXT]
        form = await form_body(request)
        url = f"{context.settings.base_url}{request.raw_path}"
        if not context.webhooks.are_signed(request.method, url, form, request.headers):
            raise ApiError(403, "The webhook's signature is missing or wrong.")
        request[FORM] = form
    return await handler(request)


async def _fallback(request: web.Request) -> web.Response:
    """The answer URL did not tell what to do: PostgreSQL is away, say. What the caller hears needs nothing else."""
    return told(request, request.app[CONTEXT].webhooks.farewell(words.OUT_OF_ORDER))


async def _farewell(request: web.Request) -> web.Response:
    """The session's end found the call in progress: what each party hears last."""
    return told(request, request.app[CONTEXT].webhooks.farewell(words.FAREWELL))


async def _dial_event(request: web.Request) -> web.Response:
    """Something happened to the callee's leg."""
    return await _hear(
        request,
        request.match_info["call_uuid"],
        lambda webhooks, form, known: webhooks.dial_event(form, known.call, known.now),
    )


async def _recording(request: web.Request) -> web.Response:
    """A conversation's recording is ready."""
    return await _hear(
        request,
        request.match_info["call_uuid"],
        lambda webhooks, form, known: webhooks.recording_completed(form, known.call, known.now),
    )


async def _dial_done(request: web.Request) -> web.Response:
    """The conversation is over; what is left of the call ends."""
    return told(request, request.app[CONTEXT].webhooks.hang_up())


async def _greeting(request: web.Request) -> web.Response:
    """The callee answered: what it hears before it is connected."""
    context = request.app[CONTEXT]
    async with context.database.transaction() as connection:
        known = await find_call(connection, context.keyring, request.match_info["call_uuid"])
    if known is None:
        return told(request, context.webhooks.greeting(""))
    return told(request, context.webhooks.greeting(known.terms.play_url(known.call.caller.other)))


async def _hangup(request: web.Request) -> web.Response:
    """The caller's leg ended."""
    return await _hear(
        request,
        request[FORM].get("CallUUID", ""),
        lambda webhooks, form, known: webhooks.caller_hangup(form, known.call, known.began_at, known.now),
        otherwise=note_end_of_undecided,
    )


async def _hear(
    request: web.Request,
    call_uuid: str,
    read: Reading,
    *,
    otherwise: Callable[[Connection, str], Awaitable[None]] | None = None,
) -> web.Response:
    """Put what a webhook tells into the inbox. A call that belongs to no session is nobody's business.

    Args:
        otherwise: what to do about a call that no session has.
    """
    context, form = request.app[CONTEXT], request[FORM]
    async with context.database.transaction() as connection:
        known = await find_decided_call(connection, context.keyring, call_uuid)
        event = read(context.webhooks, form, known) if known is not None else None
        if known is None and otherwise is not None:
            await otherwise(connection, call_uuid)
        if known is not None and event is not None:
            if isinstance(event, Hangup) and event.leg is LegName.CALLER:
                await post_caller_hangup(connection, known.session_uuid, known.cipher, known.terms, event)
            else:
                await inbox.post(connection, known.session_uuid, known.cipher, event)
            if isinstance(event, RecordingCompleted) and context.recordings is not None:
                to_delete = context.settings.delete_carrier_recordings
                await recordings.note(connection, known.session_uuid, known.cipher, event, to_delete=to_delete)
    context.forwarder.wake()
    return web.Response()


async def post_caller_hangup(
    connection: Connection, session_uuid: str, cipher: SessionCipher, terms: Terms, left: Hangup
) -> None:
    """A caller's leg ended. Where it was to be connected and still heard its audio, nobody is dialled any more."""
    call = left.call
    if call.dialled and terms.play_url(call.caller) and not await was_dialled_for(connection, call.call_uuid):
        never = never_dialled(left, f"{call.call_uuid}:callee:hangup")
        await inbox.post(connection, session_uuid, cipher, never)
    await inbox.post(connection, session_uuid, cipher, left)
    await note_call_ended(connection, call.call_uuid)


def told(request: web.Request, document: str) -> web.Response:
    """What to do, as the carrier takes it."""
    return web.Response(text=document, content_type=request.app[CONTEXT].webhooks.content_type)
