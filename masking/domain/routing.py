"""What to do with a call that reaches a virtual number. Pure decisions, each with its reason.

A caller is recognised by its number, by a PIN, or as "anyone" (`masking.domain.leases`);
what is decided follows from that, the session's terms, and the step of the call.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from masking.domain.events import Call, Side
from masking.domain.leases import Kind
from masking.domain.model import Model
from masking.domain.terms import FileFormat, Terms

PinOutcome = Literal["success", "AuthorizedCaller"]


class Reason(StrEnum):
    """Why a call was treated as it was."""

    REGISTERED_CALLER = "the caller is a party of the session"
    PIN_ENTERED = "the caller entered a party's PIN"
    OPEN_TO_ANYONE = "the session has a single party and takes calls from anyone"
    FIRST_PARTY_CALLED = "we called the first party"
    FIRST_PARTY_ANSWERED = "we called the first party, and it answered"
    UNKNOWN_CALLER = "no session knows this caller on this number"
    ASKED_FOR_PIN = "the caller has to enter a PIN"
    WRONG_PIN = "the PIN was wrong, or none was entered"
    TOO_MANY_WRONG_PINS = "too many wrong PINs of late"
    SESSION_ENDED = "the session has ended"
    FORMER_PARTY = "the caller was a party of the session, and is none any more"
    PARTY_REPLACED = "the party that the caller was to reach is none any more"
    CONVERSATION_IN_PROGRESS = "the session already has a conversation"
    NOBODY_TO_REACH = "nobody has called this single party, or the last caller hid its number"
    SAME_PHONE = "the caller would be connected to itself"
    FOREIGN_CALLER_ID = "the callee would see a number that is not of the pool"


class CallPolicy(Model):
    """What a deployment decides for all its calls.

    Attributes:
        ended_play_url: audio for callers of a session that has ended; words of ours when empty.
        ended_answer_url: the number's ordinary application, which gets such callers instead; none when empty.
        pin_failures_per_caller, pin_failures_per_number: after so many wrong PINs within the window
            none is asked for or looked at any more.
    """

    ended_play_url: str = ""
    ended_answer_url: str = ""
    pin_failures_per_caller: int = 10
    pin_failures_per_number: int = 100


class Guesses(Model):
    """Wrong PINs of late: of this caller on any number, and of anybody on this number."""

    by_caller: int = 0
    on_number: int = 0


class Route(Model):
    """A session as a caller meets it.

    Attributes:
        recognised: by what the session knows the caller; `stranger` when by nothing.
        caller: the party that the caller is.
        caller_number: the phone it calls from, E.164; empty when it hides.
        last_caller: who reached a single party last, E.164; empty when nobody did, or it hid.
        virtual_number: the session's number, E.164; None if it is no number of the pool.
        expires_at: from then on no new call is forwarded, UTC.
        released: whether the caller was a party and is none any more, the session going on.
        busy: whether a conversation of the session is in progress.
    """

    session_uuid: str
    account_id: str
    recognised: Kind
    caller: Side
    caller_number: str
    virtual_number: str | None
    expires_at: datetime
    busy: bool
    terms: Terms
    last_caller: str = ""
    released: bool = False

    @property
    def may_be_asked(self) -> bool:
        """Whether such a caller is asked for a PIN: a stranger, and anybody where it is forced."""
        pin = self.terms.pin
        return pin is not None and (self.recognised == "stranger" or pin.force)

    @property
    def callee_number(self) -> str:
        """Whom the caller reaches, E.164: the other party or, where there is none, who called last."""
        return self.terms.parties.get(self.caller.other, self.last_caller)


class Treatment(Model):
    """Base of decisions.

    Attributes:
        pin: what the caller's authentication came to, connected or not; None where there was none.
        wrong_pins: how many tries of this call were wrong before.
    """

    reason: Reason
    pin: PinOutcome | None = None
    wrong_pins: int = 0


class Connect(Treatment):
    """Dial the callee, show it `caller_id`, and bridge.

    Attributes:
        play_to_caller, play_to_callee: audio that each hears before; may be empty.
    """

    to: str
    caller_id: str
    ring_timeout: int
    call_time_limit: int
    record: FileFormat | None
    play_to_caller: str = ""
    play_to_callee: str = ""
    reason: Reason = Reason.REGISTERED_CALLER


class AskPin(Treatment):
    """Have the caller enter a PIN; after a wrong one, say so and wait first.

    Attributes:
        after_play: audio before the prompt; empty on the first try, or when there is none.
        wait: seconds between that and the prompt.
    """

    prompt_play: str
    after_play: str = ""
    wait: int = 0
    reason: Reason = Reason.ASKED_FOR_PIN


class Announce(Treatment):
    """Play audio, and hang up."""

    play_url: str


class SayEnded(Treatment):
    """Tell the caller that the session has ended, or hand the call to the number's ordinary application."""

    play_url: str = ""
    answer_url: str = ""
    reason: Reason = Reason.SESSION_ENDED


