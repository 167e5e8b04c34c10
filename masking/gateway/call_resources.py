"""The calls and recordings that an interaction's URLs lead to (plivo-wire.md §7.1 and §7.4)."""

from __future__ import annotations

from decimal import Decimal

from aiohttp import web

from masking.domain.bill.charges import Charge, leg_charge, leg_price
from masking.domain.bill.money import QUANTUM
from masking.domain.callbacks import media_url
from masking.domain.events import LegName, RecordingCompleted
from masking.domain.interaction import Interaction, Leg
from masking.domain.session import Session
from masking.domain.wire_format import plivo_number, record_time
from masking.gateway.authentication import PATH_AUTH_ID, PRINCIPAL
from masking.gateway.context import CONTEXT
from masking.gateway.errors import ApiError
from masking.gateway.paths import path
from masking.gateway.resources import CallObject, RecordingObject, answered
from masking.gateway.session_objects import seen_by
from masking.storage.sessions import find_resource, read_session

CALL = path("v1/Account/{auth_id}/Call/{resource_id}")
RECORDING = path("v1/Account/{auth_id}/Recording/{resource_id}")


def routes() -> list[web.RouteDef]:
    """The resources' routes."""
    return [web.get(CALL, _call, name="call.retrieve"), web.get(RECORDING, _recording, name="recording.retrieve")]


async def _call(request: web.Request) -> web.Response:
    session, interaction = await found_resource(request, "leg")
    uuid = request.match_info["resource_id"]
    for leg, is_caller in ((interaction.caller, True), (interaction.callee, False)):
        if leg.leg_uuid == uuid:
            auth_id = request.match_info[PATH_AUTH_ID]
            return answered(leg_object(session, interaction, leg, auth_id, is_caller=is_caller))
    raise ApiError(404, "not found")


async def _recording(request: web.Request) -> web.Response:
    session, interaction = await found_resource(request, "recording")
    recording = interaction.recording
    if not isinstance(recording, RecordingCompleted):
        raise ApiError(404, "not found")
    return answered(_recording_object(session, interaction, recording, request.match_info[PATH_AUTH_ID]))


async def found_resource(request: web.Request, kind: str) -> tuple[Session, Interaction]:
    """The session and conversation of a resource; other accounts' resources do not exist."""
    context, resource_id = request.app[CONTEXT], request.match_info["resource_id"]
    if "\0" in resource_id:
        raise ApiError(404, "not found")
    async with context.database.transaction() as connection:
        found = await find_resource(connection, kind, resource_id)
        session = found and await read_session(connection, context.keyring, request[PRINCIPAL], found.session_uuid)
    if found is None or session is None or found.call_uuid not in session.interactions:
        raise ApiError(404, "not found")
    shown = seen_by(session, context.settings.base_url, request.match_info[PATH_AUTH_ID])
    return shown, shown.interactions[found.call_uuid]


def leg_object(session: Session, interaction: Interaction, leg: Leg, auth_id: str, *, is_caller: bool) -> CallObject:
    """A leg of an interaction, as its account sees it."""
    hangup, call = leg.hangup, interaction.call
    charge = leg_charge(session, hangup) if hangup else Charge(amount=QUANTUM * 0)
    name = LegName.CALLER if is_caller else LegName.CALLEE
    placed_at = interaction.placed_at if is_caller else None
    inbound, ends = _ends(session, interaction, is_caller=is_caller)
    return CallObject(
        call_uuid=leg.leg_uuid,
        call_direction="inbound" if inbound else "outbound",
        call_state="ANSWER" if leg.answered_at else "NO_ANSWER",
        from_number=ends[0],
        to_number=ends[1],
        initiation_time=record_time(placed_at or leg.rang_at or leg.answered_at or interaction.first_seen_at),
        answer_time=record_time(leg.answered_at) if leg.answered_at else None,
        end_time=record_time(hangup.happened_at) if hangup else None,
        call_duration=charge.duration,
        bill_duration=charge.duration,
        billed_duration=charge.billed_duration,
        total_rate=_rate(leg_price(session, call, name, hangup)),
        total_amount=format(charge.amount, "f"),
        hangup_cause_name=hangup.cause if hangup else None,
        hangup_cause_code=hangup.cause_code if hangup else None,
        hangup_source=hangup.source if hangup else None,
        parent_call_uuid=None if is_caller else call.call_uuid,
        resource_uri=f"/v1/Account/{auth_id}/Call/{leg.leg_uuid}/",
    )


def _ends(session: Session, interaction: Interaction, *, is_caller: bool) -> tuple[bool, tuple[str, str]]:
    """Whether a leg was inbound, and from which number to which it was."""
    # The first party's leg too is ours, where the session began by calling it.
    inbound = is_caller and interaction.placed_at is None
    theirs = plivo_number(interaction.call.from_number if is_caller else interaction.call.to_number)
    ours = plivo_number(session.virtual_number)
    return inbound, (theirs, ours) if inbound else (ours, theirs)


def _rate(price: Decimal) -> str:
    """A price per minute with five decimals, or with as many more as it has."""
    return f"{price:.{max(5, -int(price.as_tuple().exponent))}f}"


def _recording_object(
    session: Session, interaction: Interaction, recording: RecordingCompleted, auth_id: str
) -> RecordingObject:
    _, ends = _ends(session, interaction, is_caller=True)
    return RecordingObject(
        recording_id=recording.recording_id,
        call_uuid=interaction.call.call_uuid,
        recording_url=media_url(session, recording),
        recording_format=recording.file_format,
        recording_duration_ms=f"{recording.duration * 1000}.00000",
        recording_start_ms=f"{recording.started_at.timestamp() * 1000:.5f}",
        recording_end_ms=f"{recording.ended_at.timestamp() * 1000:.5f}",
        rounded_recording_duration=-(-recording.duration // 60) * 60,
        add_time=record_time(recording.at, precise=True),
        from_number=ends[0],
        to_number=ends[1],
        resource_uri=f"/v1/Account/{auth_id}/Recording/{recording.recording_id}/",
    )
