"""Legs and recordings as Plivo's REST API shows them, and pages of them (plivo-wire.md §7.1 and §7.4).

Plivo documents the state ANSWER only, and numbers both with and without a plus sign: here
a leg that nobody answered is in NO_ANSWER, and numbers are digits, as in the webhooks.
What this network does not have (attestations, conferences, storage prices) is not shown.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from yarl import URL

from masking.carriers.simulator.records import COST_PER_MINUTE, CallRecord, Leg, Recording
from masking.carriers.simulator.requests import Refused

Resource: TypeAlias = dict[str, object]

PAGING = ("limit", "offset")
LONGEST_PAGE = 20


def call_resource(record: CallRecord, leg: Leg, auth_id: str) -> Resource:
    """A leg that has ended: the call detail record."""
    dialled = leg is not record.caller
    ends = ((leg.screen or "").removeprefix("+") or "anonymous", leg.number.removeprefix("+"))
    from_number, to_number = ends if dialled else (record.from_number, record.to_number)
    return {
        "answer_time": _written(leg.answered_at),
        "bill_duration": leg.duration,
        "billed_duration": leg.bill_duration,
        "call_direction": "outbound" if dialled else record.direction,
        "call_duration": leg.duration,
        "call_state": "NO_ANSWER" if leg.answered_at is None else "ANSWER",
        "call_uuid": leg.leg_uuid,
        "end_time": _written(leg.ended_at),
        "from_number": from_number,
        "hangup_cause_code": leg.cause.code,
        "hangup_cause_name": leg.cause.name,
        "hangup_source": leg.source,
        "initiation_time": _written(leg.began_at),
        "parent_call_uuid": record.call_uuid if dialled else None,
        "resource_uri": f"/v1/Account/{auth_id}/Call/{leg.leg_uuid}/",
        "to_number": to_number,
        "total_amount": _priced(leg.cost),
        "total_rate": _priced(COST_PER_MINUTE),
    }


def recording_resource(record: CallRecord, recording: Recording, auth_id: str) -> Resource:
    """A recording that is ready."""
    return {
        "add_time": recording.added_at.isoformat(sep=" ", timespec="microseconds"),
        "call_uuid": record.call_uuid,
        "conference_name": None,
        "from_number": record.from_number,
        "recording_duration_ms": f"{recording.seconds * 1000}.00000",
        "recording_end_ms": _milliseconds(recording.ended_at),
        "recording_format": recording.file_format,
        "recording_id": recording.recording_id,
        "recording_start_ms": _milliseconds(recording.started_at),
        "recording_type": "normal",
        "recording_url": recording.url,
        "resource_uri": f"/v1/Account/{auth_id}/Recording/{recording.recording_id}/",
        "rounded_recording_duration": -(-recording.seconds // 60) * 60,
        "to_number": record.to_number,
    }


def page(asked: URL, found: list[Resource]) -> Resource:
    """The page of `found` that a request's path and query ask for.

    Raises:
        Refused: 400, there is no such page.
    """
    limit = _whole(asked, "limit", LONGEST_PAGE, lowest=1, highest=LONGEST_PAGE)
    offset = _whole(asked, "offset", 0, lowest=0)

    def at(other: int) -> str:
        return str(asked.update_query(limit=limit, offset=other))

    meta = {
        "limit": limit,
        "next": at(offset + limit) if offset + limit < len(found) else None,
        "offset": offset,
        "previous": at(max(0, offset - limit)) if offset else None,
        "total_count": len(found),
    }
    return {"meta": meta, "objects": found[offset : offset + limit]}


def _whole(asked: URL, name: str, otherwise: int, *, lowest: int, highest: int | None = None) -> int:
    text = asked.query.get(name, str(otherwise))
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
    if number < lowest or (highest is not None and number > highest):
        upwards = "or more" if highest is None else f"to {highest}"
        raise Refused(400, f"{name} must be a whole number, {lowest} {upwards}")
    return number


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(sep=" ", timespec="seconds")


def _milliseconds(moment: datetime) -> str:
    return f"{int(moment.timestamp() * 1000)}.00000"


def _priced(amount: Decimal) -> str:
    return f"{amount:.5f}"
