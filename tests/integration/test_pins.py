"""PINs through the telephone bench: who is asked, what a right and a wrong one do, and how guessing is slowed."""

from __future__ import annotations

import logging

import pytest

from masking.carriers.simulator.phones import Behaviour
from tests.conftest import ACCOUNT
from tests.integration.conftest import Receiver, System
from tests.integration.telephone import Telephone, all_delivered, heard, heard_on, speed, story_of, telephone
from tests.integration.test_switchboard import (
    FIRST,
    PIN,
    PROMPT,
    SECOND,
    STRANGER,
    WRONG,
    conversations,
    create,
    expire,
    pins,
    resource,
)

__all__ = ["speed", "telephone"]
pytestmark = pytest.mark.anyio


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
    (interaction,) = await conversations(system, session)
    assert interaction["total_call_count"] == 2


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
    assert len(await conversations(system, session)) == 1, "its tries are part of the call"
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
    (interaction,) = await conversations(system, session)
    assert interaction["first_party_resource_url"].endswith(f"/Call/{call.call_uuid}")


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
    assert pins(receiver) == [("success", "0", FIRST[1:])] * 2, "a right PIN is told, connected or not"
    assert len((await resource(system, session))["interaction"]) == 1


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
    await heard(receiver, "SessionPartiesHangup", 2)
    for session in (one, other):
        assert len(await conversations(system, session)) == 1


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
    await heard(receiver, "SessionPartiesHangup", 2)
    reached, called_back = await conversations(system, session)
    assert reached["second_party_resource_url"].endswith(f"/Call/{with_it.call_uuid}")
    assert called_back["first_party_resource_url"].endswith(f"/Call/{back.call_uuid}")


async def test_guessing_pins_is_refused_across_calls(system: System, telephone: Telephone, receiver: Receiver) -> None:
    session = await create(system, receiver, **PIN, pin_retry=5)
    await telephone.phones.behave(STRANGER, Behaviour(presses=("0000#",) * 6))
    calls = [await telephone.call(STRANGER, session["number"]) for _ in range(3)]
    await heard(receiver, "SessionPinAuthenticationStatus", 10)

    asked = [heard_on(call, "caller").count(PROMPT) for call in calls]
    assert asked == [6, 4, 0], "ten wrong ones, then none is asked for"
    assert calls[2].caller.cause.name == "Rejected"
    # What is told of the last call comes behind all that is told of the others.
    await story_of(system, session, "too many wrong PINs of late")
    await all_delivered(system, session["session_uuid"])
    assert len(pins(receiver)) == 10
    assert await conversations(system, session) == []
    # The parties themselves are not kept out.
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=1))
    assert (await telephone.call(FIRST, session["number"])).callee is not None


async def test_what_a_caller_presses_is_in_no_log(
    system: System, telephone: Telephone, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    right, wrong = "8304175926", "5926830417"
    with caplog.at_level(logging.DEBUG):
        session = await create(system, receiver, **PIN | {"first_party_pin": right}, pin_retry=1)
        await telephone.phones.behave(STRANGER, Behaviour(presses=(f"{wrong}#", f"{right}#")))
        await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=1))
        call = await telephone.call(STRANGER, session["number"])
        await heard(receiver, "SessionPartiesHangup")
        await expire(system, session)

    assert call.callee is not None
    assert pins(receiver) == [("failed", "1", STRANGER[1:]), ("success", "1", STRANGER[1:])]
    logged = [f"{record.name} {record.getMessage()} {record.args} {record.exc_text}" for record in caplog.records]
    assert any("/pin" in line for line in logged), "the requests themselves are logged at this level"
    for line in logged:
        assert right not in line
        assert wrong not in line
    ours = [line for line in logged if line.startswith(("masking", "workflows", "activities", "temporalio"))]
    for number in (FIRST, SECOND, STRANGER):
        assert not [line for line in ours if number[1:] in line]
