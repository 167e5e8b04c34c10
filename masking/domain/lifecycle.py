"""The session state machine: what each trigger does in each phase.

`TABLE` is the whole machine. The functions below carry it out, each from one session to
the next and the callbacks that follow; none of them reads a clock or does I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from masking.domain.agreement import Agreement
from masking.domain.bill.money import ZERO, Rate
from masking.domain.callbacks import Callback, Notice, addressed, notices_about, notices_of, timeout_notice
from masking.domain.deadlines import overdue_events, policy_expiry, waiting_for
from masking.domain.events import AnyCarrierEvent, Declined, PinStatus, Side
from masking.domain.interaction import begin, fold, taken_in
from masking.domain.limits import within_calendar
from masking.domain.session import REVISION, FormerParties, Phase, Session, by_the_rules_of
from masking.domain.terms import Change, SessionRequest

NO_RATE = Rate(per_minute=ZERO)
"""Of a session whose price is yet to be decided, or that was refused."""

KEPT = 200
"""How many wrong PINs, declined calls, remarks and former parties a session keeps."""


class Trigger(StrEnum):
    """What can happen to a session."""

    OPENED = "opened"
    REFUSED = "refused"
    CARRIER_EVENT = "carrier event"
    CHANGE = "change"
    EXPIRE = "expire"
    DEADLINE = "deadline"
    DRAINED = "drained"


class Outcome(StrEnum):
    """What a trigger does."""

    ACTIVATE = "becomes active"
    REFUSE = "is refused"
    FOLD = "takes the event in"
    CHANGE = "takes the change on"
    EXPIRE = "expires"
    SETTLE = "settles"
    REJECT = "rejects: the session has already expired"
    REJECT_UNOPENED = "rejects: the session is not open"
    IGNORE = "stays as it is"


_P, _T, _O = Phase, Trigger, Outcome
TABLE: Mapping[Phase, Mapping[Trigger, Outcome]] = {
    _P.OPENING: {
        _T.OPENED: _O.ACTIVATE,
        _T.REFUSED: _O.REFUSE,
        _T.CARRIER_EVENT: _O.FOLD,
        _T.CHANGE: _O.REJECT_UNOPENED,
        _T.EXPIRE: _O.REJECT_UNOPENED,
        _T.DEADLINE: _O.IGNORE,
        _T.DRAINED: _O.IGNORE,
    },
    _P.ACTIVE: {
        _T.OPENED: _O.IGNORE,
        _T.REFUSED: _O.IGNORE,
        _T.CARRIER_EVENT: _O.FOLD,
        _T.CHANGE: _O.CHANGE,
        _T.EXPIRE: _O.EXPIRE,
        _T.DEADLINE: _O.EXPIRE,
        _T.DRAINED: _O.IGNORE,
    },
    _P.DRAINING: {
        _T.OPENED: _O.IGNORE,
        _T.REFUSED: _O.IGNORE,
        _T.CARRIER_EVENT: _O.FOLD,
        _T.CHANGE: _O.REJECT,
        _T.EXPIRE: _O.REJECT,
        _T.DEADLINE: _O.IGNORE,
        _T.DRAINED: _O.SETTLE,
    },
    _P.SETTLED: {
        _T.OPENED: _O.IGNORE,
        _T.REFUSED: _O.IGNORE,
        _T.CARRIER_EVENT: _O.IGNORE,
        _T.CHANGE: _O.REJECT,
        _T.EXPIRE: _O.REJECT,
        _T.DEADLINE: _O.IGNORE,
        _T.DRAINED: _O.IGNORE,
    },
    _P.REFUSED: {
        _T.OPENED: _O.IGNORE,
        _T.REFUSED: _O.IGNORE,
        _T.CARRIER_EVENT: _O.IGNORE,
        _T.CHANGE: _O.REJECT_UNOPENED,
        _T.EXPIRE: _O.REJECT_UNOPENED,
        _T.DEADLINE: _O.IGNORE,
        _T.DRAINED: _O.IGNORE,
    },
}


class Rejected(Exception):
    """A request that the session's phase does not allow.

    Attributes:
        code: `SessionAlreadyExpired`, `SessionNotOpen` or `SamePartyTwice`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Step(NamedTuple):
    """A session after a trigger, and the callbacks that follow from it."""

    session: Session
    callbacks: tuple[Callback, ...] = ()


