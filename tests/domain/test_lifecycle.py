"""The state machine, by example and by walking its table."""

from __future__ import annotations

from decimal import Decimal

import pytest

from masking.domain.bill.charges import bill
from masking.domain.deadlines import waiting_for
from masking.domain.events import Hangup, LegName, PinStatus, Side
from masking.domain.lifecycle import (
    TABLE,
    Outcome,
    Rejected,
    Trigger,
    changed,
    elapsed,
    expired,
    opened,
    refused,
    requested,
    settled,
    took,
)
from masking.domain.routing import Reason
from masking.domain.session import Phase, Session, Status
from masking.domain.snapshot import snapshot
from masking.domain.story import story
from masking.domain.terms import Change
from tests.domain.conversation import (
    FIRST,
    SECOND,
    START,
    VIRTUAL,
    active_session,
    answered_call,
    at,
    call,
    declined_call,
    hangup,
    hear,
    request,
    unanswered_call,
)


def in_phase(phase: Phase) -> Session:
    """A session that came to `phase` by legal steps."""
    asked = requested(request(), START)
    if phase is Phase.OPENING:
        return asked
    if phase is Phase.REFUSED:
        return refused(asked, "Number pool exhausted or not available.").session
    active = active_session()
    if phase is Phase.ACTIVE:
        return active
    ended = expired(active, at(100)).session
    return ended if phase is Phase.DRAINING else settled(ended, at(101)).session


def pull(session: Session, trigger: Trigger) -> Session:
    """What `trigger` makes of `session`."""
    match trigger:
        case Trigger.OPENED:
            return opened(session, VIRTUAL).session
        case Trigger.REFUSED:
            return refused(session, "no number").session
        case Trigger.CARRIER_EVENT:
            return took(session, answered_call(call())[0]).session
        case Trigger.CHANGE:
            return changed(session, Change(record=False), at(200)).session
        case Trigger.EXPIRE:
            return expired(session, at(200)).session
        case Trigger.DEADLINE:
            return elapsed(session, session.expires_at).session
        case Trigger.DRAINED:
            return settled(session, at(200)).session


