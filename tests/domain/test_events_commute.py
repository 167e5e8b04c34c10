"""Whatever the order and however often events come, a session ends in the same state with the same bill."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from masking.domain.bill.charges import bill
from masking.domain.callbacks import Callback
from masking.domain.events import AnyCarrierEvent, PinStatus, Placed, Side
from masking.domain.routing import Reason
from tests.domain.conversation import (
    active_session,
    answered_call,
    at,
    call,
    declined_call,
    hear,
    unanswered_call,
    unheard_call,
    wrong_pin_of,
)

PLACED = Placed(
    event_id="placed:placed", at=at(1190), call=call("placed", Side.FIRST).model_copy(update={"dialled": False})
)
RIGHT_PIN = PinStatus(event_id="d:pin", at=at(1510), call=call("d"), status="success", retry_counter=1)

CALLS: dict[str, list[AnyCarrierEvent]] = {
    "answered and recorded": answered_call(call("a")),
    "answered": answered_call(call("b", Side.FIRST, recorded=False), begins=500, talks=61),
    "not answered": unanswered_call(call("c", recorded=False), begins=900),
    "left before anybody was dialled": unheard_call(call("j", recorded=False), begins=1100),
    "placed by us and answered": [PLACED, *answered_call(call("placed", Side.FIRST), begins=1200)],
    "a wrong PIN, then the right one": [
        wrong_pin_of("d", when=1500),
        RIGHT_PIN,
        *answered_call(call("d"), begins=1510),
    ],
    "a right PIN, and busy": [
        RIGHT_PIN.model_copy(update={"event_id": "h:pin", "at": at(2100), "call": declined_call("h").call}),
        declined_call("h", when=2100),
    ],
    "asked, and never right": [
        declined_call("i", Reason.ASKED_FOR_PIN, when=2200).model_copy(update={"event_id": "i:asked"}),
        wrong_pin_of("i", when=2205),
    ],
    "guesses": [wrong_pin_of("e", tries, when=1800 + tries) for tries in (1, 2, 3)],
    "not connected": [declined_call("f", when=2000), declined_call("g", when=2001)],
}


@st.composite
def deliveries(draw: st.DrawFn) -> list[AnyCarrierEvent]:
    """Some calls' events, shuffled, some of them twice or more."""
    names = draw(st.lists(st.sampled_from(sorted(CALLS)), unique=True, min_size=1))
    events = [event for name in names for event in CALLS[name]]
    again = draw(st.lists(st.sampled_from(events), max_size=len(events)))
    return draw(st.permutations(events + again))


def in_time(events: list[AnyCarrierEvent]) -> list[AnyCarrierEvent]:
    """The same events once each, in the order in which they happened."""
    return sorted({event.event_id: event for event in events}.values(), key=lambda event: (event.at, event.event_id))


def told(callbacks: tuple[Callback, ...]) -> list[tuple[Any, ...]]:
    """What the callbacks say, but for the order in which they were sent."""
    return sorted(
        (c.kind, c.name, sorted((k, v) for k, v in c.params.items() if k != "SequenceNumber")) for c in callbacks
    )


@given(deliveries())
def test_any_order_and_repetition_of_events_ends_in_the_same_session(events: list[AnyCarrierEvent]) -> None:
    undisturbed = hear(active_session(), in_time(events))
    disturbed = hear(active_session(), events)

    assert disturbed.session == undisturbed.session
    assert bill(disturbed.session) == bill(undisturbed.session)
    assert told(disturbed.callbacks) == told(undisturbed.callbacks)


@given(deliveries())
def test_callbacks_are_numbered_without_gaps_per_kind(events: list[AnyCarrierEvent]) -> None:
    callbacks = hear(active_session(), events).callbacks

    for kind in ("session", "recording"):
        numbers = [c.sequence for c in callbacks if c.kind == kind]
        assert numbers == list(range(1, len(numbers) + 1))
        assert [c.params["SequenceNumber"] for c in callbacks if c.kind == kind] == [str(n) for n in numbers]


@given(deliveries())
def test_an_event_heard_twice_changes_nothing_the_second_time(events: list[AnyCarrierEvent]) -> None:
    session = hear(active_session(), events).session

    again = hear(session, events)

    assert again.session is session
    assert again.callbacks == ()
