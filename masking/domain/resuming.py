"""Having a session go on from its stored state, once the workflow that it was in is lost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from masking.domain.events import AnyCarrierEvent
from masking.domain.hearing import heard
from masking.domain.lifecycle import stepped
from masking.domain.session import Phase, Session
from masking.domain.start import Carried, SessionStart

NOT_CALLED = "the first party could not be called"
"""How the remark begins that tells so."""


def resumed(session: Session, now: datetime) -> Session:
    """The session as it goes on, from `now` (UTC) on. Nobody is told of it."""
    return stepped(session, resumed=(*session.resumed, now)).session


def lacking(session: Session, events: Iterable[AnyCarrierEvent]) -> tuple[AnyCarrierEvent, ...]:
    """Those of the events that tell a session something, given all that were put in for it, in their order.

    Each fact has one slot in a session, so what it knows tells it nothing. Where a carrier masks and its record was
    looked at, that has the last word: events that the record put elsewhere would count as new.
    """
    if session.counterpart is not None and session.counterpart.reconciled:
        return ()
    found: list[AnyCarrierEvent] = []
    for event in events:
        after = heard(session, event).session
        if after is not session:
            found.append(event)
            session = after
    return tuple(found)


def start_of_resumed(session: Session, lost_run: str, update_ids: tuple[str, ...] = ()) -> SessionStart:
    """What a run begins with that takes over.

    Args:
        session: as `resumed` gives it, and as it is in the database.
        lost_run: the id of the run before it; empty where Temporal has none.
        update_ids: the updates that this one answered, as far as is known, oldest first.
    """
    return SessionStart(
        session_uuid=session.session_uuid,
        account_id=session.account_id,
        subaccount_id=session.subaccount_id,
        terms=session.terms,
        session_expiry=session.duration,
        pair_grace=session.pair_grace,
        recording_wait=session.recording_wait,
        at_expiry=session.at_expiry,
        rate=session.rate,
        session_fee=session.session_fee,
        resource_base_url=session.resource_base_url,
        carrier=session.carrier,
        carried=Carried(session=session, update_ids=update_ids, outlives_cancel=True, resumes=lost_run),
    )


def owes_first_call(session: Session) -> bool:
    """Whether the call to the first party, with which a session is to begin, is not known to have been made."""
    return (
        session.phase is Phase.ACTIVE
        and session.terms.initiate_call_to_first_party
        and not any(each.placed_at is not None for each in session.interactions.values())
        and not any(remark.startswith(NOT_CALLED) for remark in session.remarks)
    )
