"""Whatever callbacks of Plivo's were lost, came twice or in another order: its record makes the bill right."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masking.carriers.plivo.callbacks import About, read_callback
from masking.carriers.plivo.session_resource import read_session
from masking.domain.bill.charges import bill, interaction_charge
from masking.domain.bill.corrections import corrected
from masking.domain.counterpart.following import opened_at_carrier
from masking.domain.counterpart.placing import moment_of
from masking.domain.counterpart.reconciling import reconciled
from masking.domain.counterpart.told import RULES, ToldSession
from masking.domain.deadlines import waiting_for
from masking.domain.events import AnyCarrierEvent, Hangup, LegName, Side
from masking.domain.hearing import heard
from masking.domain.lifecycle import requested
from masking.domain.session import REVISION, Session
from tests.carriers.plivo.truth import PLIVO_UUID, Talk, Truth, digest
from tests.domain.conversation import START, STRANGER, VIRTUAL, at, request


@st.composite
def truths(draw: st.DrawFn) -> Truth:
    """Up to five calls, one after the other, some at once after the one before; strangers among them, by PINs.

    The first one may be Plivo's own to the first party, which does not take it.
    """
    talks: list[Talk] = []
    begins = 3
    if draw(st.booleans()):
        talks.append(Talk(begins, rings=draw(st.integers(1, 40)), talks=0, caller=Side.FIRST, dialled=False))
        begins = talks[-1].ends
    for _ in range(draw(st.integers(0, 4))):
        talks.append(
            Talk(
                begins=begins + draw(st.sampled_from([0, 1, 30, 400])),
                rings=draw(st.integers(0, 40)),
                talks=draw(st.integers(0, 200)),
                caller=draw(st.sampled_from(Side)),
                rate=draw(st.sampled_from([Decimal("0.0085"), Decimal("0.00333"), Decimal(0)])),
                recorded=draw(st.booleans()),
                number=draw(st.sampled_from(["", STRANGER, "hidden"])),
                pins=draw(st.sampled_from([(), ("success",), ("failed", "success"), ("AuthorizedCaller",)])),
            )
        )
        begins = talks[-1].ends
    return Truth(talks)


def opened_session(rules: int = RULES) -> Session:
    asked = request().model_copy(update={"carrier": "plivo"})
    told = read_session({**Truth([], expired=False).resource(), "virtual_number": VIRTUAL})
    return opened_at_carrier(requested(asked, START), told, REVISION, rules=rules).session


def told_by(truth: Truth) -> list[AnyCarrierEvent]:
    session = opened_session()
    about = About(session.session_uuid, session.terms, lambda *_: None, at(90_000), digest)
    read = [read_callback(fields, about) for fields in truth.callbacks()]
    return [event for event in read if event is not None]


def record_of(truth: Truth) -> ToldSession:
    return read_session(truth.resource())


def played(events: list[AnyCarrierEvent], truth: Truth) -> Session:
    session = opened_session()
    for event in events:
        session = heard(session, event).session
    return reconciled(session, record_of(truth)).session


@settings(max_examples=2 * settings().max_examples)
@given(truths(), st.data())
def test_any_part_of_the_callbacks_in_any_order_comes_to_the_same_bill(truth: Truth, data: st.DataObject) -> None:
    everything = told_by(truth)
    part = data.draw(st.lists(st.sampled_from(everything), max_size=30)) if everything else []

    session = played(part, truth)

    final = bill(session)
    assert final.calls.amount == sum((talk.amount for talk in truth.talks), Decimal(0))
    assert final.calls.call_count == sum(len(talk.legs) for talk in truth.talks)
    assert final.calls.duration == sum(d for talk in truth.talks for d, _, _ in talk.legs)
    assert final.calls.billed_duration == sum(b for talk in truth.talks for _, b, _ in talk.legs)
    by_call = [interaction_charge(session, each).amount for each in session.conversations]
    assert by_call == [talk.amount for talk in truth.talks]
    assert [each.first_seen_at for each in session.conversations] == [at(talk.begins) for talk in truth.talks]
    shown = record_of(truth).interactions
    for each, entry in zip(session.conversations, shown, strict=True):
        legs = {side: leg.leg_uuid for side, leg in each.legs}
        assert legs == {side: entry.leg_uuid(side) for side in Side if entry.leg_uuid(side)}
    assert not any("call to end" in why for why in waiting_for(session))
    assert all(
        each.recording is not None
        for each, talk in zip(session.conversations, truth.talks, strict=True)
        if talk.recorded and talk.talks
    )

    # Nothing that comes later adds to it.
    for event in everything:
        session = heard(session, event).session
    assert bill(session) == final
    assert bill(corrected(session, everything)) == final


@given(truths(), st.data())
def test_all_callbacks_once_and_in_order_leave_nothing_to_put_right(truth: Truth, data: st.DataObject) -> None:
    truth.talks = [talk for n, talk in enumerate(truth.talks) if n == 0 or talk.begins > truth.talks[n - 1].ends]
    session = opened_session()
    for event in told_by(truth):
        # Twice each: the same event again changes nothing.
        session = heard(session, event).session
        assert heard(session, event).session is session

    assert len(session.interactions) == len(truth.talks)
    before = bill(session).calls
    after = reconciled(session, record_of(truth)).session
    assert bill(after).calls == before
    assert after.remarks == ()


@pytest.mark.parametrize("kind", ["ring", "answer", "hangup"])
def test_a_call_does_not_begin_in_one_that_had_been_further(kind: str) -> None:
    """Nothing else of the first call was heard. All of the second one is told as its own."""
    truth = Truth([Talk(10), Talk(400, pins=("AuthorizedCaller",))])
    first = [event for event in told_by(truth) if moment_of(event) < at(400)]
    (known,) = (each for each in first if each.kind == kind and getattr(each, "leg", "callee") == "callee")
    session = opened_session()
    for event in (known, *(event for event in told_by(truth) if event not in first)):
        session = heard(session, event).session
    _, second = session.conversations
    assert interaction_charge(session, second).amount == truth.talks[1].amount
    assert second.first_seen_at == at(400)
    assert len(second.pins) == 1


@pytest.mark.parametrize(("rules", "billed"), [(RULES, ["120"]), (2, ["60"])])
def test_a_call_is_not_told_with_the_end_of_the_one_before_of_which_nothing_else_was_heard(
    rules: int, billed: list[str]
) -> None:
    """The gateway was away for the rest of that one. By the older rules the two were one call."""
    truth = Truth([Talk(10, talks=0), Talk(40, talks=30, pins=("AuthorizedCaller",))])
    first = [event for event in told_by(truth) if moment_of(event) < at(40)]
    ended = [event for event in first if isinstance(event, Hangup) and event.leg is LegName.CALLEE]
    second = [event for event in told_by(truth) if event not in first]
    # Both ends are of the same second, and the caller's comes first.
    second.sort(key=lambda event: isinstance(event, Hangup) and event.leg is LegName.CALLEE)
    session, told = opened_session(rules), []
    for event in (*ended, *second):
        session, callbacks = heard(session, event)
        told += [each.params["BilledDuration"] for each in callbacks if each.name == "SessionPartiesHangup"]
    assert told == billed
    assert bill(reconciled(session, record_of(truth)).session).calls.billed_duration == 60 + 120


def test_what_no_callback_told_the_customer_hears_at_the_end() -> None:
    truth = Truth([Talk(10, recorded=True)])
    lost = [event for event in told_by(truth) if event.kind not in ("hangup", "recording_completed")]
    session = opened_session()
    for event in lost:
        session = heard(session, event).session

    step = reconciled(session, record_of(truth))

    assert [callback.name for callback in step.callbacks] == [
        "SessionFirstPartyHangup",
        "SessionSecondPartyHangup",
        "SessionPartiesHangup",
        "SessionRecordingCompleted",
    ]
    assert "call 1 by the carrier's record: no callback told of the caller's end" in step.session.remarks
    assert step.session.counterpart is not None
    assert step.session.counterpart.session_uuid == PLIVO_UUID
    assert step.session.counterpart.reconciled


def test_a_leg_that_comes_to_something_else_is_put_right_and_said() -> None:
    truth = Truth([Talk(10)])
    dearer = truth.resource()
    dearer["interaction"][0]["total_call_amount"] = Decimal("0.05")
    session = opened_session()
    for event in told_by(truth):
        session = heard(session, event).session

    step = reconciled(session, read_session(dearer))

    assert bill(step.session).calls.amount == Decimal("0.05")
    assert step.session.remarks == (
        "call 1 by the carrier's record: the caller's leg comes to something else than was told",
    )