class Busy(Treatment):
    """Answer with the busy signal."""

    reason: Reason = Reason.CONVERSATION_IN_PROGRESS


class Refuse(Treatment):
    """Do not answer the call; end it if it has been."""


Decision = Connect | AskPin | Announce | SayEnded | Busy | Refuse


def decide(called_number: str, route: Route, guesses: Guesses, now: datetime, policy: CallPolicy) -> Decision:
    """What to do with a call to `called_number` (E.164) from the caller that `route` recognises.

    Args:
        guesses: only looked at where a PIN is to be asked for.
        now: the database's clock, UTC.
    """
    if route.recognised == "stranger":
        return _for_stranger(route, guesses, now, policy)
    obstacle, pin = _obstacle(called_number, route, now, policy), route.terms.pin
    authorised: PinOutcome | None = "AuthorizedCaller" if pin is not None and not pin.force else None
    if obstacle is not None:
        # A session that has ended authorises nobody.
        return obstacle if isinstance(obstacle, SayEnded) else obstacle.model_copy(update={"pin": authorised})
    if pin is not None and pin.force:
        return _ask(route, guesses, policy)
    reason = Reason.OPEN_TO_ANYONE if route.recognised == "anyone" else Reason.REGISTERED_CALLER
    return _connect(called_number, route, reason, pin=authorised)


def decide_unknown() -> Decision:
    """What to do with a call whose caller no session knows, on a number where none has anything to say to strangers."""
    return Refuse(reason=Reason.UNKNOWN_CALLER)


def decide_pin(
    called_number: str,
    asked: Route,
    entered: Route | None,
    wrong_pins: int,
    guesses: Guesses,
    now: datetime,
    policy: CallPolicy,
) -> Decision:
    """What to do once a caller entered a PIN, or none.

    Args:
        asked: the session that asked.
        entered: the session and party whose PIN it is; None when it is nobody's.
        wrong_pins: how many tries of this call were wrong before this one.
        guesses: without this one. Where there are too many, the PIN does not matter.
    """
    if _too_many(guesses, policy):
        return Refuse(reason=Reason.TOO_MANY_WRONG_PINS)
    another_session = entered is not None and entered.session_uuid != asked.session_uuid
    if entered is None or (asked.recognised == "number" and another_session):
        return _after_wrong_pin(asked, wrong_pins + 1, guesses, policy)
    obstacle = _obstacle(called_number, entered, now, policy)
    if obstacle is not None:
        return obstacle.model_copy(update={"pin": "success", "wrong_pins": wrong_pins})
    return _connect(called_number, entered, Reason.PIN_ENTERED, pin="success", wrong_pins=wrong_pins)


def decide_first_party_answered(called_number: str, route: Route, now: datetime, policy: CallPolicy) -> Decision:
    """What to do once the first party answered the call that we made to it."""
    obstacle = _obstacle(called_number, route, now, policy)
    return obstacle or _connect(called_number, route, Reason.FIRST_PARTY_ANSWERED)


