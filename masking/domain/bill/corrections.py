"""What events that came after the bill was closed would have made of it. The bill itself stands."""

from __future__ import annotations

from collections.abc import Iterable

from masking.domain.bill.charges import Charge, bill
from masking.domain.counterpart.placing import placed
from masking.domain.events import AnyCarrierEvent, SessionEnded
from masking.domain.interaction import taken_in
from masking.domain.session import Session, by_the_rules_of


def corrected(session: Session, late: Iterable[AnyCarrierEvent]) -> Session:
    """The session as it would be had it heard these events in time.

    What had been taken for granted about a silent call gives way to what was told of it.
    """
    interactions = dict(session.interactions)
    for told in late:
        event = _of_a_call(session.model_copy(update={"interactions": interactions}), told)
        if event is None:
            continue
        event = by_the_rules_of(session, event)
        interactions[event.call.call_uuid] = taken_in(interactions.get(event.call.call_uuid), event)
    return session.model_copy(update={"interactions": interactions})


def _of_a_call(session: Session, event: AnyCarrierEvent) -> AnyCarrierEvent | None:
    """The event with its call; None for one that can change no bill."""
    if session.carrier == "voice":
        return event
    if isinstance(event, SessionEnded) or (session.counterpart is not None and session.counterpart.reconciled):
        return None
    return placed(session, event)


def correction(before: Session, after: Session) -> Charge:
    """What has to be added to the charge of all calls; parts may be negative."""
    return bill(after).calls - bill(before).calls
