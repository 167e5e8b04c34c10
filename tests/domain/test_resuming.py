"""Whatever part of a session was written down when its workflow was lost: it ends as if nothing had been."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masking.domain.bill.charges import bill
from masking.domain.callbacks import Callback
from masking.domain.events import AnyCarrierEvent
from masking.domain.hearing import heard
from masking.domain.lifecycle import elapsed, remarked
from masking.domain.resuming import NOT_CALLED, lacking, owes_first_call, resumed, start_of_resumed
from masking.domain.session import Session
from masking.domain.story import story
from masking.domain.timeline import Happened, timeline
from tests.carriers.plivo.truth import Truth
from tests.domain.conversation import active_session, answered_call, at, call, hear
from tests.domain.test_events_commute import CALLS, PLACED, in_time, told
from tests.domain.test_reconciling import opened_session, played, told_by, truths

LATER = at(7000)


def same(session: Session) -> Session:
    """Without what tells that it was resumed, and how many steps it took."""
    return session.model_copy(update={"resumed": (), "version": 0, "session_sequence": 0, "recording_sequence": 0})


@st.composite
def arrivals(draw: st.DrawFn) -> list[AnyCarrierEvent]:
    """The events of some calls, each once, in the order in which they came in."""
    names = draw(st.lists(st.sampled_from(sorted(CALLS)), unique=True, min_size=1))
    return draw(st.permutations(in_time([event for name in names for event in CALLS[name]])))


@settings(max_examples=settings().max_examples // 2)
@given(arrivals(), st.data())
def test_any_part_that_was_written_and_any_events_that_come_again_end_in_the_same_session(
    events: list[AnyCarrierEvent], data: st.DataObject
) -> None:
    undisturbed = hear(active_session(), events)
    # The lost run had heard them in another order, since some overtook others, and had written down a part.
    reached = data.draw(st.permutations(events))
    written = hear(active_session(), reached[: data.draw(st.integers(0, len(events)))])

    taken = resumed(written.session, LATER)
    come = [*lacking(written.session, events), *data.draw(st.lists(st.sampled_from(events), max_size=5))]
    after = hear(taken, data.draw(st.permutations(come)))

    assert same(after.session) == same(undisturbed.session)
    assert bill(after.session) == bill(undisturbed.session)
    callbacks = (*written.callbacks, *after.callbacks)
    assert told(callbacks) == told(undisturbed.callbacks), "each once, none missing"
    assert numbers(callbacks) == numbers(undisturbed.callbacks)


def numbers(callbacks: tuple[Callback, ...]) -> dict[Any, list[int]]:
    kinds = {callback.kind for callback in callbacks}
    return {kind: sorted(each.sequence for each in callbacks if each.kind == kind) for kind in kinds}


@settings(max_examples=settings().max_examples // 2)
@given(truths(), st.data())
def test_so_does_one_that_plivo_masks(truth: Truth, data: st.DataObject) -> None:
    everything = told_by(truth)
    part = (
        data.draw(st.lists(st.sampled_from(everything), max_size=30, unique_by=lambda e: e.event_id))
        if everything
        else []
    )
    undisturbed = session = opened_session()
    for event in part:
        undisturbed = heard(undisturbed, event).session
    for event in part[: data.draw(st.integers(0, len(part)))]:
        session = heard(session, event).session

    come = lacking(session, part)
    session = resumed(session, LATER)
    for event in come:
        session = heard(session, event).session
    assert same(session) == same(undisturbed)

    # Its record has the last word: nothing is told again that this may have put elsewhere.
    if everything:
        final = played(part, truth)
        assert lacking(final, everything) == ()


def test_what_a_session_knows_does_not_come_again() -> None:
    events = answered_call(call())
    session = hear(active_session(), events[:3]).session
    assert lacking(session, events) == tuple(events[3:])
    assert lacking(hear(session, events).session, events) == ()


def test_a_run_that_takes_over_begins_with_all_that_a_session_is() -> None:
    session = resumed(hear(active_session(), answered_call(call())[:3]).session, LATER)
    start = start_of_resumed(session, "the lost run")

    assert start.carried is not None
    assert (start.carried.session, start.carried.resumes) == (session, "the lost run")
    assert start.carried.outlives_cancel
    common = set(type(start).model_fields) - {"carried", "session_expiry"}
    assert {name: getattr(start, name) for name in common} == {name: getattr(session, name) for name in common}
    assert start.session_expiry == 3600


def first_called(**changes: object) -> Session:
    session = active_session()
    terms = session.terms.model_copy(update={"initiate_call_to_first_party": True})
    return session.model_copy(update={"terms": terms, **changes})


@pytest.mark.parametrize(
    ("session", "owed"),
    [
        pytest.param(active_session(), False, id="nobody asked for one"),
        pytest.param(first_called(), True, id="nothing is known of it"),
        pytest.param(hear(first_called(), [PLACED]).session, False, id="it was made"),
        pytest.param(remarked(first_called(), f"{NOT_CALLED}: it was refused").session, False, id="it was given up"),
        pytest.param(elapsed(first_called(), at(3600)).session, False, id="the session is over"),
    ],
)
def test_the_call_to_the_first_party_is_made_if_it_is_not_known_to_have_been(session: Session, owed: bool) -> None:
    assert owes_first_call(session) is owed


def test_the_story_and_the_timeline_say_that_a_session_was_resumed_and_when() -> None:
    session = resumed(active_session(), datetime.fromisoformat("2026-11-23T14:20:30+00:00"))

    assert "- 14:20:30 resumed from its stored state, since its workflow was lost" in story(session).splitlines()
    (entry,) = (each for each in timeline(session, [], [], str).entries if each.what is Happened.RESUMED)
    assert entry.at == session.resumed[0]
    assert bill(session) == bill(active_session())
