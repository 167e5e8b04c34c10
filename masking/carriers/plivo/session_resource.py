"""Plivo's session resource, in our words (masking-session-api.txt, "The Session Object"; plivo-wire.md §5)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from masking.carriers.plivo.wire import amount, e164, last_part, moment, text, whole
from masking.domain.bill.money import ZERO
from masking.domain.counterpart.told import ToldInteraction, ToldRecording, ToldSession

Fields = Mapping[str, object]


ALMOST_A_SECOND = timedelta(microseconds=999_999)


class NotUnderstood(ValueError):
    """An answer that is no session."""


def read_json(content: bytes) -> dict[str, object]:
    """An answer's JSON object, amounts exactly as they are written.

    Raises:
        NotUnderstood: it is none.
    """
    try:
        answer: Any = json.loads(content, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise NotUnderstood from None
    if not isinstance(answer, dict):
        raise NotUnderstood
    return answer


def part(fields: Fields, name: str) -> dict[str, object]:
    """An object within an object. Raises `NotUnderstood` where there is none."""
    found = fields.get(name)
    if not isinstance(found, dict):
        raise NotUnderstood
    return found


def read_session(fields: Fields) -> ToldSession:
    """A session. Raises `NotUnderstood` where it lacks what a session cannot do without."""
    session_uuid, number = text(fields, "session_uuid"), e164(fields.get("virtual_number"))
    created, expires = moment(fields.get("created_time")), moment(fields.get("expiry_time"))
    if not session_uuid or not number or created is None or expires is None:
        raise NotUnderstood
    created, expires = _whole_seconds_apart(created, expires, fields.get("duration"))
    told = fields.get("interaction")
    found = [_interaction(each) for each in told if isinstance(each, dict)] if isinstance(told, list) else []
    return ToldSession(
        session_uuid=session_uuid,
        virtual_number=number,
        expired=text(fields, "status") == "expired",
        created_at=created,
        modified_at=moment(fields.get("modified_time")) or created,
        expires_at=expires,
        first_party_pin=text(fields, "first_party_pin"),
        second_party_pin=text(fields, "second_party_pin"),
        interactions=tuple(each for each in found if each is not None),
    )


def _whole_seconds_apart(created: datetime, expires: datetime, duration: object) -> tuple[datetime, datetime]:
    """The two with fractions of a second, which Plivo cuts off, by which they are `duration` apart as it says.

    Each is shown as before. A duration that is none of theirs leaves them alone.
    """
    lacking = int((expires - created).total_seconds()) - whole(duration)
    if lacking not in (0, 1):
        return created, expires
    return created + ALMOST_A_SECOND, expires if lacking else expires + ALMOST_A_SECOND


def _interaction(fields: Fields) -> ToldInteraction | None:
    """A conversation; None for one without a beginning."""
    started_at = moment(fields.get("start_time"))
    if started_at is None:
        return None
    ended_at = moment(fields.get("end_time"))
    recording_id = last_part(fields.get("recording_resource_url"))
    return ToldInteraction(
        started_at=started_at,
        ended_at=max(started_at, ended_at) if ended_at is not None else None,
        first_leg_uuid=last_part(fields.get("first_party_resource_url")),
        second_leg_uuid=last_part(fields.get("second_party_resource_url")),
        call_count=whole(fields.get("total_call_count")),
        duration=whole(fields.get("duration")),
        billed_duration=whole(fields.get("call_billed_duration")),
        amount=amount(fields.get("total_call_amount")) or ZERO,
        recording=ToldRecording(recording_id=recording_id) if recording_id else None,
    )
