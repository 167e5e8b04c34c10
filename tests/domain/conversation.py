"""Calls told as the events a carrier would send, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from masking.domain.bill.money import Rate
from masking.domain.callbacks import Callback
from masking.domain.decisions import never_dialled
from masking.domain.events import (
    Answer,
    AnyCarrierEvent,
    Call,
    Declined,
    Hangup,
    LegName,
    PinStatus,
    RecordingCompleted,
    RecordingInitiated,
    Ring,
    Side,
)
from masking.domain.lifecycle import Step, opened, requested, took
from masking.domain.routing import Reason
from masking.domain.session import Session
from masking.domain.terms import SessionRequest, Terms

START = datetime(2026, 11, 23, 14, 0, 0, tzinfo=UTC)
FIRST, SECOND, VIRTUAL, STRANGER = "+12025550101", "+12025550102", "+12025550199", "+12025550177"
SESSION_UUID = "4189591e-d004-4801-abdf-8893c15e5dcd"
ACCOUNT = "MATESTACCOUNT0000000"


def at(seconds: float) -> datetime:
    """A moment of the test's session, in seconds from its creation."""
    return START + timedelta(seconds=seconds)


def request(*, record: bool = True, callbacks: bool = True, session_expiry: int = 3600) -> SessionRequest:
    """A session asked for."""
    url = "https://customer.example/events" if callbacks else ""
    recording_url = "https://customer.example/recordings" if callbacks else ""
    return SessionRequest(
        session_uuid=SESSION_UUID,
        account_id=ACCOUNT,
        terms=Terms(
            first_party=FIRST,
            second_party=SECOND,
            call_time_limit=3600,
            ring_timeout=120,
            record=record,
            callback_url=url,
            recording_callback_url=recording_url,
        ),
        session_expiry=session_expiry,
        rate=Rate(per_minute=Decimal("0.0085")),
        resource_base_url="https://masking.example/v1/Account/MATESTACCOUNT0000000",
    )


def active_session(asked: SessionRequest | None = None) -> Session:
    """A session that has its number."""
    return opened(requested(asked or request(), START), VIRTUAL).session


def call(call_uuid: str = "call-1", caller: Side = Side.SECOND, *, recorded: bool = True) -> Call:
    """A call that the caller made to the virtual number and that we forwarded."""
    numbers = {Side.FIRST: FIRST, Side.SECOND: SECOND}
    return Call(
        call_uuid=call_uuid,
        caller=caller,
        from_number=numbers[caller],
        to_number=numbers[caller.other],
        dialled=True,
        recorded=recorded,
    )


def hangup(
    of: Call, leg: LegName, when: float, duration: int, cause: str = "Normal Hangup", code: int = 4000
) -> Hangup:
    """The end of a leg."""
    return Hangup(
        event_id=f"{of.call_uuid}:{leg}:hangup",
        at=at(when),
        call=of,
        leg=leg,
        leg_uuid=f"{of.call_uuid}-{leg}",
        duration=duration,
        cause=cause,
        cause_code=code,
    )


def answered_call(of: Call, begins: float = 10, talks: int = 75) -> list[AnyCarrierEvent]:
    """Every event of a call that was answered after 5 s, recorded if it was to be, and ended by the caller."""
    uuid, ends = of.call_uuid, begins + 5 + talks
    events: list[AnyCarrierEvent] = [
        Answer(event_id=f"{uuid}:caller:answer", at=at(begins), call=of, leg=LegName.CALLER, leg_uuid=f"{uuid}-caller"),
        Ring(event_id=f"{uuid}:callee:ring", at=at(begins), call=of),
        Answer(
            event_id=f"{uuid}:callee:answer", at=at(begins + 5), call=of, leg=LegName.CALLEE, leg_uuid=f"{uuid}-callee"
        ),
        hangup(of, LegName.CALLEE, ends, talks),
        hangup(of, LegName.CALLER, ends, talks + 5),
    ]
    if of.recorded:
        events += [
            RecordingInitiated(event_id=f"{uuid}:recording:initiated", at=at(begins + 5), call=of),
            RecordingCompleted(
                event_id=f"{uuid}:recording:completed",
                at=at(ends + 2),
                call=of,
                recording_id=f"{uuid}-recording",
                url=f"https://carrier.example/{uuid}.mp3",
                duration=talks,
                started_at=at(begins + 5),
                ended_at=at(ends),
                file_format="mp3",
            ),
        ]
    return events


def unanswered_call(of: Call, begins: float = 10) -> list[AnyCarrierEvent]:
    """Every event of a call that nobody picked up."""
    uuid = of.call_uuid
    return [
        Answer(event_id=f"{uuid}:caller:answer", at=at(begins), call=of, leg=LegName.CALLER, leg_uuid=f"{uuid}-caller"),
        Ring(event_id=f"{uuid}:callee:ring", at=at(begins), call=of),
        hangup(of, LegName.CALLEE, begins + 120, 0, "Ring Timeout Reached", 6010),
        hangup(of, LegName.CALLER, begins + 120, 120),
    ]


def unheard_call(of: Call, begins: float = 10) -> list[AnyCarrierEvent]:
    """Every event of a call whose caller left after 2 s of audio, before anybody was dialled."""
    uuid = of.call_uuid
    left = hangup(of, LegName.CALLER, begins + 2, 2, "Canceled", 1000)
    return [
        Answer(event_id=f"{uuid}:caller:answer", at=at(begins), call=of, leg=LegName.CALLER, leg_uuid=f"{uuid}-caller"),
        never_dialled(left, f"{uuid}:callee:hangup"),
        left,
    ]


def wrong_pin_of(call_uuid: str, tries: int = 1, when: float = 5) -> PinStatus:
    """A stranger entered a wrong PIN."""
    of = Call(call_uuid=call_uuid, caller=Side.FIRST, from_number=STRANGER, to_number="", dialled=False)
    return PinStatus(event_id=f"{call_uuid}:pin:{tries}", at=at(when), call=of, status="failed", retry_counter=tries)


def declined_call(call_uuid: str, reason: Reason = Reason.CONVERSATION_IN_PROGRESS, when: float = 6) -> Declined:
    """A call about the session that was not connected."""
    of = Call(call_uuid=call_uuid, caller=Side.SECOND, from_number=SECOND, to_number="", dialled=False, reason=reason)
    return Declined(event_id=f"{call_uuid}:declined", at=at(when), call=of, decision="Busy")


def moved_to(events: list[AnyCarrierEvent], begins: datetime) -> list[AnyCarrierEvent]:
    """The same events, the earliest of them at `begins`."""
    delay = begins - min(event.at for event in events)
    return [event.model_copy(update={"at": event.at + delay}) for event in events]


def hear(session: Session, events: Sequence[AnyCarrierEvent]) -> Step:
    """The session after these events, with every callback on the way."""
    callbacks: list[Callback] = []
    for event in events:
        session, more = took(session, event)
        callbacks += more
    return Step(session, tuple(callbacks))
