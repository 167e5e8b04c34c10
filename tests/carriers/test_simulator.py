"""The telephone network, seen from the application behind a number."""

from __future__ import annotations

import asyncio

import pytest

from masking.carriers.simulator.network import Network
from masking.carriers.simulator.phones import Behaviour, WrongState
from masking.carriers.simulator.records import CallRecord
from tests.carriers.conftest import ALICE, BOB, NUMBER, SPEED, Application, connect, reported, until

pytestmark = pytest.mark.anyio


def said(record: CallRecord) -> list[str]:
    return [f"{line.leg} {line.what}" for line in record.transcript]


async def test_a_call_is_connected_and_every_step_reported(network: Network, application: Application) -> None:
    connect(application)
    network.phone(BOB).behaviour = Behaviour(answers_after=3, hangs_up_after=61)

    record = network.dial(ALICE, NUMBER)
    await until(lambda: network.phone(BOB).state == "ringing")
    assert network.phone(BOB).screen == NUMBER
    assert network.phone(ALICE).screen == NUMBER
    await reported(application, record)

    asked = application.forms("/answer")[0]
    assert (asked["From"], asked["To"], asked["Direction"], asked["CallStatus"], asked["Event"]) == (
        ALICE[1:],
        NUMBER[1:],
        "inbound",
        "ringing",
        "StartApp",
    )
    answer, connected, hangup = application.forms("/dial")
    assert (answer["DialAction"], connected["DialAction"], hangup["DialAction"]) == ("answer", "connected", "hangup")
    assert answer["DialALegUUID"] == answer["CallUUID"] == record.call_uuid
    assert (answer["DialBLegFrom"], answer["DialBLegTo"]) == (NUMBER[1:], BOB[1:])
    # A busy machine may stand still for a moment, which is a hundred times as long here.
    minutes = -(-int(hangup["DialBLegDuration"]) // 60)
    assert 61 <= int(hangup["DialBLegDuration"]) < 600
    assert (hangup["DialBLegBillDuration"], hangup["DialBLegTotalCost"]) == (
        f"{60 * minutes}",
        f"{0.005 * minutes:.3f}",
    )
    assert (hangup["DialBLegHangupCauseCode"], hangup["DialBLegHangupSource"]) == ("4000", "Callee")
    assert application.forms("/done")[0]["DialStatus"] == "completed"
    ended = application.forms("/hangup")[0]
    assert int(ended["Duration"]) >= int(hangup["DialBLegDuration"]) + 3
    assert (ended["HangupCauseName"], ended["HangupCauseCode"]) == ("Normal Hangup", "4000")
    assert ended["EndTime"] == f"{record.caller.ended_at:%Y-%m-%d %H:%M:%S}"
    assert ended["AnswerTime"] == f"{record.caller.answered_at:%Y-%m-%d %H:%M:%S}"
    assert asked["SessionStart"] == f"{record.caller.began_at:%Y-%m-%d %H:%M:%S.%f}"
    assert said(record) == [
        "caller dialled",
        "callee rang",
        "callee answered",
        "callee connected",
        "callee hung up",
        "caller hung up",
    ]
    assert {network.phone(phone).state for phone in (ALICE, BOB)} == {"idle"}


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (Behaviour(on_ring="busy"), "busy", "3010"),
        (Behaviour(on_ring="reject"), "busy", "3020"),
        (Behaviour(on_ring="ignore"), "no-answer", "6010"),
    ],
)
async def test_a_callee_that_does_not_answer(
    network: Network, application: Application, behaviour: Behaviour, status: str, code: str
) -> None:
    connect(application, timeout=20)
    network.phone(BOB).behaviour = behaviour

    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    (hangup,) = application.forms("/dial")
    assert (hangup["DialAction"], hangup["DialBLegHangupCauseCode"], hangup["DialBLegDuration"]) == (
        "hangup",
        code,
        "0",
    )
    assert application.forms("/done")[0]["DialStatus"] == status


async def test_a_caller_who_gives_up_while_it_rings(network: Network, application: Application) -> None:
    connect(application)
    network.phone(BOB).behaviour = Behaviour(on_ring="manual")

    record = network.dial(ALICE, NUMBER)
    await until(lambda: network.phone(BOB).state == "ringing")
    network.phone(ALICE).hang_up()
    await reported(application, record)

    (hangup,) = application.forms("/dial")
    assert (hangup["DialBLegHangupCauseCode"], hangup["DialBLegHangupSource"]) == ("1000", "Caller")
    assert application.forms("/hangup")[0]["HangupCauseCode"] == "1000"
    assert network.phone(BOB).state == "idle"


