"""Every way a call can go, through the telephone bench: what customers are told, what phones saw and heard."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from masking.carriers.simulator.phones import Behaviour
from tests.conftest import ACCOUNT
from tests.integration.conftest import Receiver, System
from tests.integration.telephone import Telephone, heard, heard_on, speed, telephone

__all__ = ["speed", "telephone"]
pytestmark = pytest.mark.anyio

FIRST, SECOND, STRANGER = "+12025550101", "+12025550102", "+12025550150"
PROMPT, WRONG = "https://x.example/prompt.mp3", "https://x.example/wrong.mp3"
PIN = {
    "is_pin_authentication_required": True,
    "first_party_pin": "1234",
    "second_party_pin": "987654321",
    "pin_prompt_play": PROMPT,
    "incorrect_pin_play": WRONG,
}


async def create(system: System, receiver: Receiver, **arguments: Any) -> dict[str, Any]:
    body = {"first_party": FIRST, "second_party": SECOND, "callback_url": receiver.url} | arguments
    response = await system.http.post(f"{system.api}/", json=body)
    assert response.status_code == 201, response.text
    session: dict[str, Any] = response.json()["session"]
    return session | {"number": f"+{session['virtual_number']}"}


async def resource(system: System, session: dict[str, Any]) -> dict[str, Any]:
    response = await system.http.get(f"{system.api}/{session['session_uuid']}/")
    found: dict[str, Any] = response.json()["response"]
    return found


async def expire(system: System, session: dict[str, Any]) -> Any:
    await system.http.delete(f"{system.api}/{session['session_uuid']}/")
    return await asyncio.wait_for(system.sessions.final_bill(session["session_uuid"]), 30)


def pins(receiver: Receiver) -> list[tuple[str, str, str]]:
    """The PIN callbacks: outcome, counter, caller."""
    return [
        (told["PinAuthenticationStatus"], told["PinRetryCounter"], told.get("From", ""))
        for told in receiver.requests
        if told["EventName"] == "SessionPinAuthenticationStatus"
    ]


async def test_each_party_hears_its_own_audio_before_they_are_connected(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    plays = {"first_party_play_url": "https://x.example/1.mp3", "second_party_play_url": "https://x.example/2.mp3"}
    session = await create(system, receiver, **plays, record=True)
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=5))
    call = await telephone.call(FIRST, session["number"])
    await heard(receiver, "SessionPartiesHangup")

    assert heard_on(call, "caller") == ["https://x.example/1.mp3"]
    assert heard_on(call, "callee") == ["https://x.example/2.mp3"]
    order = [f"{line.leg} {line.what}" for line in call.transcript]
    assert order.index("caller heard") < order.index("callee rang")
    assert order.index("callee answered") < order.index("callee heard") < order.index("callee connected")

    await telephone.phones.behave(FIRST, Behaviour(hangs_up_after=5))
    back = await telephone.call(SECOND, session["number"])
    assert heard_on(back, "caller") == ["https://x.example/2.mp3"]
    assert heard_on(back, "callee") == ["https://x.example/1.mp3"]


async def test_a_registered_caller_is_not_asked_for_a_pin_and_the_customer_is_told_so(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session = await create(system, receiver, **PIN)
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=5))
    call = await telephone.call(FIRST, session["number"])
    await heard(receiver, "SessionPartiesHangup")

    assert pins(receiver) == [("AuthorizedCaller", "0", FIRST[1:])]
    assert heard_on(call, "caller") == []
    assert receiver.names[0] == "SessionPinAuthenticationStatus"


@pytest.mark.parametrize(("pin", "callee"), [("1234", SECOND), ("987654321", FIRST)])
async def test_a_pin_makes_an_unregistered_caller_the_party_whose_pin_it_is(
    system: System, telephone: Telephone, receiver: Receiver, pin: str, callee: str
) -> None:
    session = await create(system, receiver, **PIN)
    await telephone.phones.behave(STRANGER, Behaviour(presses=(f"{pin}#",)))
    await telephone.phones.behave(callee, Behaviour(hangs_up_after=5))
    call = await telephone.call(STRANGER, session["number"])
    told = await heard(receiver, "SessionPartiesHangup")
    shown = await resource(system, session)

    assert call.callee is not None
    assert (call.callee.number, call.callee.screen) == (callee, session["number"])
    assert heard_on(call, "caller") == [PROMPT, "*" * len(pin)], "the carrier writes no PIN down"
    assert pins(receiver) == [("success", "0", STRANGER[1:])]
    assert (told["From"], told["To"]) == (STRANGER[1:], callee[1:])
    (interaction,) = shown["interaction"]
    assert interaction["total_call_count"] == 2
    side = "first" if callee == SECOND else "second"
    assert interaction[f"{side}_party_resource_url"].endswith(f"/v1/Account/{ACCOUNT}/Call/{call.call_uuid}")


async def test_a_wrong_pin_may_be_corrected_and_both_are_told(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session = await create(system, receiver, **PIN, pin_retry=2, pin_retry_wait=7)
    await telephone.phones.behave(STRANGER, Behaviour(presses=("0000#", "", "1234#")))
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=5))
    call = await telephone.call(STRANGER, session["number"])
    await heard(receiver, "SessionPartiesHangup")

    stranger = STRANGER[1:]
    assert pins(receiver) == [("failed", "1", stranger), ("failed", "2", stranger), ("success", "2", stranger)]
    assert heard_on(call, "caller") == [PROMPT, "****", WRONG, PROMPT, WRONG, PROMPT, "****"]
    moments = [line.at for line in call.transcript if line.detail in (WRONG, PROMPT)]
    assert (moments[2] - moments[1]).total_seconds() >= 2 + 7, "the wait between tries"


async def test_without_the_right_pin_nobody_rings(system: System, telephone: Telephone, receiver: Receiver) -> None:
    session = await create(system, receiver, **PIN, pin_retry=1)
    await telephone.phones.behave(STRANGER, Behaviour(presses=("0000#", "4321#", "1234#")))
    call = await telephone.call(STRANGER, session["number"])
    await heard(receiver, "SessionPinAuthenticationStatus", 2)
    final = await expire(system, session)

    assert call.callee is None
    assert heard_on(call, "caller") == [PROMPT, "****", WRONG, PROMPT, "****", WRONG]
    assert pins(receiver) == [("failed", "1", STRANGER[1:]), ("failed", "2", STRANGER[1:])]
    assert (call.caller.cause.code, call.caller.source) == (4000, "Answer XML")
    assert final.calls.call_count == 0
    assert (await resource(system, session))["interaction"] is None


async def test_a_hidden_caller_is_an_unknown_one(system: System, telephone: Telephone, receiver: Receiver) -> None:
    session = await create(system, receiver, **PIN)
    await telephone.phones.behave(FIRST, Behaviour(hidden=True, presses=("1234#",)))
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=5))
    call = await telephone.call(FIRST, session["number"])
    told = await heard(receiver, "SessionPartiesHangup")

    assert heard_on(call, "caller")[0] == PROMPT
    assert call.callee is not None
    assert (call.callee.number, call.callee.screen) == (SECOND, session["number"])
    assert pins(receiver) == [("success", "0", "")]
    assert "From" not in told


async def test_a_forced_pin_is_asked_of_registered_callers(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session = await create(system, receiver, **PIN, force_pin_authentication=True)
    await telephone.phones.behave(FIRST, Behaviour(presses=("987654321#", "1234#")))
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=5))

    # The partner's PIN on one's own phone would lead to oneself.
    refused = await telephone.call(FIRST, session["number"])
    assert refused.callee is None
    await telephone.phones.behave(FIRST, Behaviour(presses=("1234#",)))
    call = await telephone.call(FIRST, session["number"])
    await heard(receiver, "SessionPartiesHangup")

    assert call.callee is not None
    assert call.callee.number == SECOND
    assert pins(receiver) == [("success", "0", FIRST[1:])]


async def test_pins_of_sessions_on_one_number_lead_each_to_its_own(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    one = await create(system, receiver, **PIN)
    other_parties = {"first_party": "+12025550111", "second_party": "+12025550112"}
    other = await create(
        system, receiver, **PIN | {"first_party_pin": "5555", "second_party_pin": "6666"}, **other_parties
    )
    assert one["number"] == other["number"]
    for pin, callee in (("5555", "+12025550112"), ("1234", SECOND)):
        await telephone.phones.behave(STRANGER, Behaviour(presses=(f"{pin}#",)))
        await telephone.phones.behave(callee, Behaviour(hangs_up_after=1))
        call = await telephone.call(STRANGER, one["number"])
        assert call.callee is not None
        assert call.callee.number == callee


async def test_unknown_callers_hear_the_announcement_or_are_refused(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    silent = await create(system, receiver)
    refused = await telephone.call(STRANGER, silent["number"])
    assert (refused.caller.cause.name, refused.caller.answered_at) == ("Rejected", None)

    pair = {"first_party": "+12025550111", "second_party": "+12025550112"}
    talking = await create(system, receiver, **pair, unknown_caller_play="https://x.example/who.mp3")
    await telephone.phones.behave(STRANGER, Behaviour(hidden=True))
    told = await telephone.call(STRANGER, talking["number"])
    assert heard_on(told, "caller") == ["https://x.example/who.mp3"]
    assert told.callee is None
    assert receiver.requests == []


async def test_a_single_party_is_reached_by_anyone_and_calls_back_whoever_called_last(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session = await create(system, receiver, second_party="", create_session_with_single_party=True)
    await telephone.phones.behave(FIRST, Behaviour(hangs_up_after=3))
    nobody = await telephone.call(FIRST, session["number"])
    assert (nobody.callee, nobody.caller.cause.name) == (None, "Rejected")

    for caller in (STRANGER, "+12025550151"):
        call = await telephone.call(caller, session["number"])
        assert call.callee is not None
        assert (call.callee.number, call.callee.screen) == (FIRST, session["number"])
    await telephone.phones.behave("+12025550151", Behaviour(hangs_up_after=3))
    back = await telephone.call(FIRST, session["number"])
    assert back.callee is not None
    assert (back.callee.number, back.callee.screen) == ("+12025550151", session["number"])

    joined = await system.http.post(f"{system.api}/{session['session_uuid']}/", json={"second_party": SECOND})
    assert joined.status_code == 200
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=3))
    known = await telephone.call(FIRST, session["number"])
    assert known.callee is not None
    assert known.callee.number == SECOND
    stranger = await telephone.call(STRANGER, session["number"])
    assert stranger.callee is None
    await heard(receiver, "SessionPartiesHangup", 4)
    assert (await expire(system, session)).calls.call_count == 8


async def test_a_single_party_with_a_pin_is_reached_only_with_it(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session = await create(
        system, receiver, second_party="", create_session_with_single_party=True,
        is_pin_authentication_required=True, second_party_pin="4711", pin_prompt_play=PROMPT, pin_retry=0,
    )  # fmt: skip
    await telephone.phones.behave(FIRST, Behaviour(hangs_up_after=3))
    without = await telephone.call(STRANGER, session["number"])
    assert without.callee is None
    await telephone.phones.behave(STRANGER, Behaviour(presses=("4711#",)))
    with_it = await telephone.call(STRANGER, session["number"])
    assert with_it.callee is not None
    assert with_it.callee.number == FIRST
    await telephone.phones.behave(STRANGER, Behaviour(hangs_up_after=3))
    back = await telephone.call(FIRST, session["number"])
    assert back.callee is not None
    assert back.callee.number == STRANGER


async def test_a_former_party_reaches_nobody_and_nobody_else_gets_its_place(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session = await create(system, receiver, create_session_with_single_party=True)
    one = f"{system.api}/{session['session_uuid']}/"
    assert (await system.http.post(one, json={"second_party": STRANGER})).status_code == 200

    former = await telephone.call(SECOND, session["number"])
    assert former.callee is None
    assert len(heard_on(former, "caller")) == 1
    again = await create(system, receiver, first_party="+12025550111", second_party=SECOND)
    assert again["number"] != session["number"]


async def test_the_first_party_is_called_at_once_and_bridged(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=30))
    session = await create(
        system, receiver, initiate_call_to_first_party=True, first_party_play_url="https://x.example/1.mp3"
    )
    ringing = await telephone.phones.wait_for(FIRST, "ringing")
    assert ringing.screen == session["number"]
    assert (await resource(system, session))["initiate_call_to_first_party"] is True
    assert (await telephone.phones.wait_for(SECOND, "talking")).screen == session["number"]
    assert (await resource(system, session))["status"] == "in-progress"
    told = await heard(receiver, "SessionPartiesHangup")
    (call,) = await telephone.phones.calls()
    final = await expire(system, session)

    assert heard_on(call, "caller") == ["https://x.example/1.mp3"]
    assert (told["From"], told["To"]) == (FIRST[1:], SECOND[1:])
    assert [name for name in receiver.names if name != "SessionTimeout"] == [
        "SessionFirstPartyAnswer", "SessionSecondPartyRing", "SessionSecondPartyAnswer",
        "SessionSecondPartyHangup", "SessionFirstPartyHangup", "SessionPartiesHangup",
    ]  # fmt: skip
    assert call.callee is not None
    assert final.calls.duration == call.caller.duration + call.callee.duration
    assert "we called the first party, and it answered" in await system.sessions.story(session["session_uuid"])


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        (Behaviour(on_ring="busy"), ("Busy Line", "3010")),
        (Behaviour(on_ring="reject"), ("Rejected", "3020")),
        (Behaviour(on_ring="ignore"), ("Ring Timeout Reached", "6010")),
    ],
)
async def test_a_first_party_that_does_not_answer_is_told_with_its_cause_and_costs_nothing(
    system: System, telephone: Telephone, receiver: Receiver, behaviour: Behaviour, cause: tuple[str, str]
) -> None:
    await telephone.phones.behave(FIRST, behaviour)
    session = await create(system, receiver, initiate_call_to_first_party=True, ring_timeout=10)
    told = await heard(receiver, "SessionPartiesHangup")
    hangup = await heard(receiver, "SessionFirstPartyHangup")
    final = await expire(system, session)

    assert (hangup["PlivoHangupCause"], hangup["PlivoHangupCauseCode"]) == cause
    assert (told["From"], "To" in told, told["Duration"]) == (FIRST[1:], False, "0")
    assert "SessionFirstPartyAnswer" not in receiver.names
    assert (await telephone.phones.phone(SECOND)).state == "idle"
    assert (final.calls.call_count, final.calls.amount) == (1, 0)


async def test_a_second_call_meanwhile_gets_busy_and_the_session_knows_why(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session = await create(system, receiver)
    await telephone.phones.dial(FIRST, session["number"])
    await telephone.phones.wait_for(SECOND, "talking")
    other = await telephone.phones.dial(STRANGER, session["number"])
    assert (await telephone.over(other)).caller.cause.name == "Rejected"
    # The second party's other phone is no party; the second party itself is busy talking.
    await telephone.phones.hang_up(FIRST)
    await heard(receiver, "SessionPartiesHangup")


async def test_late_callers_hear_that_the_session_has_ended_and_the_session_knows(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session = await create(system, receiver)
    await telephone.phones.dial(FIRST, session["number"])
    await telephone.phones.wait_for(SECOND, "talking")
    await system.http.delete(f"{system.api}/{session['session_uuid']}/")
    late = await telephone.call("+12025550152", session["number"])
    assert late.callee is None
    assert (await telephone.phones.phone(SECOND)).state == "talking", "a call in progress goes on"
    await telephone.phones.hang_up(FIRST)
    await heard(receiver, "SessionPartiesHangup")
    after = await telephone.call(SECOND, session["number"])
    assert after.callee is None
    assert len(heard_on(after, "caller")) == 1


async def test_guessing_pins_is_refused_across_calls(system: System, telephone: Telephone, receiver: Receiver) -> None:
    session = await create(system, receiver, **PIN, pin_retry=5)
    await telephone.phones.behave(STRANGER, Behaviour(presses=("0000#",) * 6))
    calls = [await telephone.call(STRANGER, session["number"]) for _ in range(3)]
    await heard(receiver, "SessionPinAuthenticationStatus", 10)

    asked = [heard_on(call, "caller").count(PROMPT) for call in calls]
    assert asked == [6, 4, 0], "ten wrong ones, then none is asked for"
    assert calls[2].caller.cause.name == "Rejected"
    await asyncio.sleep(0.2)
    assert len(pins(receiver)) == 10
    assert "too many wrong PINs of late" in await system.sessions.story(session["session_uuid"])
    # The parties themselves are not kept out.
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=1))
    assert (await telephone.call(FIRST, session["number"])).callee is not None


async def test_recordings_come_one_per_conversation(system: System, telephone: Telephone, receiver: Receiver) -> None:
    session = await create(system, receiver, record=True, recording_callback_url=receiver.url)
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=5))
    for times in (1, 2):
        await telephone.call(FIRST, session["number"])
        await heard(receiver, "SessionRecordingCompleted", times)
    await expire(system, session)

    told = [r for r in receiver.requests if r["EventName"] == "SessionRecordingCompleted"]
    assert len({r["RecordingUUID"] for r in told}) == 2
    assert sorted(r["SequenceNumber"] for r in receiver.requests if "Recording" in r["EventName"]) == list("1234")
    for each in told:
        audio = await system.http.get(each["RecordingURL"])
        assert audio.headers["Content-Type"] == "audio/mpeg"
        assert len(audio.content) > 1000


async def test_the_time_limit_ends_the_conversation(system: System, telephone: Telephone, receiver: Receiver) -> None:
    session = await create(system, receiver, call_time_limit=60)
    call = await telephone.call(FIRST, session["number"])
    told = await heard(receiver, "SessionPartiesHangup")

    assert (told["PlivoHangupCause"], told["PlivoHangupCauseCode"]) == ("Scheduled Hangup", "6000")
    assert call.callee is not None
    assert 60 <= call.callee.duration <= 65
    (interaction,) = (await resource(system, session))["interaction"]
    assert interaction["duration"] == call.caller.duration + call.callee.duration


async def test_a_caller_who_gives_up_is_told_as_canceled(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session = await create(system, receiver)
    await telephone.phones.behave(SECOND, Behaviour(on_ring="manual"))
    call_uuid = await telephone.phones.dial(FIRST, session["number"])
    await telephone.phones.wait_for(SECOND, "ringing")
    await telephone.phones.hang_up(FIRST)
    await telephone.over(call_uuid)
    told = await heard(receiver, "SessionSecondPartyHangup")

    assert (told["PlivoHangupCause"], told["PlivoHangupCauseCode"], told["Duration"]) == ("Canceled", "1000", "0")
    assert "SessionSecondPartyAnswer" not in receiver.names
