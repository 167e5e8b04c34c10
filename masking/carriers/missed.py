"""What a voice carrier missed to tell of a call: its records, as the events that its webhooks would have been.

To be asked for once the events are overdue: a carrier may take a moment to write its records,
and shows only the last days of them unless it is asked by id (Plivo: 7).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from masking.carriers.call_details import CallDetails, RecordingDetails, carrier_charge
from masking.carriers.protocol import Orders
from masking.domain.decisions import never_dialled
from masking.domain.events import Call, Hangup, LegName, RecordingCompleted
from masking.domain.model import Model


class Missed(Model):
    """How the legs of calls ended, and their recordings, as far as the carrier knows."""

    hangups: tuple[Hangup, ...] = ()
    recordings: tuple[RecordingCompleted, ...] = ()


async def missed(carrier: Orders, call: Call) -> Missed:
    """Ask a carrier how the legs of a call ended, and for its recording.

    A leg that goes on, or of which the carrier knows nothing, yields nothing. A call that was to be
    connected and whose caller left before anybody was dialled has no callee's leg: that is told as a
    callee's leg of 0 seconds, without an id, which ended as the caller's did.

    Raises:
        CarrierRefused, CarrierUnavailable: see there.
    """
    # In this order: once the caller's leg has ended, no other is dialled, so that the list is whole.
    caller = await carrier.find_call(call.call_uuid)
    dialled = await carrier.legs_of(call.call_uuid) if call.dialled else ()
    recordings = await carrier.recordings_of(call.call_uuid) if call.recorded else ()
    at = datetime.now(UTC)
    hangups = (_caller_hangup(caller, call, at), _callee_hangup(caller, dialled, call, at))
    return Missed(
        hangups=tuple(hangup for hangup in hangups if hangup is not None), recordings=_recording(recordings, call, at)
    )


def _caller_hangup(caller: CallDetails | None, call: Call, at: datetime) -> Hangup | None:
    if caller is None or caller.end_time is None:
        return None
    return _hangup(caller, call, LegName.CALLER, at)


def _callee_hangup(
    caller: CallDetails | None, dialled: tuple[CallDetails, ...], call: Call, at: datetime
) -> Hangup | None:
    if not call.dialled or any(leg.end_time is None for leg in dialled):
        return None
    if dialled:
        # One call dials one number. Were there more, the conversation counts.
        return _hangup(max(dialled, key=_talked), call, LegName.CALLEE, at)
    if caller is None or caller.end_time is None:
        return None
    never = _hangup(caller, call, LegName.CALLEE, at)
    return never_dialled(never, never.event_id)


def _talked(leg: CallDetails) -> tuple[bool, int]:
    return leg.answer_time is not None, leg.call_duration


def _hangup(leg: CallDetails, call: Call, name: LegName, at: datetime) -> Hangup:
    """The end of a leg. One that was never answered lasted 0 seconds, whatever its record says."""
    began_at, ended_at = leg.initiation_time, leg.end_time
    # An end before the beginning, or one that is still to come: then its clock is not ours.
    plausible = ended_at is not None and (began_at or ended_at) <= ended_at <= at
    return Hangup(
        event_id=f"{call.call_uuid}:{name}:hangup:asked",
        at=at,
        call=call,
        leg=name,
        leg_uuid=leg.call_uuid,
        duration=leg.call_duration if leg.answer_time is not None else 0,
        cause=leg.hangup_cause_name or "Unknown",
        cause_code=leg.hangup_cause_code,
        source=leg.hangup_source,
        ended_at=ended_at if plausible else None,
        carrier_charge=carrier_charge(leg.total_amount, str(leg.billed_duration)),
    )


def _recording(recordings: tuple[RecordingDetails, ...], call: Call, at: datetime) -> tuple[RecordingCompleted, ...]:
    """The recording, once its audio is there. One call records one conversation; were there more, the longest."""
    ready = [recording for recording in recordings if recording.recording_url]
    if not ready:
        return ()
    recording = max(ready, key=lambda each: each.recording_duration_ms)
    file_format: Literal["mp3", "wav"] = (
        "wav" if (recording.recording_format or recording.recording_url).endswith("wav") else "mp3"
    )
    event = RecordingCompleted(
        event_id=f"{call.call_uuid}:recording:asked",
        at=at,
        call=call,
        recording_id=recording.recording_id,
        url=recording.recording_url,
        duration=recording.recording_duration_ms // 1000,
        started_at=recording.recording_start_ms or at,
        ended_at=recording.recording_end_ms or at,
        file_format=file_format,
    )
    return (event,)
