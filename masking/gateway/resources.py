"""Sessions in Plivo's shapes (masking-session-api.txt, plivo-wire.md §1.5 and §5).

The strictest client decodes into typed structs: whole numbers stay whole, `amount` is an
integer, `interaction` an array or null.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from masking.domain.events import RecordingCompleted
from masking.domain.interaction import Interaction
from masking.domain.session import Session, bill, interaction_charge
from masking.domain.wire_format import plivo_number, plivo_time

Json = dict[str, Any]


def account_url(base_url: str, auth_id: str) -> str:
    """Where an account's resources are served, without a slash at the end."""
    return f"{base_url}/v1/Account/{auth_id}"


def session_resource(session: Session) -> Json:
    """The Session Object."""
    terms, totals = session.terms, bill(session)
    return {
        "first_party": plivo_number(terms.first_party),
        "second_party": plivo_number(terms.second_party),
        "virtual_number": plivo_number(session.virtual_number),
        "status": session.status,
        "initiate_call_to_first_party": False,
        "is_pin_authentication_required": False,
        "generate_pin": None,
        "generate_pin_length": None,
        "first_party_pin": None,
        "second_party_pin": None,
        "pin_prompt_play": None,
        "pin_retry": None,
        "pin_retry_wait": None,
        "incorrect_pin_play": None,
        "unknown_caller_play": "",
        "force_pin_authentication": None,
        "create_session_with_single_party": None,
        "virtual_number_cooloff_period": terms.virtual_number_cooloff_period,
        "first_party_play_url": "",
        "second_party_play_url": "",
        "session_uuid": session.session_uuid,
        "callback_url": terms.callback_url,
        "callback_method": terms.callback_method,
        "created_time": plivo_time(session.created_at),
        "modified_time": plivo_time(session.modified_at),
        "expiry_time": plivo_time(session.expires_at),
        "duration": session.duration,
        "amount": int(totals.session_amount),
        "call_time_limit": terms.call_time_limit,
        "ring_timeout": terms.ring_timeout,
        "record": terms.record,
        "record_file_format": terms.record_file_format,
        "recording_callback_url": terms.recording_callback_url,
        "recording_callback_method": terms.recording_callback_method,
        "interaction": [_interaction(session, i) for i in session.conversations] or None,
        "total_call_amount": _number(totals.calls.amount),
        "total_call_count": totals.calls.call_count,
        "total_call_billed_duration": totals.calls.billed_duration,
        "total_session_amount": _number(totals.total_amount),
        "last_interaction_time": plivo_time(totals.last_interaction_time),
    }


def _interaction(session: Session, interaction: Interaction) -> Json:
    """The Interaction Object; keys without a value are left out, as the real service does."""
    charge = interaction_charge(interaction, session.rate)
    legs = {f"{side}_party_resource_url": leg.leg_uuid for side, leg in interaction.legs}
    recording = interaction.recording
    optional = {
        "end_time": plivo_time(interaction.ended_at),
        **{key: f"{session.resource_base_url}/Call/{uuid}" for key, uuid in legs.items() if uuid},
        "recording_resource_url": f"{session.resource_base_url}/Recording/{recording.recording_id}"
        if isinstance(recording, RecordingCompleted)
        else "",
    }
    return {
        "start_time": plivo_time(interaction.first_seen_at),
        **{key: value for key, value in optional.items() if value},
        "type": "call",
        "auth_id": session.account_id,
        "total_call_amount": _number(charge.amount),
        "call_billed_duration": charge.billed_duration,
        "total_call_count": charge.call_count,
        "duration": charge.duration,
    }


def _number(amount: Decimal) -> int | float:
    """A JSON number; whole amounts without a fraction."""
    return int(amount) if amount == int(amount) else float(amount)
