"""The bill that was closed, and what late events add, make the bill of a session that heard all in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from masking.domain.bill.charges import Charge, bill
from masking.domain.bill.corrections import corrected, correction
from masking.domain.events import AnyCarrierEvent, Hangup, Side
from masking.domain.lifecycle import elapsed, given_up, settled
from masking.domain.session import Phase, Session
from tests.domain.conversation import (
    active_session,
    answered_call,
    at,
    call,
    hear,
    request,
    unanswered_call,
    unheard_call,
)

EVENTS: list[AnyCarrierEvent] = [
    *answered_call(call("one")),
    *unanswered_call(call("two", Side.FIRST, recorded=False), begins=200),
    *answered_call(call("three"), begins=1000, talks=601),
    *unheard_call(call("four", recorded=False), begins=3000),
]


def closed(session: Session) -> Session:
    """The session, settled with what it has heard; what is missing was taken for granted."""
    session = elapsed(session, at(3600)).session
    for hours in (1, 2, 3):
        session = given_up(session, at(3600 + 10_000 * hours)).session
    session = settled(session, at(40_000)).session
    assert session.phase is Phase.SETTLED
    return session


@given(in_time=st.sets(st.sampled_from(range(len(EVENTS)))), order=st.randoms(use_true_random=False))
def test_closed_bill_and_corrections_add_up_to_the_whole(in_time: set[int], order: object) -> None:
    late = [event for n, event in enumerate(EVENTS) if n not in in_time]
    order.shuffle(late)  # type: ignore[attr-defined]
    session = closed(hear(active_session(), [EVENTS[n] for n in sorted(in_time)]).session)

    total, before = bill(session).calls, session
    for event in late:
        after = corrected(before, [event])
        total = total + correction(before, after)
        before = after

    assert total == bill(hear(active_session(), EVENTS).session).calls


def test_what_was_taken_for_granted_gives_way_to_what_was_told() -> None:
    lost = [event for event in EVENTS if isinstance(event, Hangup) and event.call.call_uuid == "three"]
    session = closed(hear(active_session(), [event for event in EVENTS if event not in lost]).session)

    change = correction(session, corrected(session, lost))
    assert change == Charge(duration=601 + 606, billed_duration=660 + 660, amount=change.amount)
    assert change.amount > 0


def test_the_same_event_again_corrects_nothing() -> None:
    session = closed(hear(active_session(), EVENTS).session)
    assert not correction(session, corrected(session, EVENTS))


@given(in_time=st.sets(st.sampled_from(range(len(EVENTS)))), order=st.randoms(use_true_random=False))
def test_a_session_that_goes_on_after_giving_calls_up_makes_the_whole_bill_of_what_comes_then(
    in_time: set[int], order: object
) -> None:
    """Nothing of it would be late: its workflow lives, and takes it."""
    late = [event for n, event in enumerate(EVENTS) if n not in in_time]
    order.shuffle(late)  # type: ignore[attr-defined]
    session = hear(active_session(request(session_expiry=86_400)), [EVENTS[n] for n in sorted(in_time)]).session
    for hours in (1, 2, 3):
        session = given_up(session, at(10_000 * hours)).session
    assert session.phase is Phase.ACTIVE

    session = hear(session, [*late, *late]).session

    assert bill(session).calls == bill(hear(active_session(), EVENTS).session).calls
    assert hear(session, late).session is session


def test_the_customer_hears_what_came_of_a_call_that_was_given_up() -> None:
    events = answered_call(call("one", recorded=False))
    session = hear(active_session(), [event for event in events if event.event_id != "one:callee:hangup"]).session
    given = given_up(session, at(400))
    assert [(c.name, c.params["Duration"]) for c in given.callbacks] == [
        ("SessionSecondPartyHangup", "0"),
        ("SessionPartiesHangup", "80"),
    ]

    heard = hear(given.session, events)

    assert [(c.name, c.params["Duration"], c.params["Amount"]) for c in heard.callbacks] == [
        ("SessionSecondPartyHangup", "75", "0.01700"),
        ("SessionPartiesHangup", "155", "0.03400"),
    ]


def test_a_session_of_the_third_revision_keeps_what_it_took_for_granted() -> None:
    events = answered_call(call("one", recorded=False))
    session = active_session().model_copy(update={"revision": 3})
    session = hear(session, [event for event in events if event.event_id != "one:callee:hangup"]).session
    session = given_up(session, at(400)).session

    assert hear(session, events).session is session
