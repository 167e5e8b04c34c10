"""Every way a call can go, through the telephone bench: what customers are told, what phones saw and heard."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from masking.carriers.simulator import interpreter
from masking.carriers.simulator.call import Call
from masking.carriers.simulator.call_parts import OngoingCall
from masking.carriers.simulator.elements import Play
from masking.carriers.simulator.phones import Behaviour
from tests.conftest import ACCOUNT, TOKEN
from tests.integration.conftest import Receiver, System
from tests.integration.telephone import Telephone, heard, heard_on, speed, telephone

__all__ = ["speed", "telephone"]
pytestmark = [pytest.mark.anyio, pytest.mark.long]

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


async def conversations(system: System, session: dict[str, Any]) -> list[dict[str, Any]]:
    """What the session resource tells of its interactions, which must add up to its totals."""
    shown = await resource(system, session)
    found: list[dict[str, Any]] = shown["interaction"] or []
    assert shown["total_call_count"] == sum(each["total_call_count"] for each in found)
    assert shown["total_call_billed_duration"] == sum(each["call_billed_duration"] for each in found)
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
    await heard(receiver, "SessionPartiesHangup", 2)
    one, two = await conversations(system, session)
    assert one["first_party_resource_url"].endswith(f"/Call/{call.call_uuid}")
    assert two["second_party_resource_url"].endswith(f"/Call/{back.call_uuid}")
    assert "recording_resource_url" in one


@pytest.fixture
def audio_ends(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The audio that is played goes on until this is set."""
    ends = asyncio.Event()

    async def listen(call: OngoingCall, leg: str, sound: Play) -> None:
        call.note(leg, "heard", sound.url)
        await ends.wait()

    monkeypatch.setattr(interpreter, "listen", listen)
    return ends


async def listening(telephone: Telephone, call_uuid: str) -> None:
    """Wait until the caller hears its audio."""
    async with asyncio.timeout(60):
        while not heard_on(await telephone.phones.call(call_uuid), "caller"):  # noqa: ASYNC110 it is across HTTP
            await asyncio.sleep(0.02)


async def test_the_second_party_rings_once_the_caller_has_heard_its_audio(
    system: System, telephone: Telephone, receiver: Receiver, audio_ends: asyncio.Event
) -> None:
    session = await create(system, receiver, first_party_play_url="https://x.example/1.mp3")
    await telephone.phones.behave(SECOND, Behaviour(on_ring="manual"))
    call_uuid = await telephone.phones.dial(FIRST, session["number"])
    await heard(receiver, "SessionFirstPartyAnswer")
    await listening(telephone, call_uuid)
    assert (await telephone.phones.phone(SECOND)).state == "idle"
    assert "SessionSecondPartyRing" not in receiver.names

    audio_ends.set()
    await telephone.phones.wait_for(SECOND, "ringing")
    rang = await heard(receiver, "SessionSecondPartyRing")
    assert (rang["From"], rang["To"]) == (FIRST[1:], SECOND[1:])


@pytest.mark.usefixtures("audio_ends")
@pytest.mark.parametrize("placed", [False, True], ids=["called us", "we called"])
async def test_a_caller_who_leaves_while_it_hears_its_audio_ends_the_conversation_and_nobody_rings(
    system: System, telephone: Telephone, receiver: Receiver, *, placed: bool
) -> None:
    session = await create(
        system, receiver, first_party_play_url="https://x.example/1.mp3", initiate_call_to_first_party=placed
    )
    if placed:
        await telephone.phones.wait_for(FIRST, "talking")
        (placed_call,) = await telephone.phones.calls()
        call_uuid = placed_call.call_uuid
    else:
        call_uuid = await telephone.phones.dial(FIRST, session["number"])
    await listening(telephone, call_uuid)
    await telephone.phones.hang_up(FIRST)
    call = await telephone.over(call_uuid)
    await heard(receiver, "SessionPartiesHangup")

    assert call.callee is None
    assert receiver.names == ["SessionFirstPartyAnswer", "SessionFirstPartyHangup", "SessionPartiesHangup"]
    left, ended = receiver.requests[1:]
    assert [ended[name] for name in ("Duration", "Amount")] == [left[name] for name in ("Duration", "Amount")]
    (interaction,) = await conversations(system, session)
    assert "second_party_resource_url" not in interaction
    assert interaction["total_call_count"] == 1
    assert (await resource(system, session))["status"] == "active"


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
    for session in (silent, talking):
        assert await conversations(system, session) == []
        assert (await resource(system, session))["status"] == "active"


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
    shown = await resource(system, session)
    assert (shown["second_party"], shown["status"]) == (SECOND[1:], "expired")
    assert [each["total_call_count"] for each in await conversations(system, session)] == [2] * 4


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
    await telephone.phones.behave(FIRST, Behaviour(on_ring="manual"))
    session = await create(
        system, receiver, initiate_call_to_first_party=True, first_party_play_url="https://x.example/1.mp3"
    )
    ringing = await telephone.phones.wait_for(FIRST, "ringing")
    assert ringing.screen == session["number"]
    assert (await resource(system, session))["initiate_call_to_first_party"] is True
    await telephone.phones.answer(FIRST)
    assert (await telephone.phones.wait_for(SECOND, "talking")).screen == session["number"]
    await heard(receiver, "SessionFirstPartyAnswer")
    assert (await resource(system, session))["status"] == "in-progress"
    await telephone.phones.hang_up(SECOND)
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
    (interaction,) = await conversations(system, session)
    assert interaction["duration"] == final.calls.duration
    assert interaction["first_party_resource_url"].endswith(f"/Call/{call.call_uuid}")
    legs = [(await system.http.get(interaction[f"{party}_party_resource_url"])).json() for party in ("first", "second")]
    shown = [(leg["call_direction"], leg["from_number"], leg["to_number"]) for leg in legs]
    assert shown == [("outbound", session["virtual_number"], party[1:]) for party in (FIRST, SECOND)]
    assert legs[0]["initiation_time"] == interaction["start_time"].replace(" +0000 UTC", "+00:00")
    assert "we called the first party, and it answered" in await system.sessions.story(session["session_uuid"])


