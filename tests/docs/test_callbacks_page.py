"""docs/callbacks.md tells which event comes when and what it carries: each row is played, and nothing is left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from masking.domain.callbacks import Callback
from masking.domain.events import AnyCarrierEvent, Call, LegName, PinStatus, Placed, RecordingCompleted, Side
from masking.domain.lifecycle import elapsed, expired, given_up, took
from masking.domain.routing import Reason
from masking.domain.session import Session
from tests.domain.conversation import (
    FIRST,
    SECOND,
    STRANGER,
    active_session,
    answered_call,
    at,
    call,
    declined_call,
    hangup,
    hear,
    unanswered_call,
    unheard_call,
    wrong_pin_of,
)

PAGE = (Path(__file__).parent.parent.parent / "docs" / "callbacks.md").read_text()
EVENTS = {
    "SessionFirstPartyAnswer", "SessionSecondPartyRing", "SessionSecondPartyAnswer", "SessionSecondPartyHangup",
    "SessionFirstPartyHangup", "SessionPinAuthenticationStatus", "SessionTimeout", "SessionPartiesHangup",
    "SessionRecordingInitiated", "SessionRecordingCompleted", "SessionRecordingFailed",
}  # fmt: skip
"""Of the reference (masking-session-api.txt, "Session Callbacks" and "Session Recording Callback")."""

ALWAYS = {"EventName", "EventTimestamp", "SessionUUID", "VirtualNumber", "SequenceNumber"}


def rows(heading: str) -> dict[str, str]:
    """The table of a section: the second cell by the first."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    return dict(cells[1:])


def names(text: str) -> list[str]:
    return re.findall(r"Session[A-Z]\w+", text)


def told(events: Sequence[AnyCarrierEvent], session: Session | None = None) -> list[Callback]:
    return list(hear(session or active_session(), events).callbacks)


PLAIN = call(recorded=False)
ANSWERED = [callback.name for callback in told(answered_call(PLAIN))]


def recognised(status: str, of: Call) -> PinStatus:
    return PinStatus.model_validate({"event_id": f"{of.call_uuid}:pin", "at": at(5), "call": of, "status": status})


def alone(reason: Reason, number: str = SECOND) -> Call:
    """A call that connected nobody."""
    return Call(call_uuid="call-2", caller=Side.SECOND, from_number=number, to_number="", dialled=False, reason=reason)


def without_recording() -> list[Callback]:
    """A recording that does not come within its time."""
    of = call()
    events = [event for event in answered_call(of) if not isinstance(event, RecordingCompleted)]
    session, callbacks = hear(active_session(), events)
    return [*callbacks, *given_up(session, at(100 + session.recording_wait)).callbacks]


def not_connected(status: str) -> list[Callback]:
    of = alone(Reason.CONVERSATION_IN_PROGRESS)
    return told([recognised(status, of), declined_call(of.call_uuid)])


def after_the_end() -> list[Callback]:
    session = expired(active_session(), at(100)).session
    return list(took(session, recognised("success", alone(Reason.PIN_ENTERED, STRANGER))).callbacks)


def ordered(*, answered: bool) -> list[Callback]:
    """A call that we make to the first party; it calls the other once it is answered."""
    alone = Call(
        call_uuid="call-3", caller=Side.FIRST, from_number=FIRST, to_number="", dialled=False,
        reason=Reason.FIRST_PARTY_CALLED,
    )  # fmt: skip
    placed = Placed(event_id="call-3:placed", at=at(1), call=alone)
    if answered:
        of = call("call-3", caller=Side.FIRST, recorded=False)
        return told([placed, *answered_call(of)])
    return told([placed, hangup(alone, LegName.CALLER, 60, 0, "Ring Timeout Reached", 6010)])


def recording_only(callbacks: list[Callback]) -> list[Callback]:
    return [each for each in callbacks if each.kind == "recording"]


