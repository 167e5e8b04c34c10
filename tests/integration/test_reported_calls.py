"""What becomes of the calls that a carrier reports: told, billed, stored; early, late and again."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from masking.contract import session_workflow_id
from masking.domain.bill.charges import Bill
from masking.domain.wire_format import plivo_time, record_time
from tests.conftest import ACCOUNT, TOKEN
from tests.integration.conftest import Receiver, System
from tests.integration.reported_calls import FIRST, SECOND, create, dial_of, rest_of_call, ring_at, whole_call
from tests.integration.telephone import heard

pytestmark = pytest.mark.anyio


async def settled(system: System, session_uuid: str) -> Bill:
    return await asyncio.wait_for(system.sessions.final_bill(session_uuid), 30)


async def told(receiver: Receiver, times: int) -> None:
    """Wait until the customer has heard of so many events."""
    async with asyncio.timeout(60):
        while len(receiver.requests) < times:  # noqa: ASYNC110 it comes over HTTP
            await asyncio.sleep(0.02)


async def test_a_call_is_told_to_the_customer_billed_and_stored(system: System, receiver: Receiver) -> None:
    session = await create(
        system,
        record=True,
        record_file_format="wav",
        callback_url=receiver.url,
        recording_callback_url=receiver.url,
        recording_callback_method="GET",
    )
    uuid, call_uuid = session["session_uuid"], str(uuid4())

    await whole_call(system, session, call_uuid)
    await system.http.delete(f"{system.api}/{uuid}/")
    final = await settled(system, uuid)
    await told(receiver, 9)

    assert (final.calls.call_count, final.calls.billed_duration, str(final.calls.amount)) == (2, 240, "0.03400")
    assert sorted(receiver.names) == sorted(
        [
            "SessionFirstPartyAnswer",
            "SessionSecondPartyRing",
            "SessionSecondPartyAnswer",
            "SessionSecondPartyHangup",
            "SessionFirstPartyHangup",
            "SessionPartiesHangup",
            "SessionTimeout",
            "SessionRecordingInitiated",
            "SessionRecordingCompleted",
        ]
    )
    completed = receiver.requests[receiver.names.index("SessionRecordingCompleted")]
    assert completed["RecordingURL"].endswith(f"/v1/Account/{ACCOUNT}/Recording/{call_uuid}-rec.wav")
    assert (completed["RecordingDuration"], completed["RecordingFormat"]) == ("61", ".wav")
    assert completed["RecordingStartTime"] == "2026-11-18 14:00:05 +0000 UTC"
    assert {
        method
        for method, name in zip(receiver.methods, receiver.names, strict=True)
        if name.startswith("SessionRecording")
    } == {"GET"}

    stored = (await system.http.get(f"{system.api}/{uuid}/")).json()["response"]
    assert stored["status"] == "expired"
    assert (stored["total_call_count"], stored["total_call_amount"]) == (2, 0.034)
    (interaction,) = stored["interaction"]
    base = f"{system.settings.base_url}/v1/Account/MATESTACCOUNT0000000"
    assert interaction["second_party_resource_url"] == f"{base}/Call/{call_uuid}"
    assert interaction["first_party_resource_url"] == f"{base}/Call/{call_uuid}-b"
    assert interaction["recording_resource_url"] == f"{base}/Recording/{call_uuid}-rec"
    assert (interaction["duration"], interaction["call_billed_duration"]) == (126, 240)


async def test_a_hangup_that_is_told_late_is_told_with_the_carriers_time(system: System, receiver: Receiver) -> None:
    session = await create(system, callback_url=receiver.url)
    call_uuid = str(uuid4())
    dial = dial_of(await ring_at(system, session["virtual_number"], SECOND, call_uuid))
    await asyncio.sleep(1.1)
    ended_at = datetime.now(UTC).replace(microsecond=0)
    await asyncio.sleep(1.1)
    told_at = datetime.now(UTC).replace(microsecond=0)
    leg = {"CallUUID": call_uuid, "DialALegUUID": call_uuid, "DialBLegUUID": "b", "DialAction": "hangup"}
    await system.webhook(dial.attrib["callbackUrl"], leg)
    end = {"CallUUID": call_uuid, "EndTime": f"{ended_at:%Y-%m-%d %H:%M:%S}", "HangupCauseCode": "1000"}
    await system.webhook("/carrier/voice/hangup", end)
    both = await heard(receiver, "SessionPartiesHangup")
    callers = await heard(receiver, "SessionFirstPartyHangup")
    callees = await heard(receiver, "SessionSecondPartyHangup")

    assert callers["EventTimestamp"] == plivo_time(ended_at)
    # The carrier has no time for the end of the callee's leg.
    assert both["EventTimestamp"] == callees["EventTimestamp"] >= plivo_time(told_at)
    resource = await system.http.get(f"{system.settings.base_url}/v1/Account/{ACCOUNT}/Call/{call_uuid}/")
    assert resource.json()["end_time"] == record_time(ended_at)


async def test_a_conversation_ended_when_its_legs_did_and_not_when_that_was_told(
    system: System, receiver: Receiver
) -> None:
    session = await create(system, callback_url=receiver.url, first_party_play_url="https://x.example/1.mp3")
    await ring_at(system, session["virtual_number"], FIRST, "call-1")
    await asyncio.sleep(1.1)
    ended_at = datetime.now(UTC).replace(microsecond=0)
    await asyncio.sleep(2.1)
    end = {"CallUUID": "call-1", "EndTime": f"{ended_at:%Y-%m-%d %H:%M:%S}", "HangupCauseCode": "1000"}
    await system.webhook("/carrier/voice/hangup", end)
    told = await heard(receiver, "SessionPartiesHangup")

    shown = (await system.http.get(f"{system.api}/{session['session_uuid']}/")).json()["response"]
    leg = (await system.http.get(shown["interaction"][0]["first_party_resource_url"])).json()
    assert told["EventTimestamp"] == plivo_time(ended_at)
    assert leg["end_time"] == record_time(ended_at)
    assert shown["interaction"][0]["end_time"] == shown["last_interaction_time"] == plivo_time(ended_at)


async def test_an_endpoint_that_recovers_hears_everything_once(system: System, receiver: Receiver) -> None:
    receiver.failures = 2
    session = await create(system, callback_url=receiver.url)

    await whole_call(system, session, str(uuid4()))
    await system.http.delete(f"{system.api}/{session['session_uuid']}/")
    await settled(system, session["session_uuid"])
    await told(receiver, 7)

    sequence = sorted(int(request["SequenceNumber"]) for request in receiver.requests)
    assert sequence == list(range(1, 8))
    assert all(h["X-Masking-Callback-Id"].startswith(session["session_uuid"]) for h in receiver.headers)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_form_post_is_signed_as_standard_webhooks_has_it_and_a_get_that_would_sign_nothing_is_not(
    system: System, receiver: Receiver, method: str
) -> None:
    session = await create(system, callback_url=receiver.url, callback_method=method)
    await system.http.delete(f"{system.api}/{session['session_uuid']}/")
    await told(receiver, 1)

    (headers,), (body,) = receiver.headers, receiver.bodies
    lower = {name.lower(): value for name, value in headers.items()}
    if method == "GET":
        assert (body, [name for name in lower if name.startswith("webhook-")]) == (b"", [])
    else:
        assert lower["webhook-id"] == f"{session['session_uuid']}:session:1"
        assert abs(int(lower["webhook-timestamp"]) - time.time()) < 60
        signed = f"{lower['webhook-id']}.{lower['webhook-timestamp']}.".encode() + body
        digest = hmac.digest(TOKEN.encode(), signed, hashlib.sha256)
        assert lower["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


async def all_forwarded(system: System) -> None:
    """Wait until nothing is left in the inbox that was not forwarded."""
    async with asyncio.timeout(60):
        while True:
            async with system.database.transaction() as connection:
                waiting = await connection.execute("SELECT count(*) FROM inbox WHERE forwarded_at IS NULL")
                if await waiting.fetchone() == (0,):
                    return
            await asyncio.sleep(0.05)


async def test_events_wait_in_the_inbox_while_the_workflow_cannot_be_reached(system: System) -> None:
    """What an earlier process stored is forwarded by the next look, once."""
    session = await create(system)
    call_uuid = str(uuid4())
    await whole_call(system, session, call_uuid)
    await all_forwarded(system)
    async with system.database.transaction() as connection:
        # As if the gateway had died after each signal, before it could note it.
        await connection.execute("UPDATE inbox SET forwarded_at = NULL")
    await all_forwarded(system)
    await system.http.delete(f"{system.api}/{session['session_uuid']}/")

    final = await settled(system, session["session_uuid"])

    assert (final.calls.call_count, final.calls.billed_duration) == (2, 240)


async def signals_of(system: System, session_uuid: str) -> list[str]:
    handle = system.client.get_workflow_handle(session_workflow_id(session_uuid))
    async with asyncio.timeout(60):
        # What comes during a workflow task stands in the history only once that is done.
        while (await handle.describe()).raw_description.HasField("pending_workflow_task"):  # noqa: ASYNC110 nobody tells
            await asyncio.sleep(0.05)
    events = [event async for event in handle.fetch_history_events()]
    signals = (event.workflow_execution_signaled_event_attributes for event in events)
    return [signal.signal_name for signal in signals if signal.signal_name]


@pytest.mark.parametrize("revision", [1, 2])
async def test_events_that_wait_together_are_one_signal_to_a_workflow_that_knows_it(
    system: System, revision: int
) -> None:
    """One of the first revision may run on a worker that does not."""
    session = await create(system)
    await whole_call(system, session, str(uuid4()))
    await all_forwarded(system)
    before = await signals_of(system, session["session_uuid"])
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE sessions SET revision = %s", (revision,))
        told = await connection.execute("UPDATE inbox SET forwarded_at = NULL RETURNING id, signal")
        one_by_one = [signal for _, signal in sorted(await told.fetchall())]
    await all_forwarded(system)

    after = await signals_of(system, session["session_uuid"])

    assert after[: len(before)] == before
    assert after[len(before) :] == (["events"] if revision == 2 else one_by_one)
    assert one_by_one.count("hangup") == 2


async def test_an_event_after_the_end_is_kept_as_late(system: System) -> None:
    session = await create(system)
    call_uuid = str(uuid4())
    await whole_call(system, session, call_uuid)
    await system.http.delete(f"{system.api}/{session['session_uuid']}/")
    final = await settled(system, session["session_uuid"])

    await system.webhook(f"/carrier/voice/calls/{call_uuid}/recording", {"RecordingID": "late", "RecordUrl": "x"})
    await all_forwarded(system)

    async with system.database.transaction() as connection:
        late = await (await connection.execute("SELECT signal, late FROM inbox WHERE late")).fetchall()
        bills = await (await connection.execute("SELECT total_call_amount FROM settlements")).fetchall()
    assert late == [("recording_completed", True)]
    assert bills == [(final.calls.amount,)]


async def test_settlement_waits_for_a_call_the_workflow_has_not_heard_of(system: System) -> None:
    session = await create(system)
    call_uuid = str(uuid4())
    document = await ring_at(system, session["virtual_number"], SECOND, call_uuid)
    await system.http.delete(f"{system.api}/{session['session_uuid']}/")
    bill = asyncio.create_task(system.sessions.final_bill(session["session_uuid"]))
    await asyncio.sleep(1)
    assert not bill.done()

    await rest_of_call(system, document, call_uuid)

    assert (await asyncio.wait_for(bill, 30)).calls.call_count == 2
