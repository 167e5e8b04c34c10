"""What the customer is told, and when (masking-session-api.txt, "Session Callbacks").

In event names "first party" is the leg that began the interaction and "second party" the
leg that we dialled: the documented set has no ring event for the first party, which only
that reading explains (plivo-wire.md §5.11). `From` and `To` tell who they are.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, assert_never

from masking.domain.bill.charges import Charge, interaction_charge, leg_charge
from masking.domain.events import (
    Answer,
    AnyCarrierEvent,
    Call,
    Declined,
    Hangup,
    LegName,
    PinStatus,
    Placed,
    RecordingCompleted,
    RecordingFailed,
    RecordingInitiated,
    Ring,
    SessionEnded,
)
from masking.domain.interaction import Interaction
from masking.domain.model import Model
from masking.domain.session import Session
from masking.domain.terms import Method
from masking.domain.wire_format import plivo_number, plivo_time

Kind = Literal["session", "recording"]
Params = dict[str, str]


class Notice(Model):
    """A callback before it has its address and sequence number."""

    kind: Kind
    name: str
    at: datetime
    params: Params


class Callback(Model):
    """One callback to the customer.

    Attributes:
        callback_id: its identity, the customer's key for duplicates.
        kind: which of the two URLs it goes to, and which sequence it counts in.
        sequence: counts from 1 without gaps per session and kind.
        params: all its attributes, as they are sent.
    """

    callback_id: str
    kind: Kind
    sequence: int
    name: str
    at: datetime
    url: str
    method: Method
    params: Params


class AnswerStart(Model):
    """How a customer's endpoint answered a callback: the first bytes, as text; what is no UTF-8 is escaped."""

    text: str


def notices_of(session: Session, interaction: Interaction, event: AnyCarrierEvent) -> tuple[Notice, ...]:
    """What the customer hears because `event` was new; `interaction` already holds it."""
    never_rang = isinstance(event, Hangup) and event.never_dialled and interaction.callee.rang_at is None
    told = () if never_rang else notices_about(session, event)
    ended_now = isinstance(event, Hangup) and not interaction.live
    return (*told, _parties_hung_up(session, interaction)) if ended_now else told


def notices_about(session: Session, event: AnyCarrierEvent) -> tuple[Notice, ...]:
    """What the event itself tells the customer; some tell nothing."""
    return () if isinstance(event, Placed | Declined | SessionEnded) else (_notice(session, event),)


def timeout_notice(at: datetime) -> Notice:
    """The session expired, by its time or by request."""
    return Notice(kind="session", name="SessionTimeout", at=at, params={})


def addressed(session: Session, notice: Notice) -> tuple[Session, Callback | None]:
    """Give a notice its number and address; None when the customer named no URL for its kind."""
    terms = session.terms
    if notice.kind == "session":
        url, method, sequence = terms.callback_url, terms.callback_method, session.session_sequence + 1
    else:
        url, method = terms.recording_callback_url, terms.recording_callback_method
        sequence = session.recording_sequence + 1
    if not url:
        return session, None
    params = {
        "EventName": notice.name,
        "EventTimestamp": plivo_time(notice.at),
        "SessionUUID": session.session_uuid,
        "VirtualNumber": plivo_number(session.virtual_number),
        **notice.params,
        "SequenceNumber": str(sequence),
    }
    callback = Callback(
        callback_id=f"{session.session_uuid}:{notice.kind}:{sequence}",
        kind=notice.kind,
        sequence=sequence,
        name=notice.name,
        at=notice.at,
        url=url,
        method=method,
        params=params,
    )
    return session.model_copy(update={f"{notice.kind}_sequence": sequence}), callback


def media_url(session: Session, recording: RecordingCompleted) -> str:
    """Where the account's owner gets the audio."""
    return f"{session.resource_base_url}/Recording/{recording.recording_id}.{recording.file_format}"


def _notice(session: Session, event: AnyCarrierEvent) -> Notice:
    parties = _parties(event.call)
    kind: Kind = "session"
    match event:
        case Answer():
            name = "SessionFirstPartyAnswer" if event.leg is LegName.CALLER else "SessionSecondPartyAnswer"
            about: Params = {}
        case Ring():
            name, about = "SessionSecondPartyRing", {}
        case Hangup():
            name = "SessionFirstPartyHangup" if event.leg is LegName.CALLER else "SessionSecondPartyHangup"
            about = _charged(leg_charge(session, event)) | _cause(event)
        case PinStatus():
            name = "SessionPinAuthenticationStatus"
            about = {"PinAuthenticationStatus": event.status, "PinRetryCounter": str(event.retry_counter)}
        case RecordingInitiated():
            kind, name = "recording", "SessionRecordingInitiated"
            about = _recording_id(session, event.recording_id) | {"RecordingStartTime": plivo_time(event.at)}
        case RecordingCompleted():
            kind, name = "recording", "SessionRecordingCompleted"
            about = _recording_id(session, event.recording_id) | {
                "RecordingURL": media_url(session, event),
                "RecordingDuration": str(event.duration),
                "RecordingStartTime": plivo_time(event.started_at),
                "RecordingEndTime": plivo_time(event.ended_at),
                "RecordingFormat": f".{event.file_format}" if session.revision > 3 else event.file_format,
            }
        case RecordingFailed():
            kind, name, about = "recording", "SessionRecordingFailed", {}
        case Placed() | Declined() | SessionEnded():
            raise ValueError("nobody is told of this")
        case _:
            assert_never(event)
    at = event.happened_at if isinstance(event, Hangup) else event.at
    return Notice(kind=kind, name=name, at=at, params=parties | about)


def _parties_hung_up(session: Session, interaction: Interaction) -> Notice:
    """The call is done: both legs' charge, and the cause that ended the caller's."""
    call = interaction.call
    params = _parties(call) | _charged(interaction_charge(session, interaction))
    if interaction.caller.hangup is not None:
        params |= _cause(interaction.caller.hangup)
    at = max(leg.hangup.happened_at for _, leg in interaction.legs if leg.hangup is not None)
    return Notice(kind="session", name="SessionPartiesHangup", at=at, params=params)


def _parties(call: Call) -> Params:
    """The real numbers, where they are known."""
    ends = {"From": call.from_number, "To": call.to_number}
    return {name: plivo_number(number) for name, number in ends.items() if number}


def _charged(charge: Charge) -> Params:
    return {
        "Amount": format(charge.amount, "f"),
        "BilledDuration": str(charge.billed_duration),
        "Duration": str(charge.duration),
    }


def _cause(hangup: Hangup) -> Params:
    return {"PlivoHangupCause": hangup.cause, "PlivoHangupCauseCode": str(hangup.cause_code)}


def _recording_id(session: Session, recording_id: str) -> Params:
    if not recording_id:
        return {}
    return {
        "RecordingUUID": recording_id,
        "RecordingResourceURL": f"{session.resource_base_url}/Recording/{recording_id}/",
    }
