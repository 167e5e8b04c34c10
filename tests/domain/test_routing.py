"""Who is connected to whom, what the callee sees, and who is asked for a PIN."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masking.domain.decisions import call_of, events_of, wrong_pin
from masking.domain.events import Declined, PinStatus, Side
from masking.domain.routing import (
    Announce,
    AskPin,
    Busy,
    CallPolicy,
    Connect,
    Decision,
    Guesses,
    Reason,
    Refuse,
    Route,
    SayEnded,
    decide,
    decide_dial,
    decide_first_party_answered,
    decide_pin,
    decide_unknown,
)
from masking.domain.terms import PinTerms, Terms
from tests.domain.conversation import ACCOUNT, FIRST, SECOND, SESSION_UUID, VIRTUAL, at

STRANGER = "+12025550177"
PROMPT, WRONG, UNKNOWN = "https://x.example/pin.mp3", "https://x.example/wrong.mp3", "https://x.example/who.mp3"
PLAYS = {Side.FIRST: "https://x.example/1.mp3", Side.SECOND: "https://x.example/2.mp3"}
CALM, POLICY = Guesses(), CallPolicy()

numbers = st.sampled_from([VIRTUAL, "+12025550198", FIRST, SECOND])
phones = st.sampled_from([FIRST, SECOND, STRANGER, ""])
guesses = st.builds(Guesses, by_caller=st.integers(0, 12), on_number=st.integers(0, 120))
pin_terms = st.none() | st.builds(
    PinTerms,
    first_party=st.just("1111"),
    second_party=st.just("2222"),
    prompt_play=st.just(PROMPT),
    incorrect_play=st.sampled_from(["", WRONG]),
    retry=st.integers(0, 5),
    retry_wait=st.integers(5, 10),
    force=st.booleans(),
)


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    single = draw(st.sampled_from([None, Side.FIRST, Side.SECOND]))
    return Terms(
        first_party="" if single is Side.FIRST else FIRST,
        second_party="" if single is Side.SECOND else SECOND,
        single_party=single is not None,
        call_time_limit=draw(st.integers(60, 86400)),
        ring_timeout=draw(st.integers(5, 600)),
        record=draw(st.booleans()),
        record_file_format=draw(st.sampled_from(["mp3", "wav"])),
        first_party_play_url=draw(st.sampled_from(["", PLAYS[Side.FIRST]])),
        second_party_play_url=draw(st.sampled_from(["", PLAYS[Side.SECOND]])),
        unknown_caller_play=draw(st.sampled_from(["", UNKNOWN])),
        pin=draw(pin_terms),
    )


@st.composite
def routes(draw: st.DrawFn) -> Route:
    return Route(
        session_uuid=draw(st.sampled_from([SESSION_UUID, "another"])),
        account_id=ACCOUNT,
        recognised=draw(st.sampled_from(["number", "pin", "anyone", "stranger"])),
        caller=draw(st.sampled_from(Side)),
        caller_number=draw(phones),
        virtual_number=draw(st.none() | numbers),
        expires_at=at(draw(st.integers(-10, 10))),
        busy=draw(st.booleans()),
        terms=draw(terms()),
        last_caller=draw(phones),
    )


moments = st.integers(-10, 10).map(at)


def check_never_wrong(decision: Decision, route: Route, called: str, now: object) -> None:
    """What holds of every decision, whatever led to it."""
    if not isinstance(decision, Connect):
        return
    assert now < route.expires_at, "expired means expired"  # type: ignore[operator]
    assert not route.busy
    assert decision.caller_id == called == route.virtual_number, "nobody sees a number outside the pool"
    assert decision.to in (route.terms.parties.get(route.caller.other, route.last_caller),)
    assert decision.to not in ("", route.caller_number)
    assert decision.play_to_caller == {
        Side.FIRST: route.terms.first_party_play_url, Side.SECOND: route.terms.second_party_play_url,
    }[route.caller]  # fmt: skip
    assert decision.record == (route.terms.record_file_format if route.terms.record else None)
    assert (decision.ring_timeout, decision.call_time_limit) == (
        route.terms.ring_timeout,
        route.terms.call_time_limit,
    )


@given(routes(), numbers, guesses, moments)
def test_no_call_is_ever_connected_late_twice_or_to_the_wrong_person(
    route: Route, called: str, tried: Guesses, now: object
) -> None:
    decision = decide(called, route, tried, now, POLICY)  # type: ignore[arg-type]

    check_never_wrong(decision, route, called, now)
    pin = route.terms.pin
    if isinstance(decision, Connect):
        assert route.recognised != "stranger", "nobody unknown is connected without a PIN"
        assert pin is None or not pin.force, "where a PIN is forced, nobody is connected without one"
        assert decision.pin == (None if pin is None else "AuthorizedCaller")
    if isinstance(decision, AskPin):
        assert pin is not None
        assert route.recognised == "stranger" or pin.force
        assert (tried.by_caller, tried.on_number) < (10, 100)
        assert tried.on_number < 100


@given(routes(), st.none() | routes(), st.integers(0, 6), numbers, guesses, moments)
def test_a_pin_connects_only_its_own_party_and_a_wrong_one_nobody(
    asked: Route, entered: Route | None, wrong: int, called: str, tried: Guesses, now: object
) -> None:
    decision = decide_pin(called, asked, entered, wrong, tried, now, POLICY)  # type: ignore[arg-type]

    if tried.by_caller >= POLICY.pin_failures_per_caller or tried.on_number >= POLICY.pin_failures_per_number:
        assert decision == Refuse(reason=Reason.TOO_MANY_WRONG_PINS), "the PIN does not matter then"
    elif entered is not None and (asked.recognised != "number" or asked.session_uuid == entered.session_uuid):
        assert (decision.pin, decision.wrong_pins) == ("success", wrong), "connected or not"
    if isinstance(decision, Connect):
        assert entered is not None
        check_never_wrong(decision, entered, called, now)
        assert (decision.pin, decision.wrong_pins, decision.reason) == ("success", wrong, Reason.PIN_ENTERED)
        if asked.recognised == "number":
            assert entered.session_uuid == asked.session_uuid, "a registered caller's own session asked for its own PIN"
    if isinstance(decision, AskPin):
        assert asked.terms.pin is not None
        assert decision.wrong_pins == wrong + 1 <= asked.terms.pin.retry
        assert (decision.after_play, decision.wait) == (
            asked.terms.pin.incorrect_play,
            asked.terms.pin.retry_wait,
        )


@given(routes(), numbers, guesses, moments)
def test_what_a_session_hears_of_a_decision_names_its_reason(
    route: Route, called: str, tried: Guesses, now: object
) -> None:
    decision = decide(called, route, tried, now, POLICY)  # type: ignore[arg-type]
    heard = events_of("call-1", route, decision, at(0))

    assert all(event.call.reason == decision.reason for event in heard)
    kinds = [type(event).__name__ for event in heard]
    authorised = ["PinStatus"] if decision.pin else []
    if isinstance(decision, Connect):
        assert bool(authorised) == (route.terms.pin is not None)
        assert kinds == [*authorised, "Answer", *([] if decision.play_to_caller else ["Ring"])]
        assert all(event.call.dialled and event.call.to_number == decision.to for event in heard)
    else:
        assert kinds == [*authorised, "Declined"]
        told = heard[-1]
        assert isinstance(told, Declined)
        assert told.decision == type(decision).__name__
        assert not any(event.call.dialled for event in heard), "no conversation comes of it"


@given(routes(), numbers, guesses, moments)
def test_who_has_heard_its_audio_is_connected_as_was_decided(
    route: Route, called: str, tried: Guesses, now: object
) -> None:
    decision = decide(called, route, tried, now, POLICY)  # type: ignore[arg-type]
    if isinstance(decision, Connect):
        call = call_of("call-1", route, decision)
        as_decided = decision.model_copy(update={"play_to_caller": "", "pin": None})
        about = (route.expires_at, now, POLICY)
        # The database knows a caller by its number only where that is the party's.
        is_party = route.terms.parties.get(route.caller, route.caller_number) == route.caller_number
        expected = as_decided if is_party else SayEnded(reason=Reason.FORMER_PARTY)
        assert decide_dial(call, route.terms, route.virtual_number, *about) == expected  # type: ignore[arg-type]
        assert decide_dial(call, route.terms, None, *about) == Refuse(reason=Reason.FOREIGN_CALLER_ID)  # type: ignore[arg-type]


def test_who_has_heard_its_audio_reaches_nobody_whom_the_session_would_not_let_it_reach_by_now() -> None:
    def after(route: Route, **changes: object) -> Decision:
        """`route` decides the call; then the terms change, and the caller has heard its audio."""
        decision = decide(VIRTUAL, route, CALM, at(0), POLICY)
        assert isinstance(decision, Connect)
        call, now = call_of("call-1", route, decision), changes.pop("now", at(1))
        return decide_dial(call, route.terms.model_copy(update=changes), VIRTUAL, at(60), now, POLICY)  # type: ignore[arg-type]

    assert after(a_route(), now=at(60)) == SayEnded()
    assert isinstance(after(a_route(), now=at(60) - timedelta(microseconds=1)), Connect)
    assert after(a_route(), second_party=STRANGER) == SayEnded(reason=Reason.PARTY_REPLACED)
    assert after(a_route(), first_party=STRANGER) == SayEnded(reason=Reason.FORMER_PARTY)

    anyone = a_route("anyone", caller=Side.SECOND, caller_number=STRANGER, second_party="", single_party=True)
    assert isinstance(after(anyone), Connect)
    assert isinstance(after(anyone, second_party=STRANGER), Connect), "it was that caller who was named"
    assert after(anyone, second_party=SECOND) == SayEnded(reason=Reason.FORMER_PARTY)
    back = a_route(last_caller=STRANGER, second_party="", single_party=True)
    assert isinstance(after(back), Connect)
    assert after(back, second_party=SECOND) == SayEnded(reason=Reason.PARTY_REPLACED)


def test_who_entered_its_pin_and_heard_its_audio_is_connected_from_whatever_phone() -> None:
    entered = a_route("pin", caller_number=STRANGER, pin=PIN)
    asked = a_route("stranger", caller_number=STRANGER, pin=PIN)
    decision = decide_pin(VIRTUAL, asked, entered, 0, CALM, at(0), POLICY)
    assert isinstance(decision, Connect)
    call = call_of("call-1", entered, decision)
    assert isinstance(decide_dial(call, entered.terms, VIRTUAL, at(60), at(1), POLICY), Connect)


@given(routes(), st.none() | routes(), st.integers(0, 6), numbers, guesses, moments)
def test_no_two_events_of_a_call_that_is_asked_for_a_pin_have_one_identity(
    route: Route, entered: Route | None, wrong: int, called: str, tried: Guesses, now: object
) -> None:
    asked = decide(called, route, tried, now, POLICY)  # type: ignore[arg-type]
    if not isinstance(asked, AskPin):
        return
    decision = decide_pin(called, route, entered, wrong, tried, now, POLICY)  # type: ignore[arg-type]
    heard = [*events_of("call-1", route, asked, at(0))]
    heard += [wrong_pin("call-1", route, tries, asked, at(tries)) for tries in range(1, wrong + 1)]
    if decision.reason in (Reason.WRONG_PIN, Reason.ASKED_FOR_PIN):
        heard.append(wrong_pin("call-1", route, wrong + 1, decision, at(9)))
    else:
        heard += events_of("call-1", entered or route, decision, at(9))

    assert len({event.event_id for event in heard}) == len(heard)


def a_route(recognised: str = "number", **changes: object) -> Route:
    known = Terms(first_party=FIRST, second_party=SECOND, call_time_limit=3600, ring_timeout=120)
    base = Route(
        session_uuid=SESSION_UUID,
        account_id=ACCOUNT,
        recognised="number",
        caller=Side.FIRST,
        caller_number=FIRST,
        virtual_number=VIRTUAL,
        expires_at=at(60),
        busy=False,
        terms=known,
    )
    new_terms = {key: changes.pop(key) for key in list(changes) if key in Terms.model_fields}
    updated = known.model_copy(update=new_terms)
    return base.model_copy(update={"recognised": recognised, "terms": updated, **changes})


PIN = PinTerms(first_party="1111", second_party="2222", prompt_play=PROMPT, incorrect_play=WRONG, retry=1)


def test_the_last_second_is_over_at_expiry() -> None:
    one = a_route()
    assert isinstance(decide(VIRTUAL, one, CALM, at(60) - timedelta(microseconds=1), POLICY), Connect)
    assert isinstance(decide(VIRTUAL, one, CALM, at(60), POLICY), SayEnded)
    asks = a_route("stranger", caller_number=STRANGER, pin=PIN)
    assert isinstance(decide(VIRTUAL, asks, CALM, at(60) - timedelta(microseconds=1), POLICY), AskPin)
    assert decide(VIRTUAL, asks, CALM, at(60), POLICY) == decide_unknown()


@pytest.mark.parametrize(
    ("recognised", "pin", "asked"),
    [
        ("stranger", None, False),
        ("stranger", False, True),
        ("stranger", True, True),
        ("number", None, False),
        ("number", False, False),
        ("number", True, True),
        ("anyone", None, False),
    ],
)
def test_past_guesses_are_looked_up_just_where_a_pin_may_be_asked_for(
    recognised: str, pin: bool | None, asked: bool
) -> None:
    """`pin`: whether it is forced; None where there is none."""
    route = a_route(recognised, pin=None if pin is None else PIN.model_copy(update={"force": pin}))

    assert route.may_be_asked is asked
    assert isinstance(decide(VIRTUAL, route, CALM, at(0), POLICY), AskPin) is asked


def test_a_party_is_connected_as_a_registered_caller() -> None:
    assert decide(VIRTUAL, a_route(), CALM, at(0), POLICY).reason is Reason.REGISTERED_CALLER
    assert decide(VIRTUAL, a_route("anyone"), CALM, at(0), POLICY).reason is Reason.OPEN_TO_ANYONE


def test_a_caller_of_an_ended_session_hears_what_the_deployment_chose() -> None:
    policy = CallPolicy(ended_play_url="https://x.example/over.mp3", ended_answer_url="https://x.example/app")
    assert decide(VIRTUAL, a_route(), CALM, at(61), policy) == SayEnded(
        play_url="https://x.example/over.mp3", answer_url="https://x.example/app"
    )


def test_strangers_are_asked_or_told_or_refused() -> None:
    def for_stranger(**changes: object) -> Decision:
        return decide(VIRTUAL, a_route("stranger", caller_number=STRANGER, **changes), CALM, at(0), POLICY)

    assert for_stranger(pin=PIN, unknown_caller_play=UNKNOWN) == AskPin(prompt_play=PROMPT)
    assert for_stranger(unknown_caller_play=UNKNOWN) == Announce(play_url=UNKNOWN, reason=Reason.UNKNOWN_CALLER)
    assert for_stranger() == decide_unknown() == Refuse(reason=Reason.UNKNOWN_CALLER)
    assert for_stranger(pin=PIN, expires_at=at(-1)) == decide_unknown()


def test_a_caller_is_asked_once_more_than_it_was_wrong_and_then_no_more() -> None:
    asked = a_route("stranger", caller_number=STRANGER, pin=PIN)

    assert decide_pin(VIRTUAL, asked, None, 0, CALM, at(0), POLICY) == AskPin(
        prompt_play=PROMPT, wrong_pins=1, after_play=WRONG, wait=5
    )
    assert decide_pin(VIRTUAL, asked, None, 1, CALM, at(0), POLICY) == Announce(play_url=WRONG, reason=Reason.WRONG_PIN)
    silent = a_route("stranger", pin=PIN.model_copy(update={"incorrect_play": ""}))
    assert decide_pin(VIRTUAL, silent, None, 1, CALM, at(0), POLICY) == Refuse(reason=Reason.WRONG_PIN)
    told = wrong_pin("call-1", asked, 2, Refuse(reason=Reason.WRONG_PIN), at(3))
    assert isinstance(told, PinStatus)
    assert (told.status, told.retry_counter, told.call.from_number) == ("failed", 2, STRANGER)
    assert told.call.reason == Reason.WRONG_PIN


def test_guessing_is_slowed_by_caller_and_by_number() -> None:
    asked = a_route("stranger", caller_number=STRANGER, pin=PIN)
    for tried in (Guesses(by_caller=10, on_number=10), Guesses(by_caller=0, on_number=100)):
        assert decide(VIRTUAL, asked, tried, at(0), POLICY) == Refuse(reason=Reason.TOO_MANY_WRONG_PINS)
    last = Guesses(by_caller=9, on_number=9)
    assert isinstance(decide(VIRTUAL, asked, last, at(0), POLICY), AskPin)
    right = a_route("pin", caller_number=STRANGER, pin=PIN)
    assert isinstance(decide_pin(VIRTUAL, asked, right, 0, last, at(0), POLICY), Connect)
    for tried in (Guesses(by_caller=10), Guesses(on_number=100)):
        assert decide_pin(VIRTUAL, asked, right, 0, tried, at(0), POLICY) == Refuse(reason=Reason.TOO_MANY_WRONG_PINS)
    assert decide_pin(VIRTUAL, asked, None, 0, last, at(0), POLICY) == Announce(play_url=WRONG, reason=Reason.WRONG_PIN)
    assert isinstance(decide(VIRTUAL, a_route(pin=PIN), Guesses(by_caller=10), at(0), POLICY), Connect)


@pytest.mark.parametrize("tried", [Guesses(by_caller=8), Guesses(on_number=98), Guesses(by_caller=8, on_number=98)])
def test_the_last_wrong_pin_that_is_allowed_is_the_last_that_is_asked_for(tried: Guesses) -> None:
    asked = a_route("stranger", caller_number=STRANGER, pin=PIN)
    assert isinstance(decide_pin(VIRTUAL, asked, None, 0, tried, at(0), POLICY), AskPin)
    one_more = Guesses(by_caller=tried.by_caller and tried.by_caller + 1, on_number=tried.on_number and 99)
    turned_away = decide_pin(VIRTUAL, asked, None, 0, one_more, at(0), POLICY)
    assert turned_away == Announce(play_url=WRONG, reason=Reason.WRONG_PIN)


def test_each_partys_pin_leads_to_the_other_party() -> None:
    asked = a_route("stranger", caller_number=STRANGER, pin=PIN)
    for side, callee in ((Side.FIRST, SECOND), (Side.SECOND, FIRST)):
        entered = a_route("pin", caller=side, caller_number=STRANGER, pin=PIN)
        decision = decide_pin(VIRTUAL, asked, entered, 0, CALM, at(0), POLICY)
        assert isinstance(decision, Connect)
        assert decision.to == callee


def test_a_forced_pin_is_asked_of_registered_callers_and_must_be_their_sessions() -> None:
    forced = a_route(pin=PIN.model_copy(update={"force": True}))
    assert decide(VIRTUAL, forced, CALM, at(0), POLICY) == AskPin(prompt_play=PROMPT)
    foreign = a_route("pin", session_uuid="another", caller=Side.SECOND, pin=PIN)
    assert isinstance(decide_pin(VIRTUAL, forced, foreign, 0, CALM, at(0), POLICY), AskPin)
    # Her partner's PIN on her own phone would connect her to herself.
    partners = a_route("pin", caller=Side.SECOND, pin=PIN)
    assert decide_pin(VIRTUAL, forced, partners, 0, CALM, at(0), POLICY) == Refuse(
        reason=Reason.SAME_PHONE, pin="success"
    )


def test_who_was_recognised_was_recognised_also_when_it_is_not_connected() -> None:
    busy = a_route(pin=PIN, busy=True)
    assert decide(VIRTUAL, busy, CALM, at(0), POLICY) == Busy(pin="AuthorizedCaller")
    entered = a_route("pin", caller_number=STRANGER, pin=PIN, busy=True)
    asked = a_route("stranger", caller_number=STRANGER, pin=PIN)
    assert decide_pin(VIRTUAL, asked, entered, 1, CALM, at(0), POLICY) == Busy(pin="success", wrong_pins=1)
    late = entered.model_copy(update={"expires_at": at(-1)})
    assert decide_pin(VIRTUAL, asked, late, 0, CALM, at(0), POLICY) == SayEnded(pin="success")
    # Nobody is asked by a session that has ended, nor recognised without the PIN where one is forced.
    assert decide(VIRTUAL, busy, CALM, at(61), POLICY) == SayEnded()
    forced = a_route(pin=PIN.model_copy(update={"force": True}), busy=True)
    assert decide(VIRTUAL, forced, CALM, at(0), POLICY) == Busy()


def test_a_former_party_hears_the_same_as_after_the_end_and_the_session_knows_better() -> None:
    left = a_route(released=True, expires_at=at(-1))
    assert decide(VIRTUAL, left, CALM, at(0), POLICY) == SayEnded(reason=Reason.FORMER_PARTY)


def test_a_single_party_is_reached_by_anyone_and_reaches_who_called_last() -> None:
    anyone = a_route("anyone", caller=Side.SECOND, caller_number=STRANGER, second_party="", single_party=True)
    decision = decide(VIRTUAL, anyone, CALM, at(0), POLICY)
    assert isinstance(decision, Connect)
    assert (decision.to, decision.reason) == (FIRST, Reason.OPEN_TO_ANYONE)

    alone = a_route(second_party="", single_party=True)
    assert decide(VIRTUAL, alone, CALM, at(0), POLICY) == Refuse(reason=Reason.NOBODY_TO_REACH)
    back = decide(VIRTUAL, alone.model_copy(update={"last_caller": STRANGER}), CALM, at(0), POLICY)
    assert isinstance(back, Connect)
    assert back.to == STRANGER


def test_the_first_party_that_we_called_is_connected_without_a_pin() -> None:
    forced = a_route(pin=PIN.model_copy(update={"force": True}))
    decision = decide_first_party_answered(VIRTUAL, forced, at(0), POLICY)
    assert isinstance(decision, Connect)
    assert (decision.to, decision.caller_id, decision.reason) == (SECOND, VIRTUAL, Reason.FIRST_PARTY_ANSWERED)
    assert decide_first_party_answered(VIRTUAL, forced.model_copy(update={"busy": True}), at(0), POLICY) == Busy()
