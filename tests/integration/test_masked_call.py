"""A masked call with everything real but the phones: the official SDK, the telephone network, Temporal, PostgreSQL."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx
import plivo.utils
import pytest

from masking.carriers.simulator.phones import Behaviour
from masking.demo.plivo_sdk import PlivoSdk
from masking.provision import DemoAccount
from tests.conftest import ACCOUNT, TOKEN
from tests.integration.conftest import Receiver, System
from tests.integration.telephone import Telephone, all_delivered, heard, speed, telephone

__all__ = ["speed", "telephone"]

pytestmark = pytest.mark.anyio

FIRST, SECOND = "+12025550101", "+12025550102"


@pytest.fixture
def sdk(system: System) -> PlivoSdk:
    return PlivoSdk(system.settings.base_url, DemoAccount(ACCOUNT, TOKEN))


async def test_the_second_party_calls_the_first_answers_and_everything_is_told_in_full(
    system: System, telephone: Telephone, sdk: PlivoSdk, receiver: Receiver
) -> None:
    created = await sdk.create(
        first_party=FIRST,
        second_party=SECOND,
        record=True,
        record_file_format="wav",
        callback_url=receiver.url,
        recording_callback_url=receiver.url,
    )
    uuid, number = created["session_uuid"], created["virtual_number"]
    phones = telephone.phones
    await phones.behave(FIRST, Behaviour(on_ring="manual"))

    call_uuid = await phones.dial(SECOND, number)
    assert (await phones.wait_for(FIRST, "ringing")).screen == number
    assert (await phones.phone(SECOND)).screen == number
    assert (await sdk.get(uuid))["response"]["status"] in ("active", "in-progress")
    await phones.answer(FIRST)
    await phones.wait_for(FIRST, "talking")
    await heard(receiver, "SessionSecondPartyAnswer")
    assert (await sdk.get(uuid))["response"]["status"] == "in-progress"
    await asyncio.sleep(2)  # 40 s on the telephone network's clock
    await phones.hang_up(FIRST)
    await heard(receiver, "SessionRecordingCompleted")
    await sdk.delete(uuid)
    final = await asyncio.wait_for(system.sessions.final_bill(uuid), 30)
    await all_delivered(system, uuid)

    call = await phones.call(call_uuid)
    assert call.callee is not None
    base = {"SessionUUID": uuid, "VirtualNumber": number[1:]}
    parties = {"From": SECOND[1:], "To": FIRST[1:]}
    normal = {"PlivoHangupCause": "Normal Hangup", "PlivoHangupCauseCode": "4000"}
    legs = (call.caller, call.callee)
    charges = [
        {
            "Duration": str(leg.duration),
            "BilledDuration": str(leg.bill_duration),
            "Amount": f"{leg.bill_duration / 60 * 0.0085:.5f}",
        }
        for leg in legs
    ]
    both = {
        "Duration": str(sum(leg.duration for leg in legs)),
        "BilledDuration": str(sum(leg.bill_duration for leg in legs)),
        "Amount": f"{sum(leg.bill_duration for leg in legs) / 60 * 0.0085:.5f}",
    }
    file = f"{call.recording}"
    recording = {
        "RecordingUUID": file.removesuffix(".wav"),
        "RecordingResourceURL": (
            f"{system.settings.base_url}/v1/Account/{ACCOUNT}/Recording/{file.removesuffix('.wav')}/"
        ),
        "RecordingURL": f"{system.settings.base_url}/v1/Account/{ACCOUNT}/Recording/{file}",
        "RecordingDuration": str(call.callee.duration),
        "RecordingFormat": ".wav",
    }
    expected: dict[str, dict[str, str]] = {
        "SessionFirstPartyAnswer": base | parties,
        "SessionSecondPartyRing": base | parties,
        "SessionSecondPartyAnswer": base | parties,
        "SessionSecondPartyHangup": base | parties | charges[1] | normal,
        "SessionFirstPartyHangup": base | parties | charges[0] | normal,
        "SessionPartiesHangup": base | parties | both | normal,
        "SessionTimeout": base,
        "SessionRecordingInitiated": base | parties,
        "SessionRecordingCompleted": base | parties | recording,
    }
    varying = {
        "EventTimestamp": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC",
        "RecordingStartTime": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC",
        "RecordingEndTime": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC",
    }
    assert sorted(receiver.names) == sorted(expected)
    for told in receiver.requests:
        fixed = {
            key: value
            for key, value in told.items()
            if key not in varying and key not in ("EventName", "SequenceNumber")
        }
        assert fixed == expected[told["EventName"]], told["EventName"]
        for key, pattern in varying.items():
            assert key not in told or re.fullmatch(pattern, told[key])
    for kind in (True, False):
        numbers = [
            int(told["SequenceNumber"]) for told in receiver.requests if ("Recording" in told["EventName"]) is kind
        ]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))

    assert 40 <= call.callee.duration < 3600
    assert final.calls.billed_duration == int(both["BilledDuration"])
    stored = (await sdk.get(uuid))["response"]
    assert stored["total_call_amount"] == float(final.calls.amount)
    (interaction,) = stored["interaction"]
    assert interaction["recording_resource_url"].endswith(file.removesuffix(".wav"))
    audio = telephone.recordings.read(file)
    assert audio is not None
    assert audio[:4] == b"RIFF"

    # Every address that an interaction or a callback names leads somewhere, for the account and for nobody else.
    caller = (await system.http.get(interaction["second_party_resource_url"])).json()
    callee = (await system.http.get(interaction["first_party_resource_url"] + "/")).json()
    assert (caller["call_uuid"], caller["call_direction"]) == (call_uuid, "inbound")
    assert (caller["from_number"], caller["to_number"]) == (SECOND[1:], number[1:])
    assert (callee["from_number"], callee["to_number"]) == (number[1:], FIRST[1:])
    assert (callee["call_duration"], callee["hangup_cause_code"]) == (call.callee.duration, 4000)
    recorded = (await system.http.get(interaction["recording_resource_url"])).json()
    assert recorded["recording_url"] == recording["RecordingURL"]
    assert recorded["recording_duration_ms"] == f"{call.callee.duration * 1000}.00000"
    media = await system.http.get(recorded["recording_url"])
    assert (media.content, media.headers["Content-Type"]) == (audio, "audio/wav")
    async with httpx.AsyncClient() as stranger:
        for address in (interaction["second_party_resource_url"], recorded["recording_url"]):
            assert (await stranger.get(address)).status_code == 401


async def test_callbacks_carry_the_signature_that_the_official_sdk_checks(
    system: System, telephone: Telephone, sdk: PlivoSdk, receiver: Receiver
) -> None:
    created = await sdk.create(first_party=FIRST, second_party=SECOND, callback_url=f"{receiver.url}?ride=7")
    await sdk.delete(created["session_uuid"])
    told = await heard(receiver, "SessionTimeout")

    headers = receiver.headers[0]
    assert plivo.utils.validate_v3_signature(
        "POST",
        f"{receiver.url}?ride=7",
        headers["X-Plivo-Signature-V3-Nonce"],
        TOKEN,
        headers["X-Plivo-Signature-V3"],
        told,
    )


@pytest.mark.parametrize(
    ("behaviour", "cause"),
    [
        (Behaviour(on_ring="busy"), ("Busy Line", "3010")),
        (Behaviour(on_ring="reject"), ("Rejected", "3020")),
        (Behaviour(on_ring="ignore"), ("Ring Timeout Reached", "6010")),
    ],
)
async def test_a_call_that_is_not_answered_is_told_with_its_cause_and_its_callee_costs_nothing(
    system: System,
    telephone: Telephone,
    sdk: PlivoSdk,
    receiver: Receiver,
    behaviour: Behaviour,
    cause: tuple[str, str],
) -> None:
    created = await sdk.create(
        first_party=FIRST, second_party=SECOND, ring_timeout=20, record=True, callback_url=receiver.url
    )
    await telephone.phones.behave(SECOND, behaviour)
    await telephone.phones.dial(FIRST, created["virtual_number"])
    await heard(receiver, "SessionPartiesHangup")
    await sdk.delete(created["session_uuid"])
    final = await asyncio.wait_for(system.sessions.final_bill(created["session_uuid"]), 30)

    told = await heard(receiver, "SessionSecondPartyHangup")
    assert (told["PlivoHangupCause"], told["PlivoHangupCauseCode"]) == cause
    assert (told["Duration"], told["Amount"]) == ("0", "0.00000")
    assert "SessionSecondPartyAnswer" not in receiver.names
    assert final.calls.call_count == 2


async def test_the_two_of_a_ride_may_call_many_times_from_both_ends(
    system: System, telephone: Telephone, sdk: PlivoSdk, receiver: Receiver
) -> None:
    created = await sdk.create(first_party=FIRST, second_party=SECOND, callback_url=receiver.url)
    for times, caller in enumerate((FIRST, SECOND, FIRST), 1):
        callee = SECOND if caller == FIRST else FIRST
        await telephone.phones.behave(callee, Behaviour(answers_after=1))
        await telephone.phones.behave(caller, Behaviour())
        await telephone.phones.dial(caller, created["virtual_number"])
        assert (await telephone.phones.wait_for(callee, "talking")).screen == created["virtual_number"]
        await telephone.phones.hang_up(caller)
        # Until the carrier has told of the end, the session is busy.
        await heard(receiver, "SessionPartiesHangup", times)
        await telephone.phones.wait_for(callee, "idle")
    await sdk.delete(created["session_uuid"])
    final = await asyncio.wait_for(system.sessions.final_bill(created["session_uuid"]), 30)

    assert final.calls.call_count == 6
    stored: dict[str, Any] = (await sdk.get(created["session_uuid"]))["response"]
    assert len(stored["interaction"]) == 3
    assert receiver.names.count("SessionPartiesHangup") == 3


async def test_after_the_end_and_for_strangers_no_phone_rings(
    system: System, telephone: Telephone, sdk: PlivoSdk
) -> None:
    created = await sdk.create(first_party=FIRST, second_party=SECOND)
    stranger = await telephone.phones.dial("+12025550150", created["virtual_number"])
    await telephone.phones.wait_for("+12025550150", "idle")
    await sdk.delete(created["session_uuid"])
    late = await telephone.phones.dial(FIRST, created["virtual_number"])
    await telephone.phones.wait_for(FIRST, "idle")

    for call_uuid in (stranger, late):
        call = await telephone.phones.call(call_uuid)
        assert call.callee is None
    assert (await telephone.phones.call(stranger)).caller.cause.name == "Rejected"
    heard_words = [line.detail for line in (await telephone.phones.call(late)).transcript if line.what == "heard"]
    assert len(heard_words) == 1