async def test_a_caller_who_hangs_up_while_they_talk(network: Network, application: Application) -> None:
    connect(application)
    network.phone(ALICE).behaviour = Behaviour(hangs_up_after=30)

    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    hangup = application.forms("/dial")[-1]
    assert (hangup["DialBLegHangupCauseCode"], hangup["DialBLegHangupSource"]) == ("4000", "Caller")
    ended = application.forms("/hangup")[0]
    assert (ended["HangupCauseCode"], ended["HangupSource"]) == ("4000", "Caller")


async def test_the_time_limit_ends_both_legs(network: Network, application: Application) -> None:
    connect(application, limit=40)

    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    assert application.forms("/dial")[-1]["DialBLegHangupCauseCode"] == "6000"
    assert application.forms("/hangup")[0]["HangupCauseCode"] == "6000"


@pytest.mark.parametrize(
    ("document", "code", "answered"),
    [
        ('<Response><Hangup reason="rejected"/></Response>', "3020", False),
        ('<Response><Hangup reason="busy"/></Response>', "3010", False),
        ("<Response><Speak>Sorry.</Speak><Hangup/></Response>", "4000", True),
        ("<Response><Wait length='1'/></Response>", "4010", True),
        ("<Response><Sing>la</Sing></Response>", "8011", False),
        ("<Response><Dial><Number>1</Number></Response>", "8011", False),
        ('<Response><Dial callerId="me"><Number>12025550102</Number></Dial></Response>', "8011", False),
        ("<Response><Play>file:///etc/passwd</Play></Response>", "8011", False),
        ('<Response><Hangup because="x"/></Response>', "8011", False),
        ("<Answer/>", "8011", False),
        ("<Response>" + " " * 110_000 + "</Response>", "8011", False),
    ],
)
async def test_documents_are_obeyed_or_refused_as_the_real_carrier_would(
    network: Network, application: Application, document: str, code: str, answered: bool
) -> None:
    application.documents["/answer"] = document

    await reported(application, network.dial(ALICE, NUMBER))

    ended = application.forms("/hangup")[0]
    assert ended["HangupCauseCode"] == code
    assert ("AnswerTime" in ended) == answered


async def test_an_application_that_fails_ends_the_call(network: Network, application: Application) -> None:
    application.status = 404

    record = network.dial(ALICE, NUMBER)
    await until(lambda: record.ended)

    assert record.caller.cause.code == 7011


async def test_a_hidden_caller_and_a_call_to_oneself(network: Network, application: Application) -> None:
    connect(application)
    network.phone(ALICE).behaviour = Behaviour(hidden=True, hangs_up_after=1)
    await reported(application, network.dial(ALICE, NUMBER))
    assert application.forms("/answer")[0]["From"] == "anonymous"

    await reported(application, network.dial(BOB, NUMBER))
    await until(lambda: len(application.forms("/hangup")) == 2)
    assert application.forms("/dial")[-1]["DialBLegHangupCauseCode"] == "2060"


async def test_a_phone_in_a_call_is_busy_and_cannot_dial(network: Network, application: Application) -> None:
    connect(application)
    network.phone(BOB).behaviour = Behaviour(on_ring="manual")
    network.dial(ALICE, NUMBER)
    await until(lambda: network.phone(BOB).state == "ringing")

    with pytest.raises(WrongState, match="takes part in a call"):
        network.dial(ALICE, NUMBER)
    with pytest.raises(WrongState, match="not in service"):
        network.dial("+12025550103", "+12025550104")
    network.dial("+12025550103", NUMBER)
    await until(lambda: any(f["DialBLegHangupCauseCode"] == "3010" for f in application.forms("/dial")))
    network.phone(ALICE).hang_up()


async def test_the_clock_runs_at_its_speed(network: Network, application: Application) -> None:
    connect(application)
    network.phone(BOB).behaviour = Behaviour(answers_after=10, hangs_up_after=200)
    began = asyncio.get_running_loop().time()

    record = network.dial(ALICE, NUMBER)
    await reported(application, record)

    real = asyncio.get_running_loop().time() - began
    assert record.caller.duration >= 210
    assert real < record.caller.duration / SPEED + 10