def decide_dial(
    call: Call, terms: Terms, virtual_number: str | None, expires_at: datetime, now: datetime, policy: CallPolicy
) -> Decision:
    """What to do once the caller of a call that is to be connected has heard its audio.

    Nobody was dialled yet. So what the session has become meanwhile counts: it may have ended, or have other parties.

    Args:
        terms: the session's, of now.
        virtual_number: the session's, E.164; None if it is no number of the pool.
        expires_at: the session's, UTC.
        now: the database's clock, UTC.
    """
    if now >= expires_at:
        return _ended(policy, Reason.SESSION_ENDED)
    if virtual_number is None:
        return Refuse(reason=Reason.FOREIGN_CALLER_ID)
    if call.reason != Reason.PIN_ENTERED and terms.parties.get(call.caller, call.from_number) != call.from_number:
        return _ended(policy, Reason.FORMER_PARTY)
    if terms.parties.get(call.caller.other, call.to_number) != call.to_number:
        return _ended(policy, Reason.PARTY_REPLACED)
    return Connect(
        to=call.to_number,
        caller_id=virtual_number,
        ring_timeout=terms.ring_timeout,
        call_time_limit=terms.call_time_limit,
        record=terms.record_file_format if call.recorded else None,
        play_to_callee=terms.play_url(call.caller.other),
        reason=Reason(call.reason),
    )


def _for_stranger(route: Route, guesses: Guesses, now: datetime, policy: CallPolicy) -> Decision:
    if now >= route.expires_at:
        return decide_unknown()
    if route.terms.pin is not None:
        return _ask(route, guesses, policy)
    if route.terms.unknown_caller_play:
        return Announce(play_url=route.terms.unknown_caller_play, reason=Reason.UNKNOWN_CALLER)
    return decide_unknown()


def _obstacle(called_number: str, route: Route, now: datetime, policy: CallPolicy) -> Decision | None:
    """What keeps a recognised caller from being connected; None when nothing does."""
    if now >= route.expires_at:
        return _ended(policy, Reason.FORMER_PARTY if route.released else Reason.SESSION_ENDED)
    # The last line of defence: whatever the data says, nobody is ever shown a number outside the pool.
    if route.virtual_number != called_number:
        return Refuse(reason=Reason.FOREIGN_CALLER_ID)
    if route.busy:
        return Busy()
    if not route.callee_number:
        return Refuse(reason=Reason.NOBODY_TO_REACH)
    if route.callee_number == route.caller_number:
        return Refuse(reason=Reason.SAME_PHONE)
    return None


def _ended(policy: CallPolicy, reason: Reason) -> SayEnded:
    return SayEnded(play_url=policy.ended_play_url, answer_url=policy.ended_answer_url, reason=reason)


def _ask(route: Route, guesses: Guesses, policy: CallPolicy) -> Decision:
    pin = route.terms.pin
    if pin is None or _too_many(guesses, policy):
        return Refuse(reason=Reason.TOO_MANY_WRONG_PINS)
    return AskPin(prompt_play=pin.prompt_play)


def _after_wrong_pin(asked: Route, wrong_pins: int, guesses: Guesses, policy: CallPolicy) -> Decision:
    pin = asked.terms.pin
    if pin is None:
        return decide_unknown()
    now_many = Guesses(by_caller=guesses.by_caller + 1, on_number=guesses.on_number + 1)
    if wrong_pins > pin.retry or _too_many(now_many, policy):
        if pin.incorrect_play:
            return Announce(play_url=pin.incorrect_play, reason=Reason.WRONG_PIN)
        return Refuse(reason=Reason.WRONG_PIN)
    return AskPin(
        prompt_play=pin.prompt_play, wrong_pins=wrong_pins, after_play=pin.incorrect_play, wait=pin.retry_wait
    )


def _too_many(guesses: Guesses, policy: CallPolicy) -> bool:
    return guesses.by_caller >= policy.pin_failures_per_caller or guesses.on_number >= policy.pin_failures_per_number


def _connect(called: str, route: Route, reason: Reason, pin: PinOutcome | None = None, wrong_pins: int = 0) -> Connect:
    terms = route.terms
    return Connect(
        to=route.callee_number,
        caller_id=called,
        ring_timeout=terms.ring_timeout,
        call_time_limit=terms.call_time_limit,
        record=terms.record_file_format if terms.record else None,
        play_to_caller=terms.play_url(route.caller),
        play_to_callee=terms.play_url(route.caller.other),
        pin=pin,
        wrong_pins=wrong_pins,
        reason=reason,
    )
