"""What a decision about a call adds to the histories of the sessions it is about."""

from __future__ import annotations

from datetime import datetime

from masking.domain.events import Answer, AnyCarrierEvent, Call, Declined, LegName, PinStatus, Ring
from masking.domain.routing import AskPin, Connect, Decision, Reason, Route


def call_of(call_uuid: str, route: Route, decision: Decision) -> Call:
    """The call as it was decided."""
    connected = isinstance(decision, Connect)
    return Call(
        call_uuid=call_uuid,
        caller=route.caller,
        from_number=route.caller_number,
        to_number=route.callee_number if connected else "",
        dialled=connected,
        recorded=isinstance(decision, Connect) and decision.record is not None,
        reason=decision.reason,
    )


def events_of(call_uuid: str, route: Route, decision: Decision, now: datetime) -> tuple[AnyCarrierEvent, ...]:
    """What the session of `route` hears of a decision.

    The carrier has no webhook for the callee's ringing: it begins when the carrier gets our answer.
    """
    call = call_of(call_uuid, route, decision)
    if not isinstance(decision, Connect):
        if isinstance(decision, AskPin):
            # What comes of the question is told instead.
            return ()
        return (Declined(event_id=f"{call_uuid}:declined", at=now, call=call, decision=type(decision).__name__),)
    begun: list[AnyCarrierEvent] = []
    if decision.pin is not None:
        begun.append(
            PinStatus(
                event_id=f"{call_uuid}:pin", at=now, call=call, status=decision.pin, retry_counter=decision.wrong_pins
            )
        )
    begun.append(
        Answer(event_id=f"{call_uuid}:caller:answer", at=now, call=call, leg=LegName.CALLER, leg_uuid=call_uuid)
    )
    begun.append(Ring(event_id=f"{call_uuid}:callee:ring", at=now, call=call))
    return tuple(begun)


def placed_call(call_uuid: str, route: Route) -> Call:
    """A call that we made to the first party, before it is answered."""
    return Call(
        call_uuid=call_uuid,
        caller=route.caller,
        from_number=route.caller_number,
        to_number="",
        dialled=False,
        reason=Reason.FIRST_PARTY_CALLED,
    )


def wrong_pin(call_uuid: str, asked: Route, wrong_pins: int, now: datetime) -> PinStatus:
    """What the session that asked hears of a wrong PIN, the `wrong_pins`-th of the call."""
    call = Call(call_uuid=call_uuid, caller=asked.caller, from_number=asked.caller_number, to_number="", dialled=False)
    return PinStatus(
        event_id=f"{call_uuid}:pin:{wrong_pins}", at=now, call=call, status="failed", retry_counter=wrong_pins
    )
