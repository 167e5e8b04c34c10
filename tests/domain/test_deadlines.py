"""What time alone does to a session, and what a session waits for."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import pytest

from masking.domain.bill.charges import bill
from masking.domain.deadlines import (
    Deadline,
    calls_deadline,
    live_calls,
    overdue_calls,
    own_deadline,
    soonest,
    waiting_for,
)
from masking.domain.events import LegName
from masking.domain.lifecycle import changed, elapsed, given_up, settled
from masking.domain.session import Phase, Session
from masking.domain.terms import Change
from tests.domain.conversation import active_session, answered_call, at, call, hangup, hear, request


def next_deadline(session: Session, besides: Collection[str] = ()) -> Deadline | None:
    return soonest(own_deadline(session), calls_deadline(session, besides))


def deadline(session: Session) -> datetime:
    due = next_deadline(session)
    assert due is not None
    return due.at


def extending(expiry: int = 600) -> Session:
    return active_session(request(session_expiry=expiry).model_copy(update={"at_expiry": "extend"}))


def test_a_recording_that_never_comes_is_given_up_and_the_customer_told() -> None:
    session = hear(active_session(), [e for e in answered_call(call()) if "completed" not in e.event_id]).session
    assert waiting_for(session) == ("1 recording to arrive",)
    due = deadline(session)
    assert due == at(90 + 300)
    assert not overdue_calls(session, at(389))
    assert overdue_calls(session, due)

    session, callbacks = given_up(session, due)

    assert [c.name for c in callbacks] == ["SessionRecordingFailed"]
    assert waiting_for(session) == ()


def test_a_hangup_that_never_comes_costs_nothing_and_does_not_hold_the_session_for_ever() -> None:
    events = answered_call(call(recorded=False))
    session = hear(active_session(request(session_expiry=60)), events[:3]).session
    session = elapsed(session, at(60)).session
    due = deadline(session)
    assert due == at(10 + 120 + 3600 + 60)

    session, callbacks = given_up(session, due)

    assert [c.name for c in callbacks] == [
        "SessionFirstPartyHangup",
        "SessionSecondPartyHangup",
        "SessionPartiesHangup",
    ]
    assert callbacks[0].params["PlivoHangupCause"] == "Unknown"
    assert bill(session).calls.amount == 0
    assert settled(session, due).session.phase is Phase.SETTLED


def test_a_callee_of_whom_nothing_is_heard_after_its_caller_left_is_waited_for_a_minute() -> None:
    """The caller hung up while audio was played to it: the carrier never dialled anybody."""
    events = answered_call(call(recorded=False))
    session = hear(active_session(), [*events[:2], hangup(call(recorded=False), LegName.CALLER, 14, 4)]).session
    assert live_calls(session) == ("call-1",)
    assert deadline(session) == at(14 + 60)

    session, callbacks = given_up(session, at(74))
    assert [c.name for c in callbacks] == ["SessionSecondPartyHangup", "SessionPartiesHangup"]
    assert bill(session).calls.billed_duration == 60
    assert live_calls(session) == ()


def test_a_session_of_the_first_revision_waits_as_it_did_then() -> None:
    events = answered_call(call(recorded=False))
    heard = [*events[:2], hangup(call(recorded=False), LegName.CALLER, 14, 4)]
    session = hear(active_session().model_copy(update={"revision": 1}), heard).session
    assert next_deadline(session) == (at(3600), "session expiry")
    assert not overdue_calls(session, at(10 + 120 + 3600 + 59))


def test_only_the_calls_that_were_asked_about_are_given_up() -> None:
    session = active_session()
    for uuid in ("one", "two"):
        session = hear(session, answered_call(call(uuid, recorded=False))[:3]).session
    session, _ = given_up(session, at(5000), {"two"})
    assert live_calls(session) == ("one",)
    assert next_deadline(session, besides={"one"}) == (at(3600), "session expiry")


def test_with_the_policy_extend_a_session_goes_on_while_its_call_does_and_ends_with_it() -> None:
    events = answered_call(call(recorded=False), begins=500, talks=1000)
    session = hear(extending(), events[:3]).session
    assert next_deadline(session) == (at(570), "go on while the call does")
    assert elapsed(session, at(569)).session is session

    for moment, expiry in ((570, 900), (870, 1200), (1170, 1500), (1470, 1800)):
        assert deadline(session) == at(moment)
        session, callbacks = elapsed(session, at(moment))
        assert (session.phase, session.expires_at, callbacks) == (Phase.ACTIVE, at(expiry), ())

    session = hear(session, events[3:]).session
    session, callbacks = elapsed(session, at(1506))
    assert [c.name for c in callbacks] == ["SessionTimeout"]
    assert (session.phase, session.expires_at, session.duration) == (Phase.DRAINING, at(1506), 1506)
    assert settled(session, at(1507)).session.phase is Phase.SETTLED


def test_a_call_that_ends_before_the_expiry_that_was_asked_for_leaves_that_expiry() -> None:
    events = answered_call(call(recorded=False), begins=500, talks=75)
    session = elapsed(hear(extending(), events[:3]).session, at(575)).session
    assert session.expires_at == at(900)

    session = elapsed(hear(session, events[3:]).session, at(581)).session
    assert (session.phase, session.expires_at) == (Phase.ACTIVE, at(600))
    assert next_deadline(session) == (at(600), "session expiry")
    assert elapsed(session, at(600)).session.phase is Phase.DRAINING


def test_a_call_that_began_beyond_the_expiry_that_was_asked_for_extends_nothing() -> None:
    first = answered_call(call(recorded=False), begins=500, talks=200)
    session = elapsed(hear(extending(), first[:3]).session, at(570)).session
    later = answered_call(call("later", recorded=False), begins=650)
    session = hear(session, [*later[:3], *first[3:]]).session

    session = elapsed(session, at(706)).session
    assert (session.phase, session.expires_at) == (Phase.DRAINING, at(706))
    assert waiting_for(session) == ("1 call to end",)


def test_an_expiry_that_people_ask_for_counts_from_then_on() -> None:
    events = answered_call(call(recorded=False), begins=500, talks=1000)
    session = elapsed(hear(extending(), events[:3]).session, at(570)).session
    session = changed(session, Change(session_expiry=700), at(600)).session
    assert (session.expires_at, session.asked_expires_at) == (at(1300), None)
    assert deadline(session) == at(1270)


@pytest.mark.parametrize("policy", ["finish", "warn", "drop"])
def test_no_other_policy_moves_the_expiry(policy: str) -> None:
    asked = request(session_expiry=600).model_copy(update={"at_expiry": policy})
    session = hear(active_session(asked), answered_call(call(recorded=False), begins=500)[:3]).session
    assert elapsed(session, at(599)).session is session
    assert elapsed(session, at(600)).session.phase is Phase.DRAINING
