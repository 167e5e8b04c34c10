"""Whatever a session is told, in whatever order: it never raises, and what it must never do does not happen."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from masking.domain.bill.charges import bill
from masking.domain.callbacks import Callback
from masking.domain.deadlines import calls_deadline, overdue_calls, own_deadline, waiting_for
from masking.domain.events import AnyCarrierEvent, CarrierEvents, LegName, Side
from masking.domain.hearing import heard
from masking.domain.lifecycle import Rejected, changed, elapsed, expired, given_up, settled
from masking.domain.session import Phase, Session
from masking.domain.snapshot import snapshot
from masking.domain.story import story
from masking.domain.terms import Change
from masking.domain.timeline import timeline
from tests.domain.conversation import FIRST, SECOND, active_session, at, request

CALLS: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    call_uuid=st.sampled_from(["a", "b", ""]),
    caller=st.sampled_from(Side),
    from_number=st.sampled_from([FIRST, ""]),
    to_number=st.sampled_from([SECOND, ""]),
    dialled=st.booleans(),
    recorded=st.booleans(),
)
TIMES = st.one_of(
    st.integers(-5, 100_000).map(lambda s: at(s).isoformat()),
    st.datetimes().map(datetime.isoformat),
    st.sampled_from(["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-11-23T14:00:00+14:00"]),
)
LEGS, SECONDS, TEXTS = st.sampled_from(LegName), st.integers(0, 10**6), st.text(max_size=5)


def _events(kind: str, **details: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"kind": st.just(kind), "event_id": st.sampled_from([f"{kind}-{n}" for n in range(4)]), "at": TIMES,
         "call": CALLS, **details},
    )  # fmt: skip


TOLD = st.one_of(
    _events("placed"),
    _events("declined", decision=TEXTS),
    _events("answer", leg=LEGS, leg_uuid=TEXTS),
    _events("ring", leg_uuid=TEXTS),
    _events(
        "hangup", leg=LEGS, leg_uuid=TEXTS, duration=SECONDS, cause=TEXTS, cause_code=SECONDS,
        ended_at=st.one_of(st.none(), TIMES), never_dialled=st.booleans(),
    ),
    _events("pin_status", status=st.sampled_from(["success", "failed", "AuthorizedCaller"]), retry_counter=SECONDS),
    _events("recording_initiated", recording_id=TEXTS),
    _events(
        "recording_completed", recording_id=TEXTS, url=TEXTS, duration=SECONDS, started_at=TIMES, ended_at=TIMES,
        file_format=st.sampled_from(["mp3", "wav"]),
    ),
    _events("recording_failed", reason=TEXTS),
    _events("session_ended"),
)  # fmt: skip
STEPS = st.one_of(
    TOLD,
    TOLD,
    TOLD,
    st.sampled_from(["expire", "elapse", "give up", "settle"]),
    st.builds(Change, session_expiry=st.sampled_from([None, 60, 86_400])),
)
WIRE = TypeAdapter(CarrierEvents)


def read(told: dict[str, Any]) -> AnyCarrierEvent:
    """As it comes over the wire."""
    (event,) = WIRE.validate_json(json.dumps({"events": [told]})).events
    return event


def taken(session: Session, step: object, now: datetime) -> tuple[Session, tuple[Callback, ...]]:
    """A session after a step; what is rejected changes nothing."""
    try:
        match step:
            case dict():
                return heard(session, read(step))
            case Change():
                return changed(session, step, now)
            case "expire":
                return expired(session, now)
            case "elapse":
                return elapsed(session, now)
            case "give up":
                return given_up(session, now)
            case _:
                return settled(session, now)
    except Rejected:
        return session, ()


@settings(max_examples=50)
@given(
    st.sampled_from(["finish", "extend"]),
    st.lists(st.tuples(STEPS, st.integers(0, 20_000)), max_size=30),
)
def test_no_course_of_things_raises_or_breaks_what_always_holds(policy: str, course: list[tuple[object, int]]) -> None:
    session, now, sequences = active_session(request().model_copy(update={"at_expiry": policy})), at(0), [0, 0]
    for step, later in course:
        now += timedelta(seconds=later)
        before = session
        session, callbacks = taken(session, step, now)

        # Its parts follow one another, whatever was told.
        assert list(Phase).index(session.phase) >= list(Phase).index(before.phase)
        assert (session is before) == (session.version == before.version)
        if session is before:
            assert callbacks == ()
        for each in callbacks:
            kind = ("session", "recording").index(each.kind)
            sequences[kind] += 1
            assert each.sequence == sequences[kind]
        if isinstance(step, dict):
            # The same again is nothing new.
            assert heard(session, read(step)).session is session
        if before.phase is Phase.SETTLED:
            assert session is before
        elif session.phase is Phase.SETTLED:
            assert waiting_for(before) == ()
        assert bill(session).calls.amount >= 0
        if before.phase is not Phase.ACTIVE:
            assert session.expires_at == before.expires_at
        snapshot(session), story(session), timeline(session, (), (), str)
        calls_deadline(session), own_deadline(session), overdue_calls(session, now)

    # Whatever is still open, time alone brings it to its end.
    for _ in range(10):
        ends = [due.at for due in (own_deadline(session), calls_deadline(session)) if due is not None]
        now = max([now, *ends]) + timedelta(seconds=1)
        session = settled(given_up(elapsed(session, now).session, now).session, now).session
    assert session.phase is Phase.SETTLED
