"""A session as the account that asks for it sees it."""

from __future__ import annotations

from datetime import datetime

from masking.domain.bill.charges import bill, interaction_charge
from masking.domain.events import RecordingCompleted
from masking.domain.interaction import Interaction
from masking.domain.session import Session
from masking.domain.terms import Terms
from masking.domain.wire_format import plivo_number, plivo_time
from masking.gateway.resources import InteractionObject, Json, ListedSession, SessionObject
from masking.house import account_url


def seen_by(session: Session, base_url: str, auth_id: str) -> Session:
    """The session with its resources where `auth_id` finds them, whichever account of the owner's created it."""
    return session.model_copy(update={"resource_base_url": account_url(base_url, auth_id)})


def session_object(session: Session, now: datetime) -> SessionObject:
    """The Session Object at a moment."""
    terms, totals = session.terms, bill(session)
    ends = [interaction.over_since for interaction in session.conversations]
    return SessionObject(
        first_party=plivo_number(terms.first_party),
        second_party=plivo_number(terms.second_party),
        virtual_number=plivo_number(session.virtual_number),
        status=session.status_at(now),
        initiate_call_to_first_party=terms.initiate_call_to_first_party,
        **_pin_attributes(terms),
        unknown_caller_play=terms.unknown_caller_play,
        create_session_with_single_party=terms.single_party,
        first_party_play_url=terms.first_party_play_url,
        second_party_play_url=terms.second_party_play_url,
        virtual_number_cooloff_period=terms.virtual_number_cooloff_period,
        session_uuid=session.session_uuid,
        callback_url=terms.callback_url,
        callback_method=terms.callback_method,
        created_time=plivo_time(session.created_at),
        modified_time=plivo_time(session.modified_at),
        expiry_time=plivo_time(session.expires_at),
        duration=session.duration,
        amount=int(totals.session_amount),
        call_time_limit=terms.call_time_limit,
        ring_timeout=terms.ring_timeout,
        record=terms.record,
        record_file_format=terms.record_file_format,
        recording_callback_url=terms.recording_callback_url,
        recording_callback_method=terms.recording_callback_method,
        interaction=[_interaction(session, i) for i in session.conversations] or None,
        total_call_amount=totals.calls.amount,
        total_call_count=totals.calls.call_count,
        total_call_billed_duration=totals.calls.billed_duration,
        total_session_amount=totals.total_amount,
        last_interaction_time=plivo_time(max((each for each in ends if each is not None), default=None)),
    )


def listed(session: Session, now: datetime, auth_id: str) -> ListedSession:
    """The Session Object as lists show it: with its address."""
    address = f"/v1/Account/{auth_id}/Masking/Session/{session.session_uuid}/"
    return ListedSession(**dict(session_object(session, now)), resource_uri=address)


def _pin_attributes(terms: Terms) -> Json:
    """Null where no PIN is asked for, as the real service shows it (plivo-wire.md §5.1)."""
    pin = terms.pin
    if pin is None:
        return {}
    return {
        "is_pin_authentication_required": True,
        "generate_pin": pin.generate,
        "generate_pin_length": pin.generate_length,
        "first_party_pin": pin.first_party or None,
        "second_party_pin": pin.second_party or None,
        "pin_prompt_play": pin.prompt_play,
        "pin_retry": pin.retry,
        "pin_retry_wait": pin.retry_wait,
        "incorrect_pin_play": pin.incorrect_play,
        "force_pin_authentication": pin.force,
    }


def _interaction(session: Session, interaction: Interaction) -> InteractionObject:
    charge = interaction_charge(session, interaction)
    base = session.resource_base_url
    legs = {
        f"{side}_party_resource_url": f"{base}/Call/{leg.leg_uuid}" for side, leg in interaction.legs if leg.leg_uuid
    }
    recording = interaction.recording
    if isinstance(recording, RecordingCompleted):
        legs["recording_resource_url"] = f"{base}/Recording/{recording.recording_id}"
    return InteractionObject(
        start_time=plivo_time(interaction.first_seen_at),
        end_time=plivo_time(interaction.over_since) or None,
        auth_id=session.account_id,
        total_call_amount=charge.amount,
        call_billed_duration=charge.billed_duration,
        total_call_count=charge.call_count,
        duration=charge.duration,
        **legs,
    )
