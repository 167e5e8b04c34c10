"""What a Voice carrier posts, in our words (plivo-wire.md §7.2 and §7.3).

Every reading is tolerant: a field that is missing or malformed must not lose the event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from masking.domain.events import Answer, AnyCarrierEvent, Call, Hangup, LegName, RecordingCompleted, RecordingInitiated
from masking.domain.money import CarrierCharge

PATH = "/carrier/voice"
"""Where the gateway takes a Voice carrier's webhooks."""

Form = Mapping[str, str]

_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?")


class InboundCall(NamedTuple):
    """A call that reached a number. `caller` is empty when the caller hides its number."""

    call_uuid: str
    caller: str
    called: str


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
                duration=_whole(form.get("DialBLegDuration")),
                cause=form.get("DialBLegHangupCauseName", "Unknown"),
                cause_code=_whole(form.get("DialBLegHangupCauseCode")),
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
        duration=_whole(form.get("Duration")) if answered else 0,
        cause=form.get("HangupCauseName") or form.get("HangupCause", "Unknown"),
        cause_code=_whole(form.get("HangupCauseCode")),
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
        duration=max(0, _whole(form.get("RecordingDuration"))),
        started_at=_moment(form.get("RecordingStartMs"), at),
        ended_at=_moment(form.get("RecordingEndMs"), at),
        file_format=file_format,
    )


def carrier_charge(amount: str | None, billed_duration: str | None) -> CarrierCharge | None:
    """What a leg costs us, as the carrier says it; None where it says nothing that is an amount."""
    if amount is None or not _AMOUNT.fullmatch(amount):
        return None
    return CarrierCharge(amount=Decimal(amount), billed_duration=max(0, _whole(billed_duration)))


def _e164(number: str) -> str:
    digits = number.removeprefix("+")
    return f"+{digits}" if digits.isascii() and digits.isdecimal() else ""


def _whole(text: str | None) -> int:
    try:
        return int(float(text or 0))
    except (ValueError, OverflowError):
        return 0


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