PLAYED: dict[str, Callable[[], list[list[Callback]]]] = {
    "A call was answered and ended": lambda: [told(answered_call(PLAIN))],
    "The callee did not answer, was busy or declined": lambda: [told(unanswered_call(PLAIN))],
    "The caller left while it heard its own audio, so that nobody was dialled": lambda: [told(unheard_call(PLAIN))],
    "The conversation was recorded": lambda: [recording_only(told(answered_call(call())))],
    "It was to be recorded, and no recording came in time": lambda: [recording_only(without_recording())],
    "A caller was recognised by its number in a session with PINs": lambda: [
        told([recognised("AuthorizedCaller", PLAIN), *answered_call(PLAIN)])
    ],
    "A caller entered a right PIN": lambda: [told([recognised("success", PLAIN), *answered_call(PLAIN)])],
    "Such a caller was not connected: the session was busy, or it would have called itself": lambda: [
        not_connected("AuthorizedCaller"), not_connected("success"),
    ],
    "A right PIN was entered after the session's end": lambda: [after_the_end()],
    "A PIN was wrong, or none was entered in time": lambda: [told([wrong_pin_of("call-4")])],
    "A PIN was entered after too many wrong ones": lambda: [
        told([declined_call("call-5", Reason.TOO_MANY_WRONG_PINS)])
    ],
    "We called the first party (`initiate_call_to_first_party`) and it answered": lambda: [ordered(answered=True)],
    "We called the first party and it did not answer": lambda: [ordered(answered=False)],
    "A call was not connected (busy, ended, unknown caller)": lambda: [
        told([declined_call("call-6", reason)])
        for reason in (Reason.CONVERSATION_IN_PROGRESS, Reason.SESSION_ENDED, Reason.UNKNOWN_CALLER)
    ],
    "The session expired, by its time or by request": lambda: [
        list(expired(active_session(), at(100)).callbacks),
        list(elapsed(active_session(), at(3600)).callbacks),
    ],
}  # fmt: skip


def test_every_event_has_its_place_in_both_tables() -> None:
    assert set(names(" ".join(rows("Which event comes when").values()))) == EVENTS
    assert set(names(" ".join(rows("What each carries")))) == EVENTS


def test_every_row_is_played() -> None:
    assert list(PLAYED) == list(rows("Which event comes when"))


@pytest.mark.parametrize("row", PLAYED)
def test_what_happens_tells_these_events_in_this_order(row: str) -> None:
    text = rows("Which event comes when")[row]
    expected = names(text)
    if "then as above" in text:
        # It may name the first of those that follow, to say when it comes.
        expected = ANSWERED if expected == ANSWERED[:1] else expected + ANSWERED
    for callbacks in PLAYED[row]():
        assert [each.name for each in callbacks] == expected
        if "without `To`" in text:
            assert all("To" not in each.params for each in callbacks)
        for each in callbacks:
            status = each.params.get("PinAuthenticationStatus")
            assert status is None or f"`{status}`" in text
    if "free of charge" in text:
        assert {each.params["Amount"] for callbacks in PLAYED[row]() for each in callbacks} == {"0.00000"}


def test_a_pin_is_told_once_for_each_wrong_try() -> None:
    tries = told([wrong_pin_of("call-4", tries=n) for n in (1, 2, 3)])
    assert [each.params["PinRetryCounter"] for each in tries] == ["1", "2", "3"]


def test_each_event_carries_what_its_row_says_and_nothing_else() -> None:
    said = {
        name: set(re.findall(r"`(\w+)`", cell))
        for key, cell in rows("What each carries").items()
        for name in names(key)
    }
    played = [each for play in PLAYED.values() for callbacks in play() for each in callbacks]
    assert {each.name for each in played} == EVENTS
    for each in played:
        # Nobody is called yet where a caller is not connected, and before the first party that we call has answered.
        optional = set() if "To" in each.params else {"To"}
        assert set(each.params) == ALWAYS | said[each.name] - optional, each.name


def test_only_where_nobody_is_to_be_called_there_is_no_to() -> None:
    without = {row for row, play in PLAYED.items() for told in play() for each in told if "To" not in each.params}
    texts = rows("Which event comes when")
    assert without == {
        row for row, text in texts.items() if "without `To`" in text or names(text) == ["SessionTimeout"]
    } | {"A PIN was wrong, or none was entered in time"}


def test_the_always_carried_are_named() -> None:
    section = PAGE.partition("\n## What each carries\n")[2]
    assert set(re.findall(r"`(\w+)`", section.partition("\n\n|")[0])) == ALWAYS


def test_sequence_numbers_count_each_kind_without_a_gap() -> None:
    callbacks = told(answered_call(call()))
    for kind in ("session", "recording"):
        numbers = [each.sequence for each in callbacks if each.kind == kind]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= 2
