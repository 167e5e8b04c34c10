"""A carrier that reports calls, webhook by webhook."""

from __future__ import annotations

from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

from tests.integration.conftest import System

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