async def test_the_first_party_is_called_however_long_its_calls_may_last(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=3))

    await create(system, receiver, initiate_call_to_first_party=True, call_time_limit=86_400, ring_timeout=600)

    assert (await heard(receiver, "SessionPartiesHangup"))["PlivoHangupCause"] == "Normal Hangup"


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
    (interaction,) = await conversations(system, session)
    assert (interaction["total_call_count"], interaction["duration"]) == (1, 0)
    assert "second_party_resource_url" not in interaction


async def test_a_party_that_calls_while_the_other_talks_gets_busy_and_the_session_knows_why(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session = await create(system, receiver, **PIN)
    # The first party talks from another phone, and somebody picks up its own.
    await telephone.phones.behave(STRANGER, Behaviour(presses=("1234#",)))
    talk = await telephone.phones.dial(STRANGER, session["number"])
    await telephone.phones.wait_for(SECOND, "talking")
    meanwhile = await telephone.call(FIRST, session["number"])
    assert (meanwhile.caller.cause.name, meanwhile.caller.answered_at, meanwhile.callee) == ("Busy Line", None, None)
    await heard(receiver, "SessionFirstPartyAnswer")
    assert (await resource(system, session))["status"] == "in-progress"
    await telephone.phones.hang_up(STRANGER)
    await telephone.over(talk)
    await heard(receiver, "SessionPartiesHangup")

    assert pins(receiver) == [("success", "0", STRANGER[1:]), ("AuthorizedCaller", "0", FIRST[1:])]
    assert len(await conversations(system, session)) == 1
    story = await system.sessions.story(session["session_uuid"])
    assert "a call was not connected: the session already has a conversation" in story
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=1))
    assert (await telephone.call(FIRST, session["number"])).callee is not None


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
    assert (await resource(system, session))["status"] == "expired"
    assert len(await conversations(system, session)) == 1


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


async def test_a_head_request_for_a_recordings_audio_sends_its_size_and_none_of_it(
    system: System, telephone: Telephone, receiver: Receiver
) -> None:
    session = await create(system, receiver, record=True, recording_callback_url=receiver.url)
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=5))
    await telephone.call(FIRST, session["number"])
    url = httpx.URL((await heard(receiver, "SessionRecordingCompleted"))["RecordingURL"])
    size = len((await system.http.get(url)).content)

    signed_in = httpx.BasicAuth(ACCOUNT, TOKEN).auth_flow
    basic = next(signed_in(httpx.Request("HEAD", url))).headers["Authorization"]
    headers = f"HTTP/1.1\r\nHost: {url.netloc.decode()}\r\nAuthorization: {basic}\r\n"
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"HEAD {url.path} {headers}\r\nGET /healthz {headers}Connection: close\r\n\r\n".encode())
    head, rest = (await asyncio.wait_for(reader.read(), 60)).split(b"\r\n\r\n", 1)
    writer.close()
    await writer.wait_closed()
    assert f"Content-Length: {size}".encode() in head.split(b"\r\n")
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n"), "the next answer follows at once"


async def test_a_recording_that_the_carrier_loses_is_told_as_failed(
    system: System, telephone: Telephone, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_recording(*_: object) -> None:
        """Nothing comes of it."""

    monkeypatch.setattr(Call, "_make_recording", no_recording)
    session = await create(system, receiver, record=True, recording_callback_url=receiver.url)
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=5))
    call = await telephone.call(FIRST, session["number"])
    told = await heard(receiver, "SessionRecordingFailed")
    final = await expire(system, session)

    assert call.recordings == []
    assert (told["From"], told["To"]) == (FIRST[1:], SECOND[1:])
    recordings = [name for name in receiver.names if "Recording" in name]
    assert recordings == ["SessionRecordingInitiated", "SessionRecordingFailed"]
    (interaction,) = await conversations(system, session)
    assert "recording_resource_url" not in interaction
    assert final.calls.call_count == 2


async def test_the_time_limit_ends_the_conversation(system: System, telephone: Telephone, receiver: Receiver) -> None:
    session = await create(system, receiver, call_time_limit=60)
    call = await telephone.call(FIRST, session["number"])
    told = await heard(receiver, "SessionPartiesHangup")

    assert (told["PlivoHangupCause"], told["PlivoHangupCauseCode"]) == ("Scheduled Hangup", "6000")
    assert call.callee is not None
    # A busy machine may end it seconds later, each of which is twenty here.
    assert 60 <= call.callee.duration < 260
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
    await heard(receiver, "SessionPartiesHangup")
    (interaction,) = await conversations(system, session)
    assert interaction["total_call_count"] == 2