def requested(request: SessionRequest, now: datetime) -> Session:
    """The session that `request` asks for, before it has a number. `now` is its creation, UTC."""
    return Session(
        session_uuid=request.session_uuid,
        account_id=request.account_id,
        subaccount_id=request.subaccount_id,
        terms=request.terms,
        rate=request.rate or NO_RATE,
        session_fee=request.session_fee,
        pair_grace=request.pair_grace,
        recording_wait=request.recording_wait,
        at_expiry=(request.at_expiry or "finish") if request.carrier == "voice" else "finish",
        carrier=request.carrier,
        resource_base_url=request.resource_base_url,
        phase=Phase.OPENING,
        created_at=now,
        modified_at=now,
        # What nobody may ask for is refused when the session is to be opened, and must get as far as that.
        expires_at=now + within_calendar(request.session_expiry),
    )


def opened(
    session: Session,
    virtual_number: str,
    pins: Mapping[Side, str] | None = None,
    revision: int = REVISION,
    agreement: Agreement | None = None,
) -> Step:
    """The session got its virtual number (E.164), and PINs where some were to be made for it.

    Args:
        agreement: what the operator decided about it; None where it is what was asked for.
        revision: of the rules that it will follow to its end, also by code that knows newer ones.
    """
    if _outcome(session, Trigger.OPENED) is Outcome.IGNORE:
        return Step(session)
    if agreement is not None:
        session = agreement.applied_to(session)
    terms = session.terms
    if terms.pin is not None and pins:
        named = {f"{side}_party": pin for side, pin in pins.items()}
        terms = terms.model_copy(update={"pin": terms.pin.model_copy(update=named)})
    return stepped(session, phase=Phase.ACTIVE, virtual_number=virtual_number, terms=terms, revision=revision)


def refused(session: Session, reason: str) -> Step:
    """The session cannot be opened. `reason` goes to whoever asked for it."""
    if _outcome(session, Trigger.REFUSED) is Outcome.IGNORE:
        return Step(session)
    return stepped(session, phase=Phase.REFUSED, refusal=reason)


def took(session: Session, event: AnyCarrierEvent) -> Step:
    """A carrier told something about a call. An event that tells nothing new changes nothing.

    What had been taken for granted about a silent call gives way to what is told of it.
    """
    if _outcome(session, Trigger.CARRIER_EVENT) is Outcome.IGNORE:
        return Step(session)
    event = by_the_rules_of(session, event)
    if isinstance(event, Declined):
        return _noted(session, "declined", session.declined, event)
    if isinstance(event, PinStatus) and not event.call.dialled:
        # Wrong PINs, and right ones of callers who were not connected all the same.
        return _noted(session, "wrong_pins", session.wrong_pins, event)
    known = session.interactions.get(event.call.call_uuid)
    if session.revision > 3:
        interaction = taken_in(known, event)
    else:
        interaction = begin(event) if known is None else fold(known, event)
    if interaction is known:
        return Step(session)
    interactions = session.interactions | {event.call.call_uuid: interaction}
    return stepped(session, *notices_of(session, interaction, event), interactions=interactions)


def _noted(session: Session, slot: str, known: Sequence[Declined | PinStatus], event: Declined | PinStatus) -> Step:
    """Keep an event that belongs to no conversation, the newest ones of its kind."""
    if any(event.event_id == each.event_id for each in known):
        return Step(session)
    kept = tuple(sorted((*known, event), key=lambda each: (each.at, each.event_id)))[-KEPT:]
    if event not in kept:
        return Step(session)
    return stepped(session, *notices_about(session, event), **{slot: kept})


def remarked(session: Session, remark: str) -> Step:
    """Keep something for the operator's eyes."""
    return stepped(session, remarks=(*session.remarks, remark)[-KEPT:])


