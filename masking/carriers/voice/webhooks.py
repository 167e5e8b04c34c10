"""What Plivo Voice posts, in our words, and what it takes for an answer (plivo-wire.md §7.2 and §7.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from masking.carriers.call_details import carrier_charge, whole
from masking.carriers.protocol import CallUrls, Form, InboundCall
from masking.carriers.signature import is_signed_by
from masking.carriers.voice import answer_xml
from masking.domain.events import Answer, AnyCarrierEvent, Call, Hangup, LegName, RecordingCompleted, RecordingInitiated
from masking.domain.routing import Decision


class PlivoWebhooks:
    """Plivo Voice's webhooks and XML; see `Webhooks`.

    Args:
        auth_tokens: those with which they may be signed.
    """

    content_type = "application/xml"

    def __init__(self, auth_tokens: Sequence[str]) -> None:
        self._auth_tokens = tuple(auth_tokens)

    def are_signed(self, method: str, url: str, form: Form, headers: Mapping[str, str]) -> bool:
        """By V3 signatures, whichever of its two."""
        return is_signed_by(method, url, form, headers, self._auth_tokens)

    def inbound_call(self, form: Form) -> InboundCall:
        """What an answer URL is told."""
        return inbound_call(form)

    def entered_digits(self, form: Form) -> str:
        """What GetDigits tells its action."""
        return entered_digits(form)

    def dial_event(self, form: Form, call: Call, at: datetime) -> AnyCarrierEvent | None:
        """What Dial tells its callback."""
        return dial_event(form, call, at)

    def caller_hangup(self, form: Form, call: Call, began_at: datetime, at: datetime) -> Hangup:
        """What a hangup URL is told."""
        return caller_hangup(form, call, began_at, at)

    def recording_completed(self, form: Form, call: Call, at: datetime) -> RecordingCompleted:
        """What Record tells its callback."""
        return recording_completed(form, call, at)

    def answer(self, decision: Decision, urls: CallUrls) -> str:
        """Its XML."""
        return answer_xml.answer_xml(decision, urls)

    def greeting(self, play_url: str) -> str:
        """What confirmSound leads to."""
        return answer_xml.greeting_xml(play_url)

    def farewell(self, words: str) -> str:
        """Its XML."""
        return answer_xml.farewell_xml(words)

    def hang_up(self) -> str:
        """Its XML."""
        return answer_xml.hangup_xml()


def inbound_call(form: Form) -> InboundCall:
    """The call that an answer webhook announces; numbers in E.164."""
    return InboundCall(form.get("CallUUID", ""), _e164(form.get("From", "")), _e164(form.get("To", "")))


def entered_digits(form: Form) -> str:
    """What the caller pressed, without the key that ends it; empty when nothing came in time."""
    digits = form.get("Digits", "")
    return digits if digits.isascii() and digits.isdecimal() else ""


def dial_event(form: Form, call: Call, at: datetime) -> AnyCarrierEvent | None:
    """What a Dial's callback tells of the callee's leg; None if it is nothing we follow."""
    leg_uuid = form.get("DialBLegUUID", "")
    match form.get("DialAction"):
        case "answer":
            return Answer(
                event_id=f"{call.call_uuid}:callee:answer", at=at, call=call, leg=LegName.CALLEE, leg_uuid=leg_uuid
            )
        case "connected" if call.recorded:
            return RecordingInitiated(event_id=f"{call.call_uuid}:recording:initiated", at=at, call=call)
        case "hangup":
            return Hangup(
                event_id=f"{call.call_uuid}:callee:hangup",
                at=at,
                call=call,
                leg=LegName.CALLEE,
                leg_uuid=leg_uuid,
                duration=whole(form.get("DialBLegDuration")),
                cause=form.get("DialBLegHangupCauseName", "Unknown"),
                cause_code=whole(form.get("DialBLegHangupCauseCode")),
                source=form.get("DialBLegHangupSource", ""),
                carrier_charge=carrier_charge(form.get("DialBLegTotalCost"), form.get("DialBLegBillDuration")),
            )
        case _:
            return None


def caller_hangup(form: Form, call: Call, began_at: datetime, at: datetime) -> Hangup:
    """The end of the caller's leg. A call that was never answered lasts 0 seconds, whatever it says.

    Args:
        began_at: when the call reached us. The carrier's time of its end has to lie between that
            and `at`, else its clock is not ours.
    """
    ended_at = _written_moment(form.get("EndTime", ""))
    answered = bool(form.get("AnswerTime"))
    return Hangup(
        event_id=f"{call.call_uuid}:caller:hangup",
        at=at,
        call=call,
        leg=LegName.CALLER,
        leg_uuid=call.call_uuid,
        duration=whole(form.get("Duration")) if answered else 0,
        cause=form.get("HangupCauseName") or form.get("HangupCause", "Unknown"),
        cause_code=whole(form.get("HangupCauseCode")),
        source=form.get("HangupSource", ""),
        ended_at=ended_at if ended_at is not None and began_at <= ended_at <= at else None,
        carrier_charge=carrier_charge(form.get("TotalCost"), form.get("BillDuration")),
    )


def recording_completed(form: Form, call: Call, at: datetime) -> RecordingCompleted:
    """The recording of a conversation, ready to be fetched."""
    url = form.get("RecordUrl", "")
    file_format: Literal["mp3", "wav"] = "wav" if url.endswith(".wav") else "mp3"
    return RecordingCompleted(
        event_id=f"{call.call_uuid}:recording:completed",
        at=at,
        call=call,
        recording_id=form.get("RecordingID", ""),
        url=url,
        duration=max(0, whole(form.get("RecordingDuration"))),
        started_at=_moment(form.get("RecordingStartMs"), at),
        ended_at=_moment(form.get("RecordingEndMs"), at),
        file_format=file_format,
    )


def _e164(number: str) -> str:
    digits = number.removeprefix("+")
    return f"+{digits}" if digits.isascii() and digits.isdecimal() else ""


def _written_moment(text: str) -> datetime | None:
    """A moment as `2026-11-23 14:00:00`, with or without fractions and offset; UTC where it says no other."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _moment(milliseconds: str | None, otherwise: datetime) -> datetime:
    try:
        return datetime.fromtimestamp(float(milliseconds or "") / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return otherwise
