"""The stub of Plivo takes what the API description allows, and nothing else: what we send is measured by it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from masking.carriers.plivo.arguments import create_arguments, update_arguments
from masking.domain.lifecycle import requested
from masking.domain.terms import Change, PinTerms
from tests.carriers.plivo.stub_arguments import Refused, check_create, check_update
from tests.domain.conversation import FIRST, SECOND, START, request
from tests.integration.test_plivo_faults import KINDS

PROMPT = "https://customer.example/pin.mp3"
PARTIES: dict[str, object] = {"first_party": FIRST, "second_party": SECOND}
PIN: dict[str, object] = {"is_pin_authentication_required": True, "pin_prompt_play": PROMPT}
GIVEN: dict[str, object] = {**PIN, "first_party_pin": "1234", "second_party_pin": "4711"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: ", ".join(kind) or "plain")
def test_what_we_ask_for_is_taken(kind: Mapping[str, object]) -> None:
    base = request()
    terms = base.terms.model_copy(update=dict(kind))
    session = requested(base.model_copy(update={"terms": terms, "carrier": "plivo"}), START)
    created = create_arguments(session, 3600, "https://masking.example/told")
    check_create(created)
    change = Change(
        session_expiry=600, record=True, ring_timeout=30, second_party=SECOND, callback_url="https://x.example"
    )
    check_update(update_arguments(change, single_party=terms.single_party), created)


def test_pins_that_are_made_are_not_given_and_those_of_a_missing_party_neither() -> None:
    made = request().terms.model_copy(update={"pin": PinTerms(generate=True, prompt_play=PROMPT)})
    session = requested(request().model_copy(update={"terms": made, "carrier": "plivo"}), START)
    sent = create_arguments(session, 3600, "https://masking.example/told")
    assert {name for name in sent if "pin" in name} == {
        "is_pin_authentication_required", "generate_pin", "generate_pin_length", "pin_prompt_play", "pin_retry",
        "pin_retry_wait",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "first_party must be present"),
        ({"first_party": FIRST}, "second_party must be present"),
        ({"create_session_with_single_party": True}, "first_party must be present"),
        (
            {"create_session_with_single_party": True, "second_party": SECOND, "initiate_call_to_first_party": True},
            "first_party must be present",
        ),
        ({**PARTIES, "first_party": "12"}, "first_party is not a valid phone number"),
        ({**PARTIES, "record": "yes"}, "record allowed values are true or false"),
        ({**PARTIES, "record_file_format": "ogg"}, "record_file_format allowed values are mp3 or wav"),
        ({**PARTIES, "session_expiry": 59}, "session_expiry is outside the allowed range"),
        ({**PARTIES, "ring_timeout": "30"}, "ring_timeout is outside the allowed range"),
        ({**PARTIES, "virtual_number_cooloff_period": 3601}, "virtual_number_cooloff_period is outside"),
        ({**PARTIES, "callback_url": "ftp://x.example"}, "callback_url should be a valid URL"),
        ({**PARTIES, "unknown_caller_play": "https://x.example/a.ogg"}, "unknown_caller_play should be .mp3 or .wav"),
        ({**PARTIES, "colour": "blue"}, "colour is not known"),
        ({**PARTIES, "subaccount": None}, "subaccount is not known"),
        ({**PARTIES, "generate_pin": True}, "generate_pin needs is_pin_authentication_required"),
        ({**PARTIES, "is_pin_authentication_required": True}, "pin_prompt_play must be present"),
        ({**PARTIES, **PIN}, "first_party_pin must be present"),
        ({**PARTIES, **GIVEN, "second_party_pin": "1234"}, "second_party_pin must differ"),
        ({**PARTIES, **GIVEN, "second_party_pin": "123"}, "second_party_pin should have 4 to 15 digits"),
        ({**PARTIES, **GIVEN, "generate_pin": True}, "first_party_pin does not apply when generate_pin"),
        ({**PARTIES, **GIVEN, "generate_pin_length": 5}, "generate_pin_length applies when generate_pin"),
        ({**PARTIES, **PIN, "generate_pin": True, "generate_pin_length": 16}, "generate_pin_length is outside"),
        ({**PARTIES, **GIVEN, "pin_retry": 6}, "pin_retry is outside"),
        ({**PARTIES, **GIVEN, "pin_retry_wait": 4}, "pin_retry_wait is outside"),
    ],
)
def test_what_the_description_rules_out_is_refused(arguments: dict[str, object], why: str) -> None:
    with pytest.raises(Refused, match=why) as raised:
        check_create(arguments)
    assert raised.value.status == 400


def test_parties_change_where_one_was_missing_and_nothing_that_is_fixed_does() -> None:
    single: dict[str, object] = {"create_session_with_single_party": True, "first_party": FIRST}
    check_update({"second_party": SECOND}, single)
    for created, change in (
        (PARTIES, {"second_party": SECOND}),
        (single, {"pin_retry": 2}),
        (PARTIES, {"geomatch": True}),
    ):
        with pytest.raises(Refused, match="is not known"):
            check_update(change, created)
