"""Calls as a carrier reports them, webhook by webhook."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import psycopg
import pytest

from masking.carriers import words
from masking.carriers.signature import MAIN_ACCOUNT_SIGNATURE, NONCE, SIGNATURE, signed_headers
from masking.contract import session_workflow_id
from masking.domain.session import Bill
from masking.domain.wire_format import plivo_time, record_time
from masking.storage.database import Database
from tests.conftest import ACCOUNT, TOKEN
from tests.integration.conftest import Receiver, System
from tests.integration.telephone import heard

pytestmark = pytest.mark.anyio

FIRST, SECOND, STRANGER = "12025550101", "12025550102", "12025550177"


async def create(system: System, **arguments: Any) -> dict[str, Any]:
    body = {"first_party": FIRST, "second_party": SECOND} | arguments
    response = await system.http.post(f"{system.api}/", json=body)
    assert response.status_code == 201
    session: dict[str, Any] = response.json()["session"]
    return session


async def ring_at(system: System, number: str, caller: str, call_uuid: str | None = None) -> ElementTree.Element:
    """A call reaches a number; what the carrier is told to do with it."""
    form = {
        "CallUUID": call_uuid or str(uuid4()),
        "From": caller,
        "To": number,
        "Direction": "inbound",
        "CallStatus": "ringing",
        "Event": "StartApp",
    }
    response = await system.webhook("/carrier/voice/answer", form)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("application/xml")
    return ElementTree.fromstring(response.text)


def dial_of(document: ElementTree.Element) -> ElementTree.Element:
    dial = document.find("Dial")
    assert dial is not None
    return dial


async def whole_call(system: System, session: dict[str, Any], call_uuid: str) -> None:
    """The second party calls, the first answers after ringing, they talk for 61 s and the caller hangs up."""
    await rest_of_call(system, await ring_at(system, session["virtual_number"], SECOND, call_uuid), call_uuid)


async def rest_of_call(system: System, document: ElementTree.Element, call_uuid: str) -> None:
    dial, record = dial_of(document), document.find("Record")
    leg = {"DialALegUUID": call_uuid, "DialBLegUUID": f"{call_uuid}-b", "CallUUID": call_uuid}
    for action in ("answer", "connected"):
        await system.webhook(dial.attrib["callbackUrl"], leg | {"DialAction": action})
    ended = {
        "DialAction": "hangup",
        "DialBLegDuration": "61",
        "DialBLegHangupCauseName": "Normal Hangup",
        "DialBLegHangupCauseCode": "4000",
        "DialBLegHangupSource": "Caller",
    }
    await system.webhook(dial.attrib["callbackUrl"], leg | ended)
    done = await system.webhook(dial.attrib["action"], {"DialStatus": "completed", "CallUUID": call_uuid})
    assert ElementTree.fromstring(done.text).find("Hangup") is not None
    await system.webhook(
        "/carrier/voice/hangup",
        {
            "CallUUID": call_uuid,
            "Duration": "65",
            "AnswerTime": "2026-11-23 14:00:00",
            "HangupCause": "NORMAL_CLEARING",
            "HangupCauseName": "Normal Hangup",
            "HangupCauseCode": "4000",
            "HangupSource": "Caller",
        },
    )
    if record is not None:
        await system.webhook(
            record.attrib["callbackUrl"],
            {
                "RecordUrl": f"https://carrier.example/{call_uuid}.wav",
                "RecordingID": f"{call_uuid}-rec",
                "RecordingDuration": "61",
                "RecordingStartMs": "1795010405000",
                "RecordingEndMs": "1795010466000",
            },
        )


async def test_whom_to_dial_is_told_again_and_rings_once(system: System, receiver: Receiver) -> None:
    session = await create(
        system, callback_url=receiver.url, second_party_play_url="https://x.example/2.mp3", record=True, ring_timeout=30
    )
    asked = await ring_at(system, session["virtual_number"], SECOND, "call-1")
    connect = str(asked.findtext("Redirect"))
    assert (asked.find("Dial"), asked.findtext("Play")) == (None, "https://x.example/2.mp3")

    documents = [await system.webhook(connect, {"CallUUID": "call-1"}) for _ in range(2)]
    await rest_of_call(system, ElementTree.fromstring(documents[0].text), "call-1")
    await heard(receiver, "SessionPartiesHangup")

    assert documents[0].text == documents[1].text
    dial = dial_of(ElementTree.fromstring(documents[0].text))
    assert (dial.findtext("Number"), dial.attrib["callerId"]) == (FIRST, session["virtual_number"])
    assert dial.attrib["timeout"] == "30"
    assert receiver.names == [
        "SessionFirstPartyAnswer", "SessionSecondPartyRing", "SessionSecondPartyAnswer",
        "SessionSecondPartyHangup", "SessionFirstPartyHangup", "SessionPartiesHangup",
    ]  # fmt: skip


async def test_nobody_is_dialled_for_a_caller_who_has_left(system: System, receiver: Receiver) -> None:
    session = await create(system, callback_url=receiver.url, first_party_play_url="https://x.example/1.mp3")
    asked = await ring_at(system, session["virtual_number"], FIRST, "call-1")
    left = {"CallUUID": "call-1", "HangupCauseName": "Canceled", "HangupCauseCode": "1000", "Duration": "0"}
    await system.webhook("/carrier/voice/hangup", left)

    told = await system.webhook(str(asked.findtext("Redirect")), {"CallUUID": "call-1"})
    unknown = await system.webhook("/carrier/voice/calls/no-such-call/connect", {"CallUUID": "no-such-call"})

    for document in (told, unknown):
        assert [each.tag for each in ElementTree.fromstring(document.text)] == ["Hangup"]
    await heard(receiver, "SessionPartiesHangup")
    assert "SessionSecondPartyRing" not in receiver.names


async def test_nobody_is_dialled_once_the_session_has_ended_while_the_caller_listened(
    system: System, receiver: Receiver
) -> None:
    session = await create(system, callback_url=receiver.url, first_party_play_url="https://x.example/1.mp3")
    asked = await ring_at(system, session["virtual_number"], FIRST, "call-1")
    assert (await system.http.delete(f"{system.api}/{session['session_uuid']}/")).status_code == 200

    document = ElementTree.fromstring(
        (await system.webhook(str(asked.findtext("Redirect")), {"CallUUID": "call-1"})).text
    )
    left = {"CallUUID": "call-1", "HangupCauseName": "Normal Hangup", "HangupCauseCode": "4000", "Duration": "9"}
    await system.webhook("/carrier/voice/hangup", left)

    assert document.find("Dial") is None
    assert document.findtext("Speak") == words.SESSION_ENDED
    await heard(receiver, "SessionPartiesHangup")
    assert "SessionSecondPartyRing" not in receiver.names


async def test_a_party_is_connected_to_the_other_and_shows_only_the_virtual_number(system: System) -> None:
    session = await create(system, ring_timeout=30, call_time_limit=600)

    for caller, callee in ((FIRST, SECOND), (SECOND, FIRST)):
        dial = dial_of(await ring_at(system, session["virtual_number"], caller))
        assert dial.findtext("Number") == callee
        assert dial.attrib["callerId"] == session["virtual_number"]
        assert (dial.attrib["timeout"], dial.attrib["timeLimit"]) == ("30", "600")
        await _end_all_calls(system)


async def _end_all_calls(system: System) -> None:
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE calls SET ended_at = now()")


async def test_a_caller_who_hangs_up_while_its_call_is_being_decided_leaves_the_session_free(system: System) -> None:
    """As when PostgreSQL stalls for a moment: the carrier tells of the end before it has its answer."""
    session, call_uuid = await create(system), str(uuid4())
    end = {"CallUUID": call_uuid, "Duration": "0", "HangupCauseName": "Cancelled", "HangupCauseCode": "1010"}
    async with system.database.transaction() as connection:
        await connection.execute("SELECT FROM sessions FOR UPDATE")
        answer = asyncio.create_task(ring_at(system, session["virtual_number"], FIRST, call_uuid))
        await until_they_wait(system.database, 1)
        hangup = asyncio.create_task(system.webhook("/carrier/voice/hangup", end))
        await asyncio.wait([hangup], timeout=0.5)
    await answer
    assert (await hangup).status_code == 200

    dial = dial_of(await ring_at(system, session["virtual_number"], SECOND))
    assert dial.findtext("Number") == FIRST


@pytest.mark.parametrize("with_pin", [False, True])
async def test_a_call_whose_end_comes_before_the_question_what_to_do_with_it_leaves_the_session_free(
    system: System, with_pin: bool
) -> None:
    """As when one gateway stalls with the question, and another takes the end."""
    pins = {
        "is_pin_authentication_required": True,
        "pin_prompt_play": "https://a.example/pin.mp3",
        "first_party_pin": "4711",
        "second_party_pin": "4712",
    }
    session, call_uuid = await create(system, **(pins if with_pin else {})), str(uuid4())
    end = {"CallUUID": call_uuid, "Duration": "0", "HangupCauseName": "Cancelled", "HangupCauseCode": "1010"}
    for _ in range(2):
        assert (await system.webhook("/carrier/voice/hangup", end)).status_code == 200
    if with_pin:
        asked = {"CallUUID": call_uuid, "From": FIRST, "To": session["virtual_number"], "Digits": "4711"}
        late = await system.webhook(f"/carrier/voice/calls/{call_uuid}/pin?wrong=0", asked)
        assert ElementTree.fromstring(late.text).find("Dial") is None
    else:
        assert (await ring_at(system, session["virtual_number"], FIRST, call_uuid)).find("Dial") is None

    async with system.database.transaction() as connection:
        assert await (await connection.execute("SELECT * FROM calls")).fetchall() == []
        await connection.execute("UPDATE undecided_ends SET told_at = told_at - interval '11 minutes'")
    assert (await system.webhook("/carrier/voice/hangup", end | {"CallUUID": "another"})).status_code == 200
    async with system.database.transaction() as connection:
        left = await (await connection.execute("SELECT call_uuid FROM undecided_ends")).fetchall()
    assert left == [("another",)], "it is kept for some minutes"


async def until_they_wait(database: Database, count: int) -> None:
    """So many statements wait for a lock."""
    async with asyncio.timeout(20), database.autocommit() as connection:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        while await (await connection.execute(waiting)).fetchone() != (count,):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_stranger_and_a_hidden_caller_are_refused(system: System) -> None:
    session = await create(system)

    for caller in (STRANGER, "anonymous", "", "\u0661\u0662"):
        document = await ring_at(system, session["virtual_number"], caller)
        assert [(e.tag, e.attrib) for e in document] == [("Hangup", {"reason": "rejected"})]


async def test_a_second_call_meanwhile_gets_busy_and_a_repeated_webhook_the_same_answer(system: System) -> None:
    session = await create(system)
    one = str(uuid4())

    first = await ring_at(system, session["virtual_number"], FIRST, one)
    repeated = await ring_at(system, session["virtual_number"], FIRST, one)
    second = await ring_at(system, session["virtual_number"], SECOND)

    assert ElementTree.tostring(repeated) == ElementTree.tostring(first)
    assert [(e.tag, e.attrib) for e in second] == [("Hangup", {"reason": "busy"})]


async def test_after_expiry_the_caller_hears_that_it_ended_and_reaches_nobody(system: System) -> None:
    session = await create(system)
    await system.http.delete(f"{system.api}/{session['session_uuid']}/")

    document = await ring_at(system, session["virtual_number"], FIRST)

    assert [e.tag for e in document] == ["Speak", "Hangup"]


async def test_expiry_needs_nobody_awake(system: System) -> None:
    """The lease alone ends the forwarding: no worker, no workflow."""
    session = await create(system)
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE routes SET expires_at = now()")

    document = await ring_at(system, session["virtual_number"], FIRST)

    assert document.find("Dial") is None


BAD_PART = b"--b\r\n%s\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded; charset=utf-8", b"From=\xff\xfe"),
        ("application/x-www-form-urlencoded; charset=klingon", b"From=1"),
        ("application/x-www-form-urlencoded; charset=utf-16", b"odd"),
        ("multipart/form-data", b"From=1"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1"),
        ("multipart/form-data; boundary=b", b"nothing of the kind"),
        ("multipart/form-data; boundary=b", BAD_PART % b"Content-Transfer-Encoding: klingon"),
        ("multipart/form-data; boundary=b", BAD_PART % (b"X: y\r\n" * 9000)),
        ("application/x-www-form-urlencoded; charset=utf-7", b"From=+2AA-"),
        ("application/x-www-form-urlencoded; charset=unicode_escape", b"From=\\ud800"),
    ],
)
async def test_a_body_that_is_no_form_is_refused(system: System, content_type: str, body: bytes) -> None:
    url = f"{system.settings.base_url}/carrier/voice/answer"
    response = await system.http.post(url, content=body, headers={"Content-Type": content_type})
    assert response.status_code == 400
    assert response.json()["error"] == "The body should be a form, application/x-www-form-urlencoded in UTF-8."


async def test_no_encoding_of_a_body_keeps_calls_waiting(system: System) -> None:
    url = f"{system.settings.base_url}/carrier/voice/answer"
    for charset, body in (("idna", b"tdna.xn--" * 7000), ("punycode", b"-" + b"ba" * 30_000)):
        headers = {"Content-Type": f"application/x-www-form-urlencoded; charset={charset}"}
        before = time.process_time()
        assert (await system.http.post(url, content=body, headers=headers)).status_code == 400
        assert time.process_time() - before < 0.2


@pytest.mark.parametrize("path", ["/carrier/voice/answer", "/carrier/plivo/sessions/a/b"])
@pytest.mark.parametrize(
    ("name", "value"), [(SIGNATURE, b"\xff"), (NONCE, b"\xff"), (MAIN_ACCOUNT_SIGNATURE, "é".encode())]
)
async def test_a_signature_that_is_no_text_is_a_wrong_one(system: System, path: str, name: str, value: bytes) -> None:
    signed = signed_headers("POST", f"{system.settings.base_url}{path}", {}, ["guessed"])
    headers = [(key.encode(), text.encode()) for key, text in signed.items() if key != name] + [(name.encode(), value)]
    assert (await system.http.post(f"{system.settings.base_url}{path}", headers=headers)).status_code == 403


async def test_an_unsigned_or_wrongly_signed_webhook_changes_nothing(system: System) -> None:
    session = await create(system)
    form = {"CallUUID": "forged", "From": FIRST, "To": session["virtual_number"]}
    url = f"{system.settings.base_url}/carrier/voice/answer"

    for response in (
        await system.http.post(url, data=form),
        await system.webhook("/carrier/voice/answer", form, token="another token"),
    ):
        assert response.status_code == 403
        assert set(response.json()) == {"api_id", "error"}
    async with system.database.transaction() as connection:
        assert await (await connection.execute("SELECT * FROM calls")).fetchall() == []


async def test_webhooks_of_unknown_calls_and_malformed_ones_do_no_harm(system: System) -> None:
    await create(system)
    for path in (
        "/carrier/voice/hangup",
        "/carrier/voice/calls/unknown/dial",
        "/carrier/voice/calls/unknown/recording",
    ):
        assert (await system.webhook(path, {"CallUUID": "unknown", "Duration": "many"})).status_code == 200
    document = await ring_at(system, "not-a-number", "\u0000", "x")
    assert document.find("Dial") is None


async def settled(system: System, session_uuid: str) -> Bill:
    return await asyncio.wait_for(system.sessions.final_bill(session_uuid), 30)


async def told(receiver: Receiver, times: int) -> None:
    """Wait until the customer has heard of so many events."""
    async with asyncio.timeout(20):
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


async def test_events_wait_in_the_inbox_while_the_workflow_cannot_be_reached(system: System) -> None:
    """What an earlier process stored is forwarded by the next look, once."""
    session = await create(system)
    call_uuid = str(uuid4())
    await whole_call(system, session, call_uuid)
    await asyncio.sleep(0.5)
    async with system.database.transaction() as connection:
        # As if the gateway had died after each signal, before it could note it.
        await connection.execute("UPDATE inbox SET forwarded_at = NULL")
    await asyncio.sleep(1.5)
    await system.http.delete(f"{system.api}/{session['session_uuid']}/")

    final = await settled(system, session["session_uuid"])

    assert (final.calls.call_count, final.calls.billed_duration) == (2, 240)
    async with system.database.transaction() as connection:
        waiting = await (await connection.execute("SELECT count(*) FROM inbox WHERE forwarded_at IS NULL")).fetchall()
    assert waiting == [(0,)]


async def signals_of(system: System, session_uuid: str) -> list[str]:
    handle = system.client.get_workflow_handle(session_workflow_id(session_uuid))
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
    await asyncio.sleep(0.5)
    before = await signals_of(system, session["session_uuid"])
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE sessions SET revision = %s", (revision,))
        told = await connection.execute("UPDATE inbox SET forwarded_at = NULL RETURNING id, signal")
        one_by_one = [signal for _, signal in sorted(await told.fetchall())]
    await asyncio.sleep(1.5)

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
    await asyncio.sleep(1.0)

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


async def test_the_fallback_and_the_farewell_need_nothing_but_the_gateway(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Database) -> None:
        raise psycopg.OperationalError

    monkeypatch.setattr(Database, "transaction", away)
    for path, said in (("fallback", words.OUT_OF_ORDER), ("farewell", words.FAREWELL)):
        answer = await system.webhook(f"/carrier/voice/{path}", {"CallUUID": "c"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/xml; charset=utf-8")
        assert answer.text == f"<Response><Speak>{said}</Speak><Hangup /></Response>"
        assert (await system.webhook(f"/carrier/voice/{path}", {"CallUUID": "c"}, token="wrong")).status_code == 403
