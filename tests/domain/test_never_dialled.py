"""A call whose caller left before anybody was dialled has one leg, as Plivo counts (plivo-wire.md §5.2)."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from masking.domain.bill.charges import Charge, bill
from masking.domain.bill.corrections import corrected, correction
from masking.domain.bill.ledger import entries_of
from masking.domain.events import AnyCarrierEvent, LegName, Ring
from masking.domain.interaction import resource_ids
from masking.domain.lifecycle import elapsed, given_up, settled
from masking.domain.session import Phase, Session
from masking.domain.story import story
from masking.domain.timeline import Happened, timeline
from tests.domain.conversation import active_session, answered_call, at, call, hangup, hear, unheard_call

CALL = call(recorded=False)
ANSWER, NEVER, LEFT = unheard_call(CALL)


def of_before(session: Session) -> Session:
    return session.model_copy(update={"revision": 4})


@pytest.mark.parametrize("order", [*itertools.permutations((ANSWER, NEVER, LEFT))])
def test_it_counts_one_leg_and_the_end_of_the_other_is_not_told(order: tuple[AnyCarrierEvent, ...]) -> None:
    session, callbacks = hear(active_session(), order)
    assert sorted(each.name for each in callbacks) == [
        "SessionFirstPartyAnswer", "SessionFirstPartyHangup", "SessionPartiesHangup",
    ]  # fmt: skip
    parties = next(each for each in callbacks if each.name == "SessionPartiesHangup")
    assert (parties.params["Duration"], parties.at) == ("2", at(12))
    calls = bill(session).calls
    assert (calls.call_count, calls.duration, calls.billed_duration) == (1, 2, 60)
    assert [(entry.leg, entry.amount) for entry in entries_of(session)] == [("caller", Decimal("0.00850"))]
    assert resource_ids(session.interactions["call-1"]) == (("leg", "call-1-caller"),)


def test_it_is_over_with_its_caller() -> None:
    session = hear(active_session(), [ANSWER, NEVER, LEFT]).session
    assert session.interactions["call-1"].over_since == at(12)
    assert settled(elapsed(session, at(3600)).session, at(3600)).session.phase is Phase.SETTLED


def test_people_read_that_nobody_was_dialled() -> None:
    session = hear(active_session(), [ANSWER, NEVER, LEFT]).session
    assert "- the first party was not dialled: its caller had left" in story(session)
    entries = timeline(session, (), (), str).entries
    assert [entry.party for entry in entries if entry.what is Happened.LEFT] == ["second"]


def test_one_of_whom_nothing_was_ever_told_is_taken_for_never_dialled() -> None:
    """It is us who tell the carrier to dial, and we have not."""
    given = given_up(hear(active_session(), [ANSWER, LEFT]).session, at(72))
    assert [each.name for each in given.callbacks] == ["SessionPartiesHangup"]
    assert bill(given.session).calls.call_count == 1


def test_one_who_is_known_to_ring_counts_and_its_end_is_told_though_nobody_told_us() -> None:
    rings = Ring(event_id="call-1:callee:ring", at=at(10), call=CALL)
    given = given_up(hear(active_session(), [ANSWER, rings, LEFT]).session, at(72))
    assert [each.name for each in given.callbacks] == ["SessionSecondPartyHangup", "SessionPartiesHangup"]
    assert bill(given.session).calls.call_count == 2


def test_of_one_that_was_told_to_ring_the_end_is_told_also_where_the_record_has_no_leg() -> None:
    """The caller left between our answer and the carrier's dialling: the customer waits for the end of that ringing."""
    rings = Ring(event_id="call-1:callee:ring", at=at(10), call=CALL)
    session, callbacks = hear(active_session(), [ANSWER, rings, LEFT, NEVER])
    assert [each.name for each in callbacks][1:] == [
        "SessionSecondPartyRing", "SessionFirstPartyHangup", "SessionSecondPartyHangup", "SessionPartiesHangup",
    ]  # fmt: skip
    assert callbacks[3].params["Duration"] == "0"
    assert bill(session).calls.call_count == 1


def test_a_carrier_that_tells_of_the_leg_after_all_is_believed() -> None:
    session = hear(active_session(), [ANSWER, LEFT]).session
    session = given_up(elapsed(session, at(3600)).session, at(4000)).session
    closed = settled(session, at(4000)).session
    late = corrected(closed, [hangup(CALL, LegName.CALLEE, 30, 15)])
    change = correction(closed, late)
    assert change == Charge(call_count=1, duration=15, billed_duration=60, amount=Decimal("0.00850"))

    answered = hear(active_session(), [*answered_call(CALL)[:3], NEVER, LEFT]).session
    assert bill(answered).calls.call_count == 2, "who answered had been dialled"


def test_a_session_of_before_counts_and_tells_it_as_it_did() -> None:
    session, callbacks = hear(of_before(active_session()), [ANSWER, NEVER, LEFT])
    assert [each.name for each in callbacks] == [
        "SessionFirstPartyAnswer", "SessionSecondPartyHangup", "SessionFirstPartyHangup", "SessionPartiesHangup",
    ]  # fmt: skip
    assert bill(session).calls.call_count == 2
    silent = given_up(hear(of_before(active_session()), [ANSWER, LEFT]).session, at(72))
    assert [each.name for each in silent.callbacks] == ["SessionSecondPartyHangup", "SessionPartiesHangup"]
    assert bill(silent.session).calls.call_count == 2
    assert bill(corrected(silent.session, [NEVER])).calls.call_count == 2
