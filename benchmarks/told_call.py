"""The session that benchmarks of cost play: one answered, recorded call between its parties, by its webhooks."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

from benchmarks.system import ACCOUNT
from masking.domain.bill.money import Rate
from masking.domain.events import (
    Answer,
    AnyCarrierEvent,
    Call,
    Hangup,
    LegName,
    PinStatus,
    RecordingCompleted,
    RecordingInitiated,
    Ring,
    Side,
)
from masking.domain.terms import PinTerms, SessionRequest, Terms

CALLBACKS = 10
"""What the customer of such a session is told: every event there is, but for SessionRecordingFailed."""


def request(
    n: int, callback_url: str, *, session_expiry: int = 3600, recording_wait: int = 300, pins: bool = True
) -> SessionRequest:
    """The `n`-th session: parties and PINs of its own, and both addresses for callbacks."""
    pin = PinTerms(first_party=f"{2 * n:09}", second_party=f"{2 * n + 1:09}", prompt_play="https://x.example/pin.mp3")
    return SessionRequest(
        session_uuid=str(uuid4()),
        account_id=ACCOUNT,
        terms=Terms(
            first_party=f"+1202{2_000_000 + 2 * n}",
            second_party=f"+1202{2_000_001 + 2 * n}",
            call_time_limit=3600,
            ring_timeout=120,
            record=True,
            callback_url=callback_url,
            recording_callback_url=callback_url,
            pin=pin if pins else None,
        ),
        session_expiry=session_expiry,
        recording_wait=recording_wait,
        rate=Rate(per_minute=Decimal("0.0085")),
        resource_base_url=f"https://masking.example/v1/Account/{ACCOUNT}",
    )


def webhooks(asked: SessionRequest) -> list[list[AnyCarrierEvent]]:
    """What the session hears of its call, by the carrier's webhook that tells it: the second party calls the first."""
    uuid, now = str(uuid4()), datetime.now(UTC)
    terms = asked.terms
    of = Call(
        call_uuid=uuid,
        caller=Side.SECOND,
        from_number=terms.second_party,
        to_number=terms.first_party,
        dialled=True,
        recorded=terms.record,
    )
    callee_uuid = str(uuid4())
    return [
        [
            PinStatus(event_id=f"{uuid}:pin", at=now, call=of, status="AuthorizedCaller"),
            Answer(event_id=f"{uuid}:caller:answer", at=now, call=of, leg=LegName.CALLER, leg_uuid=uuid),
            Ring(event_id=f"{uuid}:callee:ring", at=now, call=of),
        ],
        [Answer(event_id=f"{uuid}:callee:answer", at=now, call=of, leg=LegName.CALLEE, leg_uuid=callee_uuid)],
        [RecordingInitiated(event_id=f"{uuid}:recording:initiated", at=now, call=of)],
        [_hangup(of, LegName.CALLEE, callee_uuid, now, 75)],
        [_hangup(of, LegName.CALLER, uuid, now, 80)],
        [
            RecordingCompleted(
                event_id=f"{uuid}:recording:completed",
                at=now,
                call=of,
                recording_id=str(uuid4()),
                url=f"https://carrier.example/{uuid}.mp3",
                duration=75,
                started_at=now,
                ended_at=now,
                file_format="mp3",
            )
        ],
    ]


def _hangup(of: Call, leg: LegName, leg_uuid: str, now: datetime, duration: int) -> Hangup:
    return Hangup(
        event_id=f"{of.call_uuid}:{leg}:hangup",
        at=now,
        call=of,
        leg=leg,
        leg_uuid=leg_uuid,
        duration=duration,
        cause="Normal Hangup",
        cause_code=4000,
        source="Callee",
    )
