"""What the network tells an application of a call, and what it leaves out, as Plivo documents it."""

from __future__ import annotations

import pytest

from masking.carriers.simulator.application import Webhook
from masking.carriers.simulator.call_parts import Order
from masking.carriers.simulator.network import Network
from masking.carriers.simulator.phones import Behaviour
from tests.carriers.conftest import ALICE, BOB, NUMBER, Application, connect, heard, reported, until

pytestmark = pytest.mark.anyio

ORDERED = ("ALegUUID", "ALegRequestUUID", "RequestUUID")


def order(application: Application, ring_seconds: int = 20) -> Order:
    return Order(Webhook(f"{application.base}/placed"), Webhook(f"{application.base}/hangup"), ring_seconds, 600)


async def test_a_call_that_was_ordered_is_told_with_its_order_and_one_that_came_in_without(
    network: Network, application: Application
) -> None:
    application.documents["/placed"] = application.documents["/answer"] = "<Response><Speak>Hello.</Speak></Response>"
    record = network.place(NUMBER, ALICE, order(application))
    await reported(application, record)
    for path in ("/placed", "/hangup"):
        assert {application.forms(path)[0][name] for name in ORDERED} == {record.call_uuid}

    came_in = network.dial(ALICE, NUMBER)
    await until(lambda: len(application.forms("/hangup")) == 2)
    for told in (application.forms("/answer")[0], application.forms("/hangup")[1]):
        assert told["CallUUID"] == came_in.call_uuid
        assert not set(ORDERED) & set(told)


@pytest.mark.parametrize(
    ("behaviour", "status", "cause"),
    [
        (Behaviour(on_ring="busy"), "busy", "USER_BUSY"),
        (Behaviour(on_ring="reject"), "busy", "CALL_REJECTED"),
        (Behaviour(on_ring="ignore"), "no-answer", "NO_ANSWER"),
    ],
)
async def test_only_a_call_that_was_ordered_is_told_to_have_been_busy_or_unanswered(
    network: Network, application: Application, behaviour: Behaviour, status: str, cause: str
) -> None:
    network.phone(ALICE).behaviour = behaviour
    await reported(application, network.place(NUMBER, ALICE, order(application)))
    (told,) = application.forms("/hangup")
    assert (told["CallStatus"], told["HangupCause"]) == (status, cause)


@pytest.mark.parametrize(("reason", "code"), [("busy", "3010"), ("rejected", "3020")])
async def test_a_call_that_came_in_is_completed_however_it_ended(
    network: Network, application: Application, reason: str, code: str
) -> None:
    application.documents["/answer"] = f'<Response><Hangup reason="{reason}"/></Response>'
    await reported(application, network.dial(ALICE, NUMBER))
    (told,) = application.forms("/hangup")
    assert (told["CallStatus"], told["HangupCauseCode"]) == ("completed", code)


@pytest.mark.parametrize(
    ("behaviour", "rang", "status", "cause"),
    [
        (Behaviour(hangs_up_after=1), "true", "completed", "NORMAL_CLEARING"),
        (Behaviour(on_ring="reject"), "true", "busy", "CALL_REJECTED"),
        (Behaviour(on_ring="ignore"), "true", "no-answer", "NO_ANSWER"),
        (Behaviour(on_ring="busy"), "false", "busy", "USER_BUSY"),
    ],
)
async def test_a_dials_action_is_told_of_the_callees_leg_only_if_somebody_answered(
    network: Network, application: Application, behaviour: Behaviour, rang: str, status: str, cause: str
) -> None:
    connect(application, timeout=5)
    network.phone(BOB).behaviour = behaviour
    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    (told,) = application.forms("/done")
    assert record.callee is not None
    leg = record.callee.leg_uuid if status == "completed" else ""
    names = ("DialRingStatus", "DialStatus", "DialHangupCause", "DialALegUUID", "DialBLegUUID")
    assert [told[name] for name in names] == [rang, status, cause, record.call_uuid, leg]


async def test_a_fallback_is_for_an_answer_url_that_cannot_be_reached_not_for_what_it_says(
    network: Network, application: Application
) -> None:
    application.documents["/sorry"] = "<Response><Speak>Sorry.</Speak></Response>"
    asked = order(application)._replace(fallback=Webhook(f"{application.base}/sorry"))
    application.documents["/placed"] = "this is no XML"
    record = network.place(NUMBER, ALICE, asked)
    await until(lambda: record.reported)
    assert (record.caller.cause.code, application.forms("/sorry")) == (8011, [])

    application.failures["/placed"] = [503]
    record = network.place(NUMBER, ALICE, asked)
    await until(lambda: record.reported)
    assert (record.caller.cause.code, heard(record)) == (4010, ["Sorry."])


async def test_an_action_that_is_not_followed_fails_no_call(network: Network, application: Application) -> None:
    base = application.base
    application.documents["/answer"] = (
        f'<Response><Dial action="{base}/done" redirect="false"><Number>{BOB[1:]}</Number></Dial>'
        "<Speak>Goodbye.</Speak></Response>"
    )
    application.failures["/done"] = [503]
    network.phone(BOB).behaviour = Behaviour(hangs_up_after=1)
    record = network.dial(ALICE, NUMBER)
    await reported(application, record)
    assert (record.caller.cause.code, heard(record)) == (4010, ["Goodbye."])


async def test_a_wait_that_comes_first_lasts_before_the_call_is_picked_up(
    network: Network, application: Application
) -> None:
    application.documents["/answer"] = (
        '<Response><Wait length="60"/><Speak>Hello.</Speak><Wait length="5"/><Hangup/></Response>'
    )
    record = network.dial(ALICE, NUMBER)
    await reported(application, record)
    assert record.caller.answered_at is not None
    assert (record.caller.answered_at - record.caller.began_at).total_seconds() >= 60
    assert 7 <= record.caller.duration < 60
