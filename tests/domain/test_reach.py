"""Who would have reached whom at a past moment. Whole stories are compared with real calls in tests/storage."""

from __future__ import annotations

import pytest

from masking.domain.events import Side
from masking.domain.lifecycle import changed, expired, opened, requested
from masking.domain.reach import in_words, reaches
from masking.domain.session import Session
from masking.domain.terms import Change, PinTerms
from tests.domain.conversation import FIRST, SECOND, START, STRANGER, VIRTUAL, active_session, at, request

LATER = "+12025550103"


def session_with(**terms: object) -> Session:
    base = request(session_expiry=600)
    asked = base.model_copy(update={"terms": base.terms.model_copy(update=terms), "pair_grace": 60})
    return opened(requested(asked, START), VIRTUAL).session


def told(session: Session, caller: str, seconds: float, pin: str = "") -> list[str]:
    return [in_words(reach, at(seconds)) for reach in reaches([session], caller, pin, at(seconds))]


def test_a_party_reaches_the_other_until_the_expiry_and_hears_of_the_end_until_the_grace_is_over() -> None:
    session = session_with()
    assert told(session, SECOND, 599.999) == ["knows it as its second party, and connects it"]
    assert told(session, SECOND, 600) == ["knows it as its second party, and says that it has ended"]
    assert told(session, SECOND, 659.999) == ["knows it as its second party, and says that it has ended"]
    assert told(session, SECOND, 660) == []
    assert told(session, SECOND, -1) == []
    assert told(session, STRANGER, 10) == []


def test_an_early_end_counts_from_when_it_came() -> None:
    session = expired(session_with(), at(100)).session
    assert told(session, FIRST, 99) == ["knows it as its first party, and connects it"]
    assert told(session, FIRST, 100) == ["knows it as its first party, and says that it has ended"]
    assert told(session, FIRST, 161) == []


def test_a_single_party_took_anyone_until_it_was_joined() -> None:
    session = session_with(second_party="", single_party=True)
    session = changed(session, Change(second_party=SECOND), at(50)).session
    session = changed(session, Change(second_party=LATER), at(100)).session

    assert told(session, STRANGER, 49) == ["takes anyone for its second party, and connects it"]
    assert told(session, "", 49) == ["takes anyone for its second party, and connects it"]
    assert told(session, STRANGER, 50) == []
    assert told(session, SECOND, 99) == ["knows it as its second party, and connects it"]
    assert told(session, SECOND, 100) == ["knows it as its second party, and says that it has ended"]
    assert told(session, SECOND, 660) == [], "its route was held by the expiry of its time"
    assert told(session, LATER, 101) == ["knows it as its second party, and connects it"]
    assert told(session, FIRST, 10) == ["knows it as its first party, and connects the last caller"]


def test_a_stranger_is_asked_for_a_pin_and_a_right_one_makes_it_a_party() -> None:
    pin = PinTerms(first_party="1111", second_party="2222", prompt_play="https://customer.example/pin.mp3")
    session = session_with(pin=pin)
    (asked,) = reaches([session], STRANGER, "", at(10))
    assert (asked.recognised, asked.party) == ("stranger", None)
    assert in_words(asked, at(10)) == "asks strangers for a PIN"
    assert told(session, STRANGER, 10, "3333") == ["asks strangers for a PIN"]
    assert told(session, STRANGER, 10, "2222") == ["takes its PIN for the second party's, and connects it"]
    assert told(session, STRANGER, 610, "2222") == ["takes its PIN for the second party's, and says that it has ended"]
    assert told(session, STRANGER, 610) == []
    forced = session_with(pin=pin.model_copy(update={"force": True}))
    assert told(forced, FIRST, 10) == ["knows it as its first party, and asks for a PIN before it connects"]


def test_an_announcement_is_all_that_a_stranger_gets() -> None:
    session = session_with(unknown_caller_play="https://customer.example/unknown.mp3")
    assert told(session, STRANGER, 10) == ["plays its announcement to strangers"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_live_session_of_a_caller_stands_before_the_one_that_cools(order: int) -> None:
    ended = expired(session_with(), at(10)).session
    live = active_session().model_copy(update={"session_uuid": "live", "created_at": at(11)})
    found = reaches([ended, live][::order], FIRST, "", at(20))
    assert [(each.session.session_uuid, each.live, each.party) for each in found] == [
        ("live", True, Side.FIRST),
        (ended.session_uuid, False, Side.FIRST),
    ]


def test_of_several_sessions_the_one_that_asks_for_a_pin_meets_the_stranger() -> None:
    pin = PinTerms(first_party="1111", second_party="2222", prompt_play="https://customer.example/pin.mp3")
    announcing = session_with(unknown_caller_play="https://customer.example/unknown.mp3")
    asking = session_with(pin=pin).model_copy(update={"session_uuid": "asks", "expires_at": at(300)})
    assert [r.session.session_uuid for r in reaches([announcing, asking], STRANGER, "", at(10))] == ["asks"]
    assert [r.session for r in reaches([announcing, asking], STRANGER, "", at(400))] == [announcing]
