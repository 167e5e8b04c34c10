"""Whatever a caller asks for by Temporal itself, a session can compute its times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking.domain.bill.charges import bill
from masking.domain.deadlines import calls_deadline, own_deadline
from masking.domain.lifecycle import changed, requested
from masking.domain.limits import fault_of_change, fault_of_request
from masking.domain.terms import Change, PinTerms
from tests.domain.conversation import START, active_session, answered_call, at, call, hear, request

ANY_INT = st.one_of(st.none(), st.integers(), st.integers(-10, 90_000))


@given(st.builds(Change, session_expiry=ANY_INT, call_time_limit=ANY_INT, ring_timeout=ANY_INT))
def test_a_change_without_fault_leaves_times_that_can_be_computed(change: Change) -> None:
    session = hear(active_session(), answered_call(call())[:2]).session
    if fault_of_change(change) is not None:
        return

    after = changed(session, change, at(100)).session

    assert at(100) < after.expires_at <= max(session.expires_at, at(100 + 86_400))
    own, calls = own_deadline(after), calls_deadline(after)
    assert own is not None
    assert own.at == after.expires_at
    assert calls is not None
    assert calls.at > at(10)


@given(st.integers())
def test_any_expiry_makes_a_session_that_can_be_refused(seconds: int) -> None:
    session = requested(request(session_expiry=seconds), START)

    assert bill(session).duration == session.duration
    faultless = fault_of_request(session.duration, session.terms) is None
    assert faultless == (1 <= seconds <= 86_400)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"session_expiry": 0}, "session_expiry must be from 1 to 86400 seconds."),
        ({"session_expiry": 10**13}, "session_expiry must be from 1 to 86400 seconds."),
        ({"call_time_limit": 86_401}, "call_time_limit must be from 1 to 86400 seconds."),
        ({"ring_timeout": -1}, "ring_timeout must be from 1 to 600 seconds."),
        ({"callback_url": "https://x.example/" + "a" * 982}, "callback_url must have at most 999 characters."),
        ({"callback_url": "https://x.example/" + "a" * 981}, None),
        ({"first_party": "4155550100"}, "first_party must be a phone number in E.164, such as +14155550100."),
        ({"second_party": ""}, "second_party must be a phone number in E.164, such as +14155550100."),
        ({"second_party": "+14155550100\n"}, "second_party must be a phone number in E.164, such as +14155550100."),
        ({"first_party": "+2903000", "second_party": "+14155550100"}, None),
        ({"session_expiry": 86_400, "call_time_limit": 1, "ring_timeout": 600}, None),
    ],
)
def test_a_fault_names_the_argument_and_its_rule(change: dict[str, object], fault: str | None) -> None:
    assert fault_of_change(Change.model_validate(change)) == fault


def test_a_request_may_not_have_its_number_rest_for_ever() -> None:
    terms = request().terms.model_copy(update={"virtual_number_cooloff_period": 10**13})
    fault = fault_of_request(3600, terms)
    assert fault == "virtual_number_cooloff_period must be from 0 to 3600 seconds."


@pytest.mark.parametrize("waits", [{"pair_grace": -1}, {"pair_grace": 86_401}, {"recording_wait": 10**13}])
def test_a_request_may_not_have_others_wait_for_ever(waits: dict[str, int]) -> None:
    (name,) = waits
    assert fault_of_request(3600, request().terms, **waits) == f"{name} must be from 0 to 86400 seconds."
    assert fault_of_request(3600, request().terms, pair_grace=86_400, recording_wait=86_400) is None


@pytest.mark.parametrize(
    ("pin", "fault"),
    [
        ({"generate_length": 10**9}, "generate_pin_length must be from 4 to 15."),
        ({"generate_length": 3}, "generate_pin_length must be from 4 to 15."),
        ({"retry": 6}, "pin_retry must be from 0 to 5."),
        ({"retry_wait": 61}, "pin_retry_wait must be from 0 to 60 seconds."),
        ({"first_party": "123"}, "first_party_pin must have 4 to 15 digits."),
        ({"second_party": "1" * 16}, "second_party_pin must have 4 to 15 digits."),
        ({"second_party": "47#1"}, "second_party_pin must have 4 to 15 digits."),
        ({"first_party": "4711", "second_party": "4711"}, "second_party_pin must differ from first_party_pin."),
        ({"prompt_play": "a" * 1000}, "pin_prompt_play and incorrect_pin_play must have at most 999 characters."),
        ({"first_party": "1" * 15, "second_party": "4711", "generate_length": 15, "retry": 5, "retry_wait": 60}, None),
    ],
)
def test_pins_are_such_as_can_be_made_and_entered(pin: dict[str, object], fault: str | None) -> None:
    given = PinTerms.model_validate({"prompt_play": "https://customer.example/pin.mp3", **pin})
    assert fault_of_request(3600, request().terms.model_copy(update={"pin": given})) == fault