PHASE_AFTER = {
    Outcome.ACTIVATE: Phase.ACTIVE,
    Outcome.REFUSE: Phase.REFUSED,
    Outcome.EXPIRE: Phase.DRAINING,
    Outcome.SETTLE: Phase.SETTLED,
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("trigger", Trigger)
def test_each_trigger_does_in_each_phase_what_the_table_says(phase: Phase, trigger: Trigger) -> None:
    session, outcome = in_phase(phase), TABLE[phase][trigger]

    if outcome in (Outcome.REJECT, Outcome.REJECT_UNOPENED):
        code = "SessionAlreadyExpired" if outcome is Outcome.REJECT else "SessionNotOpen"
        with pytest.raises(Rejected) as rejection:
            pull(session, trigger)
        assert rejection.value.code == code
        return

    after = pull(session, trigger)
    assert after.phase is PHASE_AFTER.get(outcome, phase)
    if outcome is Outcome.IGNORE:
        assert after is session
    else:
        assert after.version == session.version + 1


@pytest.mark.parametrize(("revision", "told"), [(3, "mp3"), (4, ".mp3")])
def test_the_format_of_a_recording_is_told_by_the_rules_of_its_session(revision: int, told: str) -> None:
    session = active_session().model_copy(update={"revision": revision})
    (completed,) = (c for c in hear(session, answered_call(call())).callbacks if "RecordingFormat" in c.params)
    assert (completed.name, completed.params["RecordingFormat"]) == ("SessionRecordingCompleted", told)


def test_the_customer_hears_an_answered_recorded_call_in_full() -> None:
    callbacks = hear(active_session(), answered_call(call(caller=Side.SECOND), begins=10, talks=75)).callbacks

    assert [c.name for c in callbacks] == [
        "SessionFirstPartyAnswer",
        "SessionSecondPartyRing",
        "SessionSecondPartyAnswer",
        "SessionSecondPartyHangup",
        "SessionFirstPartyHangup",
        "SessionPartiesHangup",
        "SessionRecordingInitiated",
        "SessionRecordingCompleted",
    ]
    hung_up = callbacks[4].params
    assert hung_up == {
        "EventName": "SessionFirstPartyHangup",
        "EventTimestamp": "2026-11-23 14:01:30 +0000 UTC",
        "SessionUUID": "4189591e-d004-4801-abdf-8893c15e5dcd",
        "VirtualNumber": VIRTUAL.removeprefix("+"),
        "From": SECOND.removeprefix("+"),
        "To": FIRST.removeprefix("+"),
        "Amount": "0.01700",
        "BilledDuration": "120",
        "Duration": "80",
        "PlivoHangupCause": "Normal Hangup",
        "PlivoHangupCauseCode": "4000",
        "SequenceNumber": "5",
    }
    both = callbacks[5].params
    assert (both["Amount"], both["BilledDuration"], both["Duration"]) == ("0.03400", "240", "155")
    recorded = callbacks[7].params
    assert recorded["RecordingUUID"] == "call-1-recording"
    assert recorded["RecordingResourceURL"].endswith("/Recording/call-1-recording/")
    assert recorded["RecordingDuration"] == "75"
    assert recorded["SequenceNumber"] == "2"


def test_a_customer_without_urls_hears_nothing_and_pays_the_same() -> None:
    silent = hear(active_session(request(callbacks=False)), answered_call(call()))
    told = hear(active_session(), answered_call(call()))

    assert silent.callbacks == ()
    assert bill(silent.session).calls == bill(told.session).calls


def test_the_bill_counts_each_leg_from_its_answer_in_whole_minutes() -> None:
    session = hear(active_session(), answered_call(call(), talks=75)).session
    session = hear(session, unanswered_call(call("call-2", recorded=False), begins=500)).session

    total = bill(session)

    assert total.calls.call_count == 4
    assert total.calls.billed_duration == 120 + 120 + 120 + 0
    assert total.calls.amount == Decimal("0.05100")
    assert total.last_interaction_time == at(620)
    assert total.settled_at is None


def test_a_session_is_in_progress_while_a_leg_is_live() -> None:
    events = answered_call(call(recorded=False))

    assert active_session().status is Status.ACTIVE
    assert hear(active_session(), events[:3]).session.status is Status.IN_PROGRESS
    assert hear(active_session(), events).session.status is Status.ACTIVE


def test_an_extension_counts_from_the_moment_of_the_update() -> None:
    session = changed(active_session(), Change(session_expiry=1800, record=False), at(600)).session

    assert session.expires_at == at(2400)
    assert session.duration == 2400
    assert session.modified_at == at(600)
    assert session.terms.record is False
    assert session.terms.ring_timeout == 120


def test_a_change_after_the_last_second_is_rejected_even_before_the_timer_says_so() -> None:
    session = active_session()

    with pytest.raises(Rejected, match="Session already expired"):
        changed(session, Change(session_expiry=60), session.expires_at)
    with pytest.raises(Rejected, match="Session already expired"):
        expired(session, session.expires_at)


def test_expiring_early_moves_the_expiry_to_now_and_tells_the_customer() -> None:
    session, callbacks = expired(active_session(), at(300))

    assert session.expires_at == at(300)
    assert session.status is Status.EXPIRED
    assert [(c.name, c.params["EventTimestamp"]) for c in callbacks] == [
        ("SessionTimeout", "2026-11-23 14:05:00 +0000 UTC")
    ]


def test_a_call_in_progress_at_expiry_is_waited_for_and_billed() -> None:
    events = answered_call(call(recorded=False), begins=3590, talks=100)
    session = hear(active_session(), events[:3]).session

    session = elapsed(session, at(3600)).session
    assert waiting_for(session) == ("1 call to end",)
    assert settled(session, at(3601)).session is session

    session = settled(hear(session, events[3:]).session, at(3700)).session
    assert session.phase is Phase.SETTLED
    assert bill(session).calls.billed_duration == 240


def test_a_right_pin_that_connected_nobody_is_told_and_makes_no_interaction() -> None:
    of = declined_call("busy").call
    pin = PinStatus(event_id="busy:pin", at=at(6), call=of, status="success", retry_counter=1)
    session, callbacks = hear(active_session(), [pin, declined_call("busy")])

    assert (session.interactions, session.status) == ({}, Status.ACTIVE)
    assert [(c.name, c.params["PinAuthenticationStatus"], c.params["PinRetryCounter"]) for c in callbacks] == [
        ("SessionPinAuthenticationStatus", "success", "1")
    ]
    assert "To" not in callbacks[0].params
    assert "14:00:06 PIN: success\n" in story(session)
    assert "a call was not connected: the session already has a conversation" in story(session)
    assert hear(session, [pin]).session is session


def test_a_session_knows_whom_it_asked_for_a_pin_and_why() -> None:
    asked = declined_call("guest", Reason.ASKED_FOR_PIN).model_copy(update={"decision": "AskPin"})
    session, callbacks = hear(active_session(), [asked])

    assert callbacks == ()
    assert session.interactions == {}
    assert "- 14:00:06 a caller was asked: the caller has to enter a PIN" in story(session)


def test_a_hangup_is_told_with_the_carriers_time_where_it_says_so() -> None:
    events = answered_call(call(recorded=False), begins=10, talks=75)
    late = [e.model_copy(update={"at": at(700)}) if isinstance(e, Hangup) else e for e in events]
    late[-1] = late[-1].model_copy(update={"ended_at": at(90)})
    callbacks = hear(active_session(), late).callbacks

    told = {c.name: c.params["EventTimestamp"] for c in callbacks}
    assert told["SessionFirstPartyHangup"] == "2026-11-23 14:01:30 +0000 UTC"
    assert told["SessionSecondPartyHangup"] == told["SessionPartiesHangup"] == "2026-11-23 14:11:40 +0000 UTC"


def test_an_event_after_settlement_leaves_the_bill_as_it_is() -> None:
    session = in_phase(Phase.SETTLED)

    assert hear(session, [hangup(call(), LegName.CALLER, 4000, 60)]).session is session


def test_the_story_names_no_number() -> None:
    session = hear(active_session(), answered_call(call())).session
    text = story(session) + story(expired(session, at(500)).session) + story(in_phase(Phase.REFUSED))

    assert "the second party called" in text
    assert "the first party rang 14:00:10, answered 14:00:15, left 14:01:30 (Normal Hangup)" in text
    assert "recorded: 75 s of mp3" in text
    for number in (FIRST, SECOND, VIRTUAL):
        assert number.removeprefix("+")[-7:] not in text


def test_the_snapshot_is_short_and_carries_the_running_bill() -> None:
    short = snapshot(hear(active_session(), answered_call(call())).session)

    assert short.virtual_number == VIRTUAL
    assert short.interaction_count == 1
    assert short.bill.calls.call_count == 2
    assert FIRST not in short.model_dump_json()
