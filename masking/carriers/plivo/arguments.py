"""What we ask of Plivo for a session, in the words of its API (masking-session-api.txt, "Create" and "Update")."""

from __future__ import annotations

from masking.domain.session import Session
from masking.domain.terms import Change, PinTerms, Terms

Arguments = dict[str, object]

KEPT = {"callback_url", "callback_method", "recording_callback_url", "recording_callback_method"}
"""Plivo tells us, and we our customer: these are never the customer's."""


def create_arguments(session: Session, expiry: int, callbacks_url: str) -> Arguments:
    """The body of a create.

    Args:
        expiry: seconds from its creation.
        callbacks_url: where Plivo tells of this session and of no other; it names ours at Plivo.
    """
    terms = session.terms
    return _given(
        {
            "first_party": terms.first_party,
            "second_party": terms.second_party,
            "session_expiry": expiry,
            **_changeable(terms),
            "geomatch": terms.geomatch,
            "initiate_call_to_first_party": terms.initiate_call_to_first_party,
            "create_session_with_single_party": terms.single_party or None,
            "virtual_number_cooloff_period": terms.virtual_number_cooloff_period or None,
            "unknown_caller_play": terms.unknown_caller_play,
            **(_pins(terms.pin) if terms.pin is not None else {}),
            "callback_url": callbacks_url,
            "callback_method": "POST",
            "recording_callback_url": callbacks_url,
            "recording_callback_method": "POST",
        }
    )


def update_arguments(change: Change, *, single_party: bool) -> Arguments:
    """The body of an update: what changes, and no more."""
    fixed = set() if single_party else {"first_party", "second_party"}
    return change.model_dump(exclude_none=True, exclude={*KEPT, *fixed})


def _changeable(terms: Terms) -> Arguments:
    return {
        "call_time_limit": terms.call_time_limit,
        "ring_timeout": terms.ring_timeout,
        "record": terms.record,
        "record_file_format": terms.record_file_format,
        "first_party_play_url": terms.first_party_play_url,
        "second_party_play_url": terms.second_party_play_url,
    }


def _pins(pin: PinTerms) -> Arguments:
    return {
        "is_pin_authentication_required": True,
        "generate_pin": pin.generate or None,
        "generate_pin_length": pin.generate_length if pin.generate else None,
        "first_party_pin": "" if pin.generate else pin.first_party,
        "second_party_pin": "" if pin.generate else pin.second_party,
        "pin_prompt_play": pin.prompt_play,
        "pin_retry": pin.retry,
        "pin_retry_wait": pin.retry_wait,
        "incorrect_pin_play": pin.incorrect_play,
        "force_pin_authentication": pin.force or None,
    }


def _given(arguments: Arguments) -> Arguments:
    """Without what was not given."""
    return {name: value for name, value in arguments.items() if value not in (None, "")}
