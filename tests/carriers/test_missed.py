"""Asking the carrier for what it missed to tell: against the simulator, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from masking.carriers.missed import Missed, missed
from masking.carriers.simulator.application import Webhook
from masking.carriers.simulator.call_parts import Order
from masking.carriers.simulator.network import Network
from masking.carriers.simulator.phones import MAGIC, Behaviour
from masking.carriers.simulator.records import CallRecord
from masking.carriers.voice.calls_api import CallsApi
from masking.carriers.voice.webhooks import caller_hangup, dial_event, recording_completed
from masking.domain.events import Call, Hangup, LegName, Side
from tests.carriers.conftest import ALICE, AUTH_ID, BOB, NUMBER, TOKEN, Application, until

pytestmark = pytest.mark.anyio

SOME_CALL = Call(call_uuid="some-call", caller=Side.FIRST, from_number=ALICE, to_number=BOB, dialled=False)


def connect(application: Application, to: str = BOB, *, play: bool = False) -> None:
    """Have calls connected, after an audio where wanted, and recorded."""
    base = application.base
    sound = "<Play>https://x.example/hello.mp3</Play><Wait length='600'/>" if play else ""
    application.documents["/answer"] = (
        f'<Response>{sound}<Record startOnDialAnswer="true" redirect="false" fileFormat="wav" maxLength="600"'
        f' callbackUrl="{base}/recording"/><Dial callerId="{NUMBER[1:]}" timeout="30" timeLimit="600"'
        f' callbackUrl="{base}/dial"><Number>{to[1:]}</Number></Dial></Response>'
    )


async def over(record: CallRecord) -> Call:
    """Wait until everything about a call has been reported; the call in our words."""
    await until(lambda: record.reported)
    return in_our_words(record)


def in_our_words(record: CallRecord, *, dialled: bool = True) -> Call:
    return Call(
        call_uuid=record.call_uuid,
        caller=Side.FIRST,
        from_number=record.caller.number,
        to_number=BOB,
        dialled=dialled,
        recorded=dialled,
    )


def told(application: Application, call: Call) -> Missed:
    """What the webhooks said of the same."""
    now = datetime.now(UTC)
    dialled = (dial_event(form, call, now) for form in application.forms("/dial"))
    return Missed(
        hangups=(
            *(caller_hangup(form, call, now, now) for form in application.forms("/hangup")),
            *(event for event in dialled if isinstance(event, Hangup)),
        ),
        recordings=tuple(recording_completed(form, call, now) for form in application.forms("/recording")),
    )


def facts(events: Missed) -> list[dict[str, Any]]:
    """What was told, but for the events' ids and when we were told."""
    return [
        *(hangup.model_dump(exclude={"event_id", "at", "ended_at"}) for hangup in events.hangups),
        *(recording.model_dump(exclude={"event_id", "at"}) for recording in events.recordings),
    ]


def carrier_with(**fields: object) -> CallsApi:
    """A carrier that has one record for every id."""
    answer = httpx.MockTransport(lambda _: httpx.Response(200, json={"call_uuid": "some-call", **fields}))
    return CallsApi(httpx.AsyncClient(transport=answer), "http://carrier.example", AUTH_ID, TOKEN)


async def test_an_answered_and_recorded_call(network: Network, application: Application, api: CallsApi) -> None:
    connect(application)
    network.phone(BOB).behaviour = Behaviour(hangs_up_after=30)
    call = await over(network.dial(ALICE, NUMBER))

    found = await missed(api, call)

    caller, callee = found.hangups
    (recording,) = found.recordings
    assert (caller.leg, callee.leg) == (LegName.CALLER, LegName.CALLEE)
    assert (caller.event_id, callee.event_id, recording.event_id) == (
        f"{call.call_uuid}:caller:hangup:asked",
        f"{call.call_uuid}:callee:hangup:asked",
        f"{call.call_uuid}:recording:asked",
    )
    assert caller.leg_uuid == call.call_uuid
    assert (callee.cause, callee.cause_code, callee.source) == ("Normal Hangup", 4000, "Callee")
    assert 30 <= callee.duration < caller.duration
    assert recording.duration == callee.duration
    assert recording.ended_at - recording.started_at <= timedelta(seconds=recording.duration)
    assert all(at.utcoffset() == timedelta(0) for at in (caller.at, recording.started_at, recording.ended_at))
    assert facts(found) == facts(told(application, call))


