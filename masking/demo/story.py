"""The demo's one story: a ride's two people, a masked call, a recording, an extension, the end, the bill."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import httpx

from masking.carriers.simulator.client import SimulatorClient
from masking.carriers.simulator.phones import Behaviour
from masking.demo.plivo_sdk import PlivoSdk
from masking.demo.receiver import Callback, Receiver
from masking.demo.timeline import StepFailed, Timeline, check
from masking.domain.bill.charges import Bill
from masking.provision import DemoAccount
from masking.run.system import ReadySystem

RINGS_S, TALK_S = 1.0, 4.0
"""How long the phones ring and the parties talk, in the telephone network's seconds."""

SETTLED_WITHIN_S = 30.0
EXPECTED = (
    "SessionFirstPartyAnswer",
    "SessionSecondPartyRing",
    "SessionSecondPartyAnswer",
    "SessionRecordingInitiated",
    "SessionSecondPartyHangup",
    "SessionFirstPartyHangup",
    "SessionPartiesHangup",
    "SessionRecordingCompleted",
    "SessionTimeout",
)

Json = dict[str, Any]


@dataclass
class Played:
    """What is known of the story so far: the session as the API showed it last, and its callbacks."""

    session: Json = field(default_factory=dict)
    callbacks: list[Callback] = field(default_factory=list)


async def play(system: ReadySystem, timeline: Timeline, played: Played) -> None:
    """Play the story against a running system.

    Args:
        played: filled on the way, so that it tells what happened also when a step fails.

    Raises:
        StepFailed: a step did not happen as promised.
        MaskingError: the phones did not play along, or Temporal does not know the session.
    """
    # None of those that pages name: somebody may have told them how to behave.
    first, second = (f"+1202555{number:04}" for number in random.sample(range(110, 140), 2))
    sdk = PlivoSdk(system.api_url, system.account)
    receiver = Receiver(lambda callback: timeline.add("callback", _told(callback)))
    played.callbacks = receiver.callbacks
    async with receiver.listening(), SimulatorClient(system.simulator_url) as phones:
        session = played.session = await _create(sdk, timeline, receiver, first, second)
        await _talk(phones, timeline, receiver, session, first, second)
        await _listen_to_recording(timeline, receiver, system.account)
        await _extend_and_expire(sdk, timeline, receiver, session)
        for name in EXPECTED:
            await receiver.expect(name)
        settled = await _settled(system, session)
        played.session = await _bill(sdk, timeline, session, settled)


async def _create(sdk: PlivoSdk, timeline: Timeline, receiver: Receiver, first: str, second: str) -> Json:
    created = await sdk.create(
        first_party=first,
        second_party=second,
        session_expiry=600,
        record=True,
        callback_url=receiver.url,
        recording_callback_url=receiver.url,
    )
    session: Json = created["session"]
    timeline.add("backend", f"plivo SDK: create_masking_session({first}, {second})")
    number = created["virtual_number"]
    timeline.add("backend", f"session {session['session_uuid']}, virtual number {number}", number)
    check(session["status"] == "active", "the new session is not active")
    return session


async def _talk(
    phones: SimulatorClient, timeline: Timeline, receiver: Receiver, session: Json, first: str, second: str
) -> None:
    virtual_number = f"+{session['virtual_number']}"
    # The phones act by themselves, by the network's clock, so that the story is the same at any speed.
    await phones.behave(first, Behaviour(hangs_up_after=TALK_S))
    await phones.behave(second, Behaviour(answers_after=RINGS_S))
    call_uuid = await phones.dial(first, virtual_number)
    timeline.add("first party", f"{first} dials {virtual_number}")
    record = await phones.call_once(call_uuid, lambda call: call.callee is not None, "ring at the second party")
    screen = record.callee.screen if record.callee else None
    timeline.add("second party", f"{second} rings; its screen shows {screen}", screen or "")
    check(screen == virtual_number, "the second party's screen does not show the virtual number")
    await phones.call_once(call_uuid, lambda call: call.callee is not None and call.callee.connected, "connect them")
    timeline.add("second party", "picks up; they talk")
    await receiver.expect("SessionSecondPartyAnswer")
    record = await phones.call_once(call_uuid, lambda call: call.ended, "end")
    timeline.add("first party", "hangs up")
    shown = {record.caller.screen, record.callee.screen if record.callee else None}
    check(shown == {virtual_number}, "a party saw a number that is not the virtual one")
    timeline.add("backend", "neither party ever saw the other's number")


async def _listen_to_recording(timeline: Timeline, receiver: Receiver, account: DemoAccount) -> None:
    recorded = await receiver.expect("SessionRecordingCompleted")
    async with httpx.AsyncClient(timeout=10, trust_env=False, auth=account) as http:
        audio = await http.get(recorded["RecordingURL"])
    check(audio.status_code == 200 and len(audio.content) > 1000, "the recording cannot be fetched")
    size = len(audio.content) // 1024
    timeline.add("backend", f"recording: {recorded['RecordingDuration']} s of mp3, {size} kB")


async def _extend_and_expire(sdk: PlivoSdk, timeline: Timeline, receiver: Receiver, session: Json) -> None:
    uuid = session["session_uuid"]
    extended = (await sdk.update(uuid, session_expiry=1800))["session"]
    timeline.add("backend", f"extended: expires {extended['expiry_time']} instead of {session['expiry_time']}")
    check(extended["expiry_time"] > session["expiry_time"], "the extension did not move the expiry")
    await sdk.delete(uuid)
    timeline.add("backend", "expired early")
    await receiver.expect("SessionTimeout")


async def _settled(system: ReadySystem, session: Json) -> Bill:
    """The bill that the session's workflow ends with."""
    try:
        async with asyncio.timeout(SETTLED_WITHIN_S):
            return await system.sessions.final_bill(session["session_uuid"])
    except TimeoutError:
        raise StepFailed(f"the session was not settled within {SETTLED_WITHIN_S:g} s") from None


async def _bill(sdk: PlivoSdk, timeline: Timeline, session: Json, settled: Bill) -> Json:
    final: Json = (await sdk.get(session["session_uuid"]))["response"]
    check(final["status"] == "expired", "the session is not expired")
    check(final["total_call_count"] == 2, "the bill does not count two legs")
    check(final["total_call_amount"] > 0, "the bill is empty")
    amount = f"{final['total_session_amount']:.5f}"
    check(amount == f"{settled.total_amount:.5f}", "the API's bill is not the workflow's")
    (interaction,) = final["interaction"]
    check("recording_resource_url" in interaction, "the interaction has no recording")
    usd = f"{amount} USD"
    billed = final["total_call_billed_duration"]
    timeline.add("bill", f"{final['total_call_count']} legs, {billed} s billed, {usd}", usd)
    return final


def _told(callback: Callback) -> str:
    about = {
        "SessionRecordingCompleted": "RecordingDuration",
        "SessionFirstPartyHangup": "PlivoHangupCause",
        "SessionSecondPartyHangup": "PlivoHangupCause",
        "SessionPartiesHangup": "Amount",
    }.get(callback["EventName"])
    return f"{callback['EventName']}" + (f" · {about} {callback[about]}" if about else "")
