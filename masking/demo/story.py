"""The demo's one story: a ride's two people, a masked call, a recording, an extension, the end, the bill."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import httpx

from masking.carriers.simulator.client import SimulatorClient
from masking.carriers.simulator.phones import Behaviour
from masking.demo.plivo_sdk import PlivoSdk
from masking.demo.receiver import Callback, Receiver
from masking.demo.timeline import Timeline, check
from masking.provision import DemoAccount
from masking.run.system import ReadySystem

TALK_S = 4.0
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


async def play(system: ReadySystem, timeline: Timeline) -> tuple[Json, list[Callback]]:
    """Play the story against a running system. Returns the settled session and its callbacks.

    Raises:
        StepFailed: a step did not happen as promised.
        SimulatorError: the phones did not play along.
    """
    first, second = (f"+1202555{number:04}" for number in random.sample(range(100, 140), 2))
    sdk = PlivoSdk(system.api_url, system.account)
    receiver = Receiver(lambda callback: timeline.add("callback", _told(callback)))
    async with receiver.listening(), SimulatorClient(system.simulator_url) as phones:
        session = await _create(sdk, timeline, receiver, first, second)
        await _talk(phones, timeline, receiver, session, first, second)
        await _listen_to_recording(timeline, receiver, system.account)
        await _extend_and_expire(sdk, timeline, receiver, session)
        for name in EXPECTED:
            await receiver.expect(name)
        return await _bill(sdk, timeline, session), receiver.callbacks


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
    timeline.add("backend", f"session {session['session_uuid']}, virtual number [bold]{created['virtual_number']}[/]")
    check(session["status"] == "active", "the new session is not active")
    return session


async def _talk(
    phones: SimulatorClient, timeline: Timeline, receiver: Receiver, session: Json, first: str, second: str
) -> None:
    virtual_number = f"+{session['virtual_number']}"
    await phones.behave(first, Behaviour())
    await phones.behave(second, Behaviour(on_ring="manual"))
    call_uuid = await phones.dial(first, virtual_number)
    timeline.add("first party", f"{first} dials {virtual_number}")
    ringing = await phones.wait_for(second, "ringing")
    timeline.add("second party", f"{second} rings; its screen shows [bold]{ringing.screen}[/]")
    check(ringing.screen == virtual_number, "the second party's screen does not show the virtual number")
    await phones.answer(second)
    await phones.wait_for(second, "talking")
    timeline.add("second party", "picks up; they talk")
    await receiver.expect("SessionSecondPartyAnswer")
    await asyncio.sleep(TALK_S)
    await phones.hang_up(first)
    timeline.add("first party", "hangs up")
    await phones.wait_for(second, "idle")
    record = await phones.call(call_uuid)
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


async def _bill(sdk: PlivoSdk, timeline: Timeline, session: Json) -> Json:
    final: Json = (await sdk.get(session["session_uuid"]))["response"]
    check(final["status"] == "expired", "the session is not expired")
    check(final["total_call_count"] == 2, "the bill does not count two legs")
    check(final["total_call_amount"] > 0, "the bill is empty")
    (interaction,) = final["interaction"]
    check("recording_resource_url" in interaction, "the interaction has no recording")
    timeline.add(
        "bill",
        f"{final['total_call_count']} legs, {final['total_call_billed_duration']} s billed,"
        f" [bold]{final['total_session_amount']:.4f} USD[/]",
    )
    return final


def _told(callback: Callback) -> str:
    about = {
        "SessionRecordingCompleted": "RecordingDuration",
        "SessionFirstPartyHangup": "PlivoHangupCause",
        "SessionSecondPartyHangup": "PlivoHangupCause",
        "SessionPartiesHangup": "Amount",
    }.get(callback["EventName"])
    return f"{callback['EventName']}" + (f" · {about} {callback[about]}" if about else "")
