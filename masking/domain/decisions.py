"""What a decision about a call adds to the histories of the sessions it is about."""

from __future__ import annotations

from datetime import datetime

from masking.domain.bill.money import CallRates
from masking.domain.events import Answer, AnyCarrierEvent, Call, Declined, Hangup, LegName, PinStatus, Ring
from masking.domain.routing import AskPin, Connect, Decision, Reason, Route


def call_of(call_uuid: str, route: Route, decision: Decision, rates: CallRates | None = None) -> Call:
    """The call as it was decided, with the prices of that moment."""
    connected = isinstance(decision, Connect)
    return Call(
        call_uuid=call_uuid,
        caller=route.caller,
        from_number=route.caller_number,
        to_number=route.callee_number if connected else "",
        dialled=connected,
        recorded=isinstance(decision, Connect) and decision.record is not None,
        reason=decision.reason,
        rates=rates,
    )


def events_of(
    call_uuid: str, route: Route, decision: Decision, now: datetime, rates: CallRates | None = None
) -> tuple[AnyCarrierEvent, ...]:
    """What the session of `route` hears of a decision.

    The carrier has no webhook for the callee's ringing: it begins when the carrier is told to dial. That is now,
    or once the caller has heard its audio (`ring_of`).
    """
    call = call_of(call_uuid, route, decision, rates)
    heard: list[AnyCarrierEvent] = []
    if decision.pin is not None:
        heard.append(
            PinStatus(
                event_id=f"{call_uuid}:pin", at=now, call=call, status=decision.pin, retry_counter=decision.wrong_pins
            )
        )
    if isinstance(decision, Connect):
        heard.append(
            Answer(event_id=f"{call_uuid}:caller:answer", at=now, call=call, leg=LegName.CALLER, leg_uuid=call_uuid)
        )
        if not decision.play_to_caller:
            heard.append(ring_of(call, now))
    else:
        # A call may be asked first and declined later. What comes of a question, its own events tell.
        step = "asked" if isinstance(decision, AskPin) else "declined"
        heard.append(Declined(event_id=f"{call_uuid}:{step}", at=now, call=call, decision=type(decision).__name__))
    return tuple(heard)


def ring_id(call_uuid: str) -> str:
    """The identity of the event that the callee of a call rings."""
    return f"{call_uuid}:callee:ring"


def ring_of(call: Call, now: datetime) -> Ring:
    """The carrier is told to dial the callee."""
    return Ring(event_id=ring_id(call.call_uuid), at=now, call=call)


def never_dialled(left: Hangup, event_id: str) -> Hangup:
    """The end of a callee's leg that never was, as its caller left before: 0 seconds, with the caller's cause."""
    never_was = {"leg": LegName.CALLEE, "leg_uuid": "", "duration": 0, "carrier_charge": None, "never_dialled": True}
    return left.model_copy(update={"event_id": event_id, **never_was})


def placed_call(call_uuid: str, route: Route, rates: CallRates | None = None) -> Call:
    """A call that we made to the first party, before it is answered."""
    return Call(
        call_uuid=call_uuid,
        caller=route.caller,
        from_number=route.caller_number,
        to_number="",
        dialled=False,
        reason=Reason.FIRST_PARTY_CALLED,
        rates=rates,
    )


def wrong_pin_id(call_uuid: str, wrong_pins: int) -> str:
    """The id of a call's `wrong_pins`-th wrong PIN, however often the carrier tells it."""
    return f"{call_uuid}:pin:{wrong_pins}"


def wrong_pin(call_uuid: str, asked: Route, wrong_pins: int, decision: Decision, now: datetime) -> PinStatus:
    """What the session that asked hears of a wrong PIN, the `wrong_pins`-th of the call, and of what was decided."""
    call = call_of(call_uuid, asked, decision)
    event_id = wrong_pin_id(call_uuid, wrong_pins)
    return PinStatus(event_id=event_id, at=now, call=call, status="failed", retry_counter=wrong_pins)
