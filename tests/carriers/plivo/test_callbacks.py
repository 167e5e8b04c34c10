"""What Plivo tells of a session, read as our own events; nothing that it may write loses an event."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking.carriers.plivo.callbacks import About, read_callback
from masking.domain.events import Answer, Hangup, LegName, PinStatus, RecordingCompleted, Ring, SessionEnded, Side
from masking.domain.interaction import begin
from tests.carriers.plivo.truth import Talk, Truth, digest
from tests.domain.conversation import FIRST, SECOND, SESSION_UUID, STRANGER, at, request

ABOUT = About(SESSION_UUID, request().terms, lambda *_: None, at(5000), digest)


def told(name: str, **more: str) -> dict[str, str]:
    return {"EventName": name, "EventTimestamp": "2026-11-23 14:00:10 +0000 UTC", "SequenceNumber": "1", **more}


def test_every_callback_of_a_call_is_one_of_our_events() -> None:
    read = [read_callback(fields, ABOUT) for fields in Truth([Talk(10, recorded=True)]).callbacks()]
    kinds = [event.kind if event is not None else None for event in read]
    assert kinds == [
        "answer", "ring", "answer", "hangup", "hangup", None, "recording_initiated",
        "recording_completed", "session_ended",
    ]  # fmt: skip
    caller, ring, callee, callees_end, callers_end, _, _, recording, ended = read
    assert isinstance(caller, Answer)
    assert (caller.leg, caller.at, caller.call.caller) == (LegName.CALLER, at(10), Side.SECOND)
    assert (caller.call.from_number, caller.call.to_number, caller.call.recorded) == (SECOND, FIRST, True)
    assert isinstance(ring, Ring)
    assert isinstance(callee, Answer)
    assert (callee.leg, callee.at) == (LegName.CALLEE, at(15))
    assert isinstance(callees_end, Hangup)
    assert isinstance(callers_end, Hangup)
    assert (callers_end.leg, callers_end.duration, callers_end.cause_code) == (LegName.CALLER, 80, 4000)
    assert callers_end.carrier_charge is not None
    assert (callers_end.carrier_charge.amount, callers_end.carrier_charge.passed_on) == (Decimal("0.0170"), True)
    assert isinstance(recording, RecordingCompleted)
    assert (recording.recording_id, recording.duration, recording.file_format) == ("recording-1", 75, "mp3")
    assert (recording.started_at, recording.ended_at) == (at(15), at(90))
    assert isinstance(ended, SessionEnded)
    assert ended.at == at(3600)


def test_the_same_callback_is_the_same_event_and_another_call_is_another() -> None:
    first = read_callback(told("SessionFirstPartyAnswer", From=SECOND[1:], To=FIRST[1:]), ABOUT)
    again = read_callback(told("SessionFirstPartyAnswer", From=SECOND[1:], To=FIRST[1:]), ABOUT)
    later = told("SessionFirstPartyAnswer", From=SECOND[1:], To=FIRST[1:])
    later |= {"EventTimestamp": "2026-11-23 14:07:10 +0000 UTC"}
    # Its number alone may begin anew with each call.
    other = read_callback(later, ABOUT)
    assert first == again
    assert first is not None
    assert other is not None
    assert first.event_id != other.event_id


@pytest.mark.parametrize("to", [SECOND[1:], ""])
@pytest.mark.parametrize(("status", "connects"), [("success", True), ("failed", False), ("AuthorizedCaller", True)])
def test_a_pin_connects_with_somebody_or_does_not(status: str, connects: bool, to: str) -> None:
    more = {"PinAuthenticationStatus": status, "PinRetryCounter": "2"}
    event = read_callback(told("SessionPinAuthenticationStatus", From=STRANGER[1:], To=to, **more), ABOUT)
    assert isinstance(event, PinStatus)
    assert (event.status, event.retry_counter) == (status, 2)
    assert event.call.dialled == (connects and to != "")


def test_a_first_party_that_does_not_take_plivos_call_is_alone_in_it() -> None:
    (hangup, nothing) = (
        read_callback(fields, ABOUT)
        for fields in Truth([Talk(10, talks=0, caller=Side.FIRST, dialled=False)], expired=False).callbacks()
    )
    assert isinstance(hangup, Hangup)
    assert (hangup.leg, hangup.duration, hangup.call.caller) == (LegName.CALLER, 0, Side.FIRST)
    assert (hangup.call.dialled, hangup.call.to_number) == (False, "")
    assert not begin(hangup).live
    assert nothing is None


FIELDS = st.dictionaries(
    st.sampled_from(
        ["EventTimestamp", "From", "To", "Amount", "BilledDuration", "Duration", "PlivoHangupCause", "SequenceNumber",
         "PlivoHangupCauseCode", "RecordingStartTime", "RecordingDuration", "RecordingFormat", "PinRetryCounter"]
    ),
    st.one_of(
        st.text("0123456789.-+ :abcT", max_size=12), st.sampled_from(["-1", "1e400", "NaN", "0.5", "٣", "9" * 40])
    ),
)  # fmt: skip
NAMES = st.sampled_from(
    ["SessionFirstPartyAnswer", "SessionSecondPartyRing", "SessionSecondPartyHangup", "SessionRecordingCompleted",
     "SessionRecordingFailed", "SessionTimeout"]
)  # fmt: skip


def test_an_events_id_tells_no_number_to_whoever_tries_all_there_are() -> None:
    fields = told("SessionPinAuthenticationStatus", From=STRANGER[1:], PinAuthenticationStatus="failed")
    event = read_callback(fields, ABOUT)
    assert event is not None
    # It rests in the clear, with the moment beside it; a thousand numbers take a millisecond to try.
    for algorithm in ("md5", "sha1", "sha256", "sha512"):
        for guess in range(100):
            number = f"{STRANGER[1:-2]}{guess:02}"
            tried = "\n".join([fields["EventName"], fields["EventTimestamp"], "1", number, "", "", ""])
            assert hashlib.new(algorithm, tried.encode()).hexdigest()[:32] not in event.event_id
    other = read_callback(fields, ABOUT._replace(digest=lambda told: digest(f"another key: {told}")))
    assert other is not None
    assert other.event_id != event.event_id


@given(NAMES, FIELDS)
def test_whatever_is_missing_or_malformed_the_event_is_not_lost(name: str, fields: dict[str, Any]) -> None:
    event = read_callback({**fields, "EventName": name}, ABOUT)
    assert event is not None
    assert event.at <= ABOUT.now
    if isinstance(event, Hangup):
        assert event.duration >= 0
        assert event.carrier_charge is None or event.carrier_charge.amount >= 0
    assert begin(event).first_seen_at == event.at


@pytest.mark.parametrize("name", ["SessionPartiesHangup", "SessionVirtualNumberReplaced", "", "Nonsense"])
def test_what_we_do_not_follow_is_no_event(name: str) -> None:
    assert read_callback(told(name), ABOUT) is None
