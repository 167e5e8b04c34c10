"""What a session takes in: events, wherever its carrier tells them."""

from __future__ import annotations

from masking.domain.callbacks import timeout_notice
from masking.domain.counterpart.placing import placed
from masking.domain.events import AnyCarrierEvent, Declined, PinStatus, SessionEnded
from masking.domain.lifecycle import Step, stepped, took
from masking.domain.session import Phase, Session


def heard(session: Session, event: AnyCarrierEvent) -> Step:
    """A carrier told something. An event that tells nothing new changes nothing."""
    if session.carrier == "voice":
        return took(session, event)
    if isinstance(event, SessionEnded):
        return _ended(session, event)
    if isinstance(event, Declined) or (isinstance(event, PinStatus) and not event.call.dialled):
        return took(session, event)
    known = placed(session, event)
    return took(session, known) if known is not None else Step(session)


def _ended(session: Session, event: SessionEnded) -> Step:
    """The carrier forwards no call any more: neither do we say that it does."""
    if session.phase is not Phase.ACTIVE:
        return Step(session)
    ended_at = min(event.at, session.expires_at)
    return stepped(session, timeout_notice(ended_at), phase=Phase.DRAINING, expires_at=ended_at)
