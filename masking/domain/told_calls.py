"""What a carrier's event tells whoever started the session: no numbers, so that it may rest under another key."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from masking.domain.events import (
    Answer,
    AnyCarrierEvent,
    Declined,
    Hangup,
    LegName,
    PinStatus,
    RecordingCompleted,
    RecordingFailed,
    RecordingInitiated,
    Ring,
    Side,
)
from masking.domain.model import Model


class ToldCall(Model):
    """A carrier's event without numbers. `at` is when it happened, UTC.

    Attributes:
        what: the event's name among the carrier's (docs/callbacks.md); `declined` for a call that was not connected.
        event_id: the same for the same event, should it be told twice.
        call_uuid: the carrier's id of the call.
        reason: why the call was treated as it was, in words.
        leg: which leg was answered or ended; None where the event is about the whole call.
        duration: whole seconds from a leg's answer to its end, or of a recording.
        cause: why a leg ended, or no recording came, in the carrier's words.
        pin: what became of a PIN.
        recording_id: the carrier's id of a recording.
    """

    at: datetime
    what: Literal[
        "answer", "declined", "ring", "hangup", "pin_status", "recording_initiated", "recording_completed",
        "recording_failed",
    ]  # fmt: skip
    event_id: str
    call_uuid: str
    caller: Side
    reason: str = ""
    leg: LegName | None = None
    duration: int | None = None
    cause: str = ""
    pin: Literal["success", "failed", "AuthorizedCaller"] | None = None
    recording_id: str = ""


class ToldCalls(Model):
    """What a signal tells, in its order."""

    calls: tuple[ToldCall, ...] = ()


_Telling = Answer | Declined | Ring | Hangup | PinStatus | RecordingInitiated | RecordingCompleted | RecordingFailed


def told_calls(events: Iterable[AnyCarrierEvent]) -> ToldCalls:
    """What these tell; of some, that is nothing."""
    return ToldCalls(calls=tuple(_told(event) for event in events if isinstance(event, _Telling)))


def _told(event: _Telling) -> ToldCall:
    details: dict[str, Any] = {}
    if isinstance(event, Answer | Hangup):
        details["leg"] = event.leg
    if isinstance(event, Hangup):
        details |= {"duration": event.duration, "cause": event.cause}
    if isinstance(event, PinStatus):
        details["pin"] = event.status
    if isinstance(event, RecordingInitiated | RecordingCompleted):
        details["recording_id"] = event.recording_id
    if isinstance(event, RecordingCompleted):
        details["duration"] = event.duration
    if isinstance(event, RecordingFailed):
        details["cause"] = event.reason
    return ToldCall(
        at=event.at,
        what=event.kind,
        event_id=event.event_id,
        call_uuid=event.call.call_uuid,
        caller=event.call.caller,
        reason=event.call.reason,
        **details,
    )
