"""What happens to a session, told to another service as it happens."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from masking.domain.events import LegName, Side
from masking.domain.model import Model
from masking.domain.session import Bill


class _Told(Model):
    """Base of every event.

    Attributes:
        position: where it stands; the stream goes on behind it when it is given as `after`.
        at: when it happened, or was written down, UTC.
    """

    session_uuid: str
    position: str
    at: datetime


class SessionOpened(_Told):
    """The session has its virtual number (E.164). `expires_at` is when it was to expire at its start, UTC."""

    kind: Literal["opened"] = "opened"
    virtual_number: str
    expires_at: datetime


class SessionTurnedAway(_Told):
    """The session was refused, and there is none. The last event of its stream."""

    kind: Literal["turned_away"] = "turned_away"
    reason: str


class SessionChanged(_Told):
    """The session was extended or modified by its owner."""

    kind: Literal["changed"] = "changed"
    by: Literal["extend", "modify"]
    expires_at: datetime


class CallEvent(_Told):
    """The carrier told something about a call. Without numbers: `caller` says which party it was.

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

    kind: Literal["call"] = "call"
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


class SessionExpired(_Told):
    """The session takes no more calls; one in progress goes on."""

    kind: Literal["expired"] = "expired"


class SessionSettled(_Told):
    """Everything was told and the bill is closed. The last event of its stream."""

    kind: Literal["settled"] = "settled"
    bill: Bill


SessionEvent = SessionOpened | SessionTurnedAway | SessionChanged | CallEvent | SessionExpired | SessionSettled
