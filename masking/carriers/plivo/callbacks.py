"""What Plivo posts about a session, in our words (masking-session-api.txt, "Session Callbacks").

Its callbacks name the session and the moment, never the call: which conversation an event belongs to, the
session's workflow finds (`masking/domain/counterpart/placing.py`). In the names of its events the "first party" is the
leg that began the interaction (plivo-wire.md §5.11); `From` and `To` tell who it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from masking.carriers.plivo.wire import amount, e164, moment, text, whole
from masking.domain.bill.money import CallRates, CarrierCharge
from masking.domain.events import (
    NO_CALL,
    Answer,
    AnyCarrierEvent,
    Call,
    Hangup,
    LegName,
    PinStatus,
    RecordingCompleted,
    RecordingFailed,
    RecordingInitiated,
    Ring,
    SessionEnded,
    Side,
)
from masking.domain.terms import Terms
from masking.privacy.keyring import Keyring

PATH = "/carrier/plivo/sessions"
"""Where the gateway takes what Plivo tells of its sessions."""

Fields = Mapping[str, str]
PinAnswer = Literal["success", "failed", "AuthorizedCaller"]
PIN_ANSWERS: Mapping[str, PinAnswer] = {
    "success": "success",
    "failed": "failed",
    "authorizedcaller": "AuthorizedCaller",
}


def session_path(keyring: Keyring, session_uuid: str) -> str:
    """The path of what is told of our session. Nobody can guess it, so that it also names our session at Plivo."""
    return f"{PATH}/{session_uuid}/{keyring.derived_token(f'plivo session {session_uuid}')}"


class About(NamedTuple):
    """What a callback is read by.

    Attributes:
        rates: the prices of a call between two numbers (E.164, empty when hidden) at a moment, by our rate card.
        now: when it came, UTC.
        digest: a keyed hash, of the session's key: events' ids rest in the clear, and stay when the session is erased.
            Without a key, whoever reads one could try all numbers.
    """

    session_uuid: str
    terms: Terms
    rates: Callable[[str, str, datetime], CallRates | None]
    now: datetime
    digest: Callable[[str], bytes]


def read_callback(fields: Fields, about: About) -> AnyCarrierEvent | None:
    """What a callback tells; None if it is nothing that we follow."""
    name = fields.get("EventName", "")
    at = min(moment(fields.get("EventTimestamp")) or about.now, about.now)
    event_id = _identity(fields, about)
    if name == "SessionTimeout":
        return SessionEnded(event_id=event_id, at=at, call=NO_CALL)
    call = _call(fields, about, at)
    match name:
        case "SessionFirstPartyAnswer":
            return Answer(event_id=event_id, at=at, call=call, leg=LegName.CALLER, leg_uuid="")
        case "SessionSecondPartyAnswer":
            return Answer(event_id=event_id, at=at, call=call, leg=LegName.CALLEE, leg_uuid="")
        case "SessionSecondPartyRing":
            return Ring(event_id=event_id, at=at, call=call)
        case "SessionFirstPartyHangup":
            return _hangup(fields, event_id, at, call, LegName.CALLER)
        case "SessionSecondPartyHangup":
            return _hangup(fields, event_id, at, call, LegName.CALLEE)
        case "SessionPinAuthenticationStatus":
            return _pin_status(fields, event_id, at, call)
        case "SessionRecordingInitiated":
            recording_id = fields.get("RecordingUUID", "")
            return RecordingInitiated(event_id=event_id, at=at, call=call, recording_id=recording_id)
        case "SessionRecordingCompleted":
            return _recording(fields, event_id, at, call)
        case "SessionRecordingFailed":
            return RecordingFailed(event_id=event_id, at=at, call=call, reason="the carrier could not record")
        case _:
            return None


def _identity(fields: Fields, about: About) -> str:
    """The same for the same callback, however often it comes; its number alone may begin anew with each call."""
    names = ("EventName", "EventTimestamp", "SequenceNumber", "From", "To", "RecordingUUID", "PinRetryCounter")
    told = "\n".join(fields.get(name, "") for name in names)
    return f"{about.session_uuid}:plivo:{about.digest(told).hex()[:32]}"


def _call(fields: Fields, about: About, at: datetime) -> Call:
    """The call, as far as a callback tells; a caller that is none of the parties came by a PIN, or is anyone."""
    parties = about.terms.parties
    caller_number, callee_number = e164(fields.get("From")), e164(fields.get("To"))
    by_caller = [side for side, number in parties.items() if number == caller_number]
    by_callee = [side.other for side, number in parties.items() if number == callee_number]
    caller = (by_caller or by_callee or [about.terms.open_side or Side.FIRST])[0]
    return Call(
        call_uuid="",
        caller=caller,
        from_number=caller_number,
        to_number=callee_number or parties.get(caller.other, ""),
        dialled=True,
        recorded=about.terms.record,
        rates=about.rates(caller_number, callee_number, at),
    )


def _hangup(fields: Fields, event_id: str, at: datetime, call: Call, leg: LegName) -> Hangup:
    if leg is LegName.CALLER and not e164(fields.get("To")):
        # Nobody was dialled for it: the first party did not take the call that the session began with.
        call = call.model_copy(update={"dialled": False, "to_number": ""})
    told = amount(fields.get("Amount"))
    billed = whole(fields.get("BilledDuration"))
    return Hangup(
        event_id=event_id,
        at=at,
        call=call,
        leg=leg,
        leg_uuid="",
        duration=whole(fields.get("Duration")),
        cause=fields.get("PlivoHangupCause") or "Unknown",
        cause_code=whole(fields.get("PlivoHangupCauseCode")),
        carrier_charge=(
            CarrierCharge(amount=told, billed_duration=billed, passed_on=True) if told is not None else None
        ),
    )


def _pin_status(fields: Fields, event_id: str, at: datetime, call: Call) -> PinStatus | None:
    status = PIN_ANSWERS.get(fields.get("PinAuthenticationStatus", "").lower())
    if status is None:
        return None
    if status == "failed" or not e164(fields.get("To")):
        # Nobody was connected by it, or the other party talks already. A call that is connected tells so itself.
        call = call.model_copy(update={"call_uuid": event_id, "dialled": False, "to_number": "", "rates": None})
    retries = whole(fields.get("PinRetryCounter"))
    return PinStatus(event_id=event_id, at=at, call=call, status=status, retry_counter=retries)


def _recording(fields: Fields, event_id: str, at: datetime, call: Call) -> RecordingCompleted:
    file_format: Literal["mp3", "wav"] = "wav" if text(fields, "RecordingFormat").lower().endswith("wav") else "mp3"
    return RecordingCompleted(
        event_id=event_id,
        at=at,
        call=call,
        recording_id=fields.get("RecordingUUID", ""),
        url=fields.get("RecordingURL", ""),
        duration=whole(fields.get("RecordingDuration")),
        started_at=moment(fields.get("RecordingStartTime")) or at,
        ended_at=moment(fields.get("RecordingEndTime")) or at,
        file_format=file_format,
    )
