"""The story of a session as a list of what happened."""

from __future__ import annotations

from decimal import Decimal

from masking.domain.bill.charges import bill
from masking.domain.events import Side
from masking.domain.lifecycle import expired, settled
from masking.domain.session import Session
from masking.domain.timeline import Happened, Timeline, ToldCallback, ToldCorrection, ToldTry, timeline
from tests.domain.conversation import (
    FIRST,
    SECOND,
    STRANGER,
    VIRTUAL,
    active_session,
    answered_call,
    at,
    call,
    declined_call,
    hear,
    wrong_pin_of,
)


def whole() -> Session:
    """A call, a wrong PIN, a call that was not connected; expired and settled."""
    session = hear(active_session(), [*answered_call(call()), wrong_pin_of("guess"), declined_call("late")]).session
    return settled(expired(session, at(200)).session, at(210)).session


def shown(number: str) -> str:
    return f"<{number}>"


def told(session: Session, **more: object) -> Timeline:
    callbacks = [
        ToldCallback(
            at=at(12), name="SessionFirstPartyAnswer", kind="session", sequence=1, state="delivered",
            tries=(ToldTry(at=at(12), outcome="500", duration_ms=3), ToldTry(at=at(14), outcome="200", duration_ms=4)),
        )
    ]  # fmt: skip
    corrections = [ToldCorrection(at=at(300), amount=Decimal("-0.0085"), billed_duration=-60)]
    return timeline(session, callbacks, corrections, shown)


def test_it_tells_who_called_when_what_each_side_saw_and_what_it_cost() -> None:
    story = told(whole())
    lines = [(int((entry.at - at(0)).total_seconds()), str(entry.what), entry.party, entry.number, entry.saw)
             for entry in story.entries]  # fmt: skip
    first, second, virtual = f"<{FIRST}>", f"<{SECOND}>", f"<{VIRTUAL}>"
    assert lines == [
        (0, "created", None, "", ""),
        (5, "PIN", None, f"<{STRANGER}>", ""),
        (6, "declined", None, second, virtual),
        (10, "called", Side.SECOND, second, virtual),
        (10, "rang", Side.FIRST, first, virtual),
        (12, "callback", None, "", ""),
        (15, "answered", Side.FIRST, first, virtual),
        (90, "left", Side.SECOND, second, virtual),
        (90, "left", Side.FIRST, first, virtual),
        (92, "recorded", None, "", ""),
        (200, "expired", None, "", ""),
        (210, "settled", None, "", ""),
        (300, "corrected", None, "", ""),
    ]
    by_kind = {entry.what: entry for entry in story.entries}
    assert by_kind[Happened.PIN].told == "wrong, try 1"
    assert by_kind[Happened.DECLINED].told == "Busy: the session already has a conversation"
    assert by_kind[Happened.CALLBACK].told == (
        "SessionFirstPartyAnswer, session 1, delivered: 500 in 3 ms, 200 in 4 ms"
    )
    legs = [entry.amount for entry in story.entries if entry.what is Happened.LEFT]
    assert sum(amount for amount in legs if amount is not None) == bill(whole()).total_amount == story.totals.amount
    assert story.totals.corrected == Decimal("-0.0085")
    assert (story.first_party, story.second_party, story.virtual_number) == (first, second, virtual)


def test_no_number_is_told_but_as_it_is_to_be_shown() -> None:
    hidden = timeline(whole(), [], [], lambda _: "•")
    assert not any(number[1:] in hidden.model_dump_json() for number in (FIRST, SECOND, STRANGER, VIRTUAL))
