"""How a session follows its counterpart, at a carrier that does the masking itself."""

from __future__ import annotations

from datetime import datetime

from masking.domain.agreement import Agreement
from masking.domain.callbacks import timeout_notice
from masking.domain.counterpart.told import RULES, Counterpart, ToldSession
from masking.domain.lifecycle import Step, changed, opened, stepped
from masking.domain.session import Phase, Session
from masking.domain.terms import Change

OURS = {"callback_url", "callback_method", "recording_callback_url", "recording_callback_method"}
"""What a change may hold that concerns us alone: the customer's callbacks come from us."""


def opened_at_carrier(
    session: Session, told: ToldSession, revision: int, agreement: Agreement | None = None, rules: int = RULES
) -> Step:
    """The carrier made the session: its number, its PINs, and its times, which are when it forwards calls.

    Args:
        revision, rules: those that it follows to its end, as a session and as the follower of its counterpart.
    """
    if session.phase is not Phase.OPENING:
        return Step(session)
    times = {"created_at": told.created_at, "modified_at": told.modified_at, "expires_at": told.expires_at}
    counterpart = Counterpart(session_uuid=told.session_uuid, rules=rules)
    made = session.model_copy(update={"counterpart": counterpart, **times})
    return opened(made, told.virtual_number, told.pins, revision, agreement)


def concerns_carrier(session: Session, change: Change) -> bool:
    """Whether the carrier has to be asked for a change."""
    fixed = set() if session.terms.single_party else {"first_party", "second_party"}
    return bool(change.model_fields_set & set(change.model_dump(exclude_none=True, exclude={*OURS, *fixed})))


def changed_at_carrier(session: Session, change: Change, told: ToldSession, now: datetime) -> Step:
    """Take on what the carrier has taken on. Raises what `changed` raises."""
    step = changed(session, change, now)
    if change.session_expiry is None:
        return step
    return step._replace(session=step.session.model_copy(update={"expires_at": told.expires_at}))


def followed(session: Session, told: ToldSession, now: datetime) -> Step:
    """Let the session end, or go on, as it does at the carrier, where somebody changed that."""
    if session.phase is not Phase.ACTIVE:
        return Step(session)
    if told.expired:
        ended_at = max(session.created_at, min(told.expires_at, now))
        return stepped(session, timeout_notice(ended_at), phase=Phase.DRAINING, expires_at=ended_at)
    if told.expires_at == session.expires_at:
        return Step(session)
    return stepped(session, expires_at=told.expires_at, modified_at=now)