def check_changeable(session: Session, now: datetime) -> None:
    """Raise `Rejected` when the session takes no change or expiry any more."""
    _outcome(session, Trigger.CHANGE)
    if session.phase is Phase.ACTIVE and now >= session.expires_at:
        raise _already_expired()


def changed(session: Session, change: Change, now: datetime) -> Step:
    """Take on new terms; a new expiry counts from `now`.

    Raises:
        Rejected: the session has expired, or its time is up and the timer is about to say so;
            or both parties would be the same.
    """
    check_changeable(session, now)
    terms = change.applied_to(session.terms)
    if terms.first_party == terms.second_party:
        raise Rejected("SamePartyTwice", "Invalid parameter. second_party must differ from first_party.")
    expires_at = session.expires_at
    if change.session_expiry is not None:
        expires_at = now + timedelta(seconds=change.session_expiry)
    former = session.former_parties
    if terms.parties != session.terms.parties:
        past = FormerParties(
            until=now,
            held_until=session.held_until,
            first_party=session.terms.first_party,
            second_party=session.terms.second_party,
        )
        former = (*former, past)[-KEPT:]
    asked = session.asked_expires_at if change.session_expiry is None else None
    return stepped(
        session, terms=terms, expires_at=expires_at, asked_expires_at=asked, modified_at=now, former_parties=former
    )


def expired(session: Session, now: datetime) -> Step:
    """End the session by request, at once. A call in progress goes on; new calls are not forwarded.

    Raises:
        Rejected: it has expired already.
    """
    check_changeable(session, now)
    return stepped(session, timeout_notice(now), phase=Phase.DRAINING, expires_at=now, modified_at=now)


def elapsed(session: Session, now: datetime) -> Step:
    """Expire the session if its time is up by `now`; or let it go on, where its policy says so."""
    if _outcome(session, Trigger.DEADLINE) is not Outcome.EXPIRE:
        return Step(session)
    if now >= session.expires_at:
        return stepped(session, timeout_notice(session.expires_at), phase=Phase.DRAINING)
    moved = policy_expiry(session, now)
    if moved is None:
        return Step(session)
    if moved <= now:
        # The call for which it went on is over.
        return stepped(session, timeout_notice(now), phase=Phase.DRAINING, expires_at=now)
    asked = session.asked_expires_at or session.expires_at
    return stepped(session, expires_at=moved, asked_expires_at=None if moved == asked else asked)


def given_up(session: Session, now: datetime, calls: Collection[str] | None = None) -> Step:
    """Stop waiting for what is overdue. Only right once no event is on its way any more.

    Args:
        calls: only these, by the carrier's ids; all when None.
    """
    callbacks: list[Callback] = []
    for event in overdue_events(session, now):
        if calls is None or event.call.call_uuid in calls:
            session, more = took(session, event)
            callbacks += more
    return Step(session, tuple(callbacks))


def settled(session: Session, now: datetime) -> Step:
    """Close the bill, once everything that was awaited has come. Changes nothing before that."""
    if _outcome(session, Trigger.DRAINED) is Outcome.IGNORE or waiting_for(session):
        return Step(session)
    return stepped(session, phase=Phase.SETTLED, settled_at=now)


def _outcome(session: Session, trigger: Trigger) -> Outcome:
    outcome = TABLE[session.phase][trigger]
    if outcome is Outcome.REJECT:
        raise _already_expired()
    if outcome is Outcome.REJECT_UNOPENED:
        raise Rejected("SessionNotOpen", session.refusal or "The session is not open.")
    return outcome


def _already_expired() -> Rejected:
    return Rejected("SessionAlreadyExpired", "Session already expired")


def stepped(session: Session, *notices: Notice, **changes: object) -> Step:
    """The session one version later, with the callbacks of `notices` addressed."""
    session = session.model_copy(update={**changes, "version": session.version + 1})
    callbacks: list[Callback] = []
    for notice in notices:
        session, callback = addressed(session, notice)
        callbacks += [callback] if callback is not None else []
    return Step(session, tuple(callbacks))