async def test_an_end_is_dated_where_the_carriers_clock_is_ours(
    network: Network, application: Application, api: CallsApi
) -> None:
    connect(application)
    network.phone(BOB).behaviour = Behaviour(hangs_up_after=30)
    call = await over(network.dial(ALICE, NUMBER))

    # The network's clock runs ahead of ours.
    assert [hangup.ended_at for hangup in (await missed(api, call)).hangups] == [None, None]

    ours = carrier_with(initiation_time="2025-01-02 15:00:00+05:30", end_time="2025-01-02 15:00:40+05:30")
    (hangup,) = (await missed(ours, SOME_CALL)).hangups
    assert hangup.ended_at == hangup.happened_at == datetime(2025, 1, 2, 9, 30, 40, tzinfo=UTC)

    backwards = carrier_with(initiation_time="2025-01-02 15:00:00", end_time="2025-01-02 14:00:00")
    (hangup,) = (await missed(backwards, SOME_CALL)).hangups
    assert hangup.ended_at is None


@pytest.mark.parametrize("role", ["callee", "caller", "called first"])
@pytest.mark.parametrize("behaviour", sorted(MAGIC))
async def test_what_was_missed_equals_what_the_webhooks_said_however_a_phone_behaves(
    network: Network, application: Application, api: CallsApi, behaviour: str, role: str
) -> None:
    magic = f"+120255501{behaviour}"
    connect(application, magic if role == "callee" else BOB)
    for phone in (ALICE, BOB):
        network.phone(phone).behaviour = Behaviour(hangs_up_after=5)
    if role == "called first":
        order = Order(Webhook(f"{application.base}/answer"), Webhook(f"{application.base}/hangup"), 30, 600)
        record = network.place(NUMBER, magic, order)
    else:
        record = network.dial(ALICE if role == "callee" else magic, NUMBER)
    await until(lambda: record.reported)
    call = in_our_words(record, dialled=bool(record.callees))

    found = await missed(api, call)

    assert facts(found) == facts(told(application, call))
    assert len(found.hangups) == len(record.legs)
    assert bool(found.recordings) == any(leg.connected for leg in record.callees)


async def test_a_call_that_goes_on_yields_nothing(network: Network, application: Application, api: CallsApi) -> None:
    connect(application)
    record = network.dial(ALICE, NUMBER)
    await until(lambda: record.callee is not None and record.callee.connected)

    assert await api.find_call(record.call_uuid) is None
    assert await missed(api, in_our_words(record)) == Missed()
    network.phone(ALICE).hang_up()


async def test_the_leg_that_ended_is_told_while_the_other_goes_on(
    network: Network, application: Application, api: CallsApi
) -> None:
    connect(application)
    document = application.documents["/answer"]
    application.documents["/answer"] = document.replace("</Response>", '<Wait length="6000"/></Response>')
    network.phone(BOB).behaviour = Behaviour(hangs_up_after=5)
    record = network.dial(ALICE, NUMBER)
    await until(lambda: record.callee is not None and record.callee.ended_at is not None)

    found = await missed(api, in_our_words(record))
    assert [hangup.leg for hangup in found.hangups] == [LegName.CALLEE]
    assert found.hangups[0].duration >= 5
    network.phone(ALICE).hang_up()


@pytest.mark.parametrize("live", [{}, {"end_time": None}, {"end_time": ""}, {"end_time": "0000-00-00 00:00:00"}])
async def test_a_record_without_an_end_is_one_of_a_leg_that_goes_on(live: dict[str, object]) -> None:
    assert await missed(carrier_with(**live), SOME_CALL) == Missed()


async def test_a_caller_who_leaves_before_anybody_is_dialled_ends_both_legs(
    network: Network, application: Application, api: CallsApi
) -> None:
    connect(application, play=True)
    record = network.dial(ALICE, NUMBER)
    await until(lambda: any(line.what == "heard" for line in record.transcript))
    network.phone(ALICE).hang_up()
    call = await over(record)

    found = await missed(api, call)

    caller, callee = found.hangups
    assert facts(found)[0] == facts(told(application, call))[0]
    assert (callee.leg, callee.leg_uuid, callee.duration) == (LegName.CALLEE, "", 0)
    assert (callee.cause, callee.cause_code, callee.source) == (caller.cause, caller.cause_code, caller.source)
    assert found.recordings == ()


async def test_a_call_that_connects_nobody_has_no_callee(
    network: Network, application: Application, api: CallsApi
) -> None:
    application.documents["/answer"] = "<Response><Speak>Goodbye.</Speak><Hangup/></Response>"
    record = network.dial(ALICE, NUMBER)
    await over(record)
    found = await missed(api, in_our_words(record, dialled=False))
    assert [hangup.leg for hangup in found.hangups] == [LegName.CALLER]


async def test_a_call_that_the_carrier_never_had_yields_nothing(api: CallsApi) -> None:
    assert await api.find_call("some-call") is None
    assert await api.find_call("../../Recording/") is None
    assert await missed(api, SOME_CALL.model_copy(update={"dialled": True, "recorded": True})) == Missed()
