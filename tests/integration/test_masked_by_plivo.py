"""A session that Plivo masks, from create to the final bill; Plivo is a second instance of ours."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict
from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from masking.carriers.plivo.callbacks import session_path
from masking.carriers.signature import MAIN_ACCOUNT_SIGNATURE, NONCE, SIGNATURE, plivo_v3, signed_headers
from masking.carriers.simulator.phones import Behaviour
from masking.contract import session_workflow_id
from masking.privacy.keyring import Keyring
from masking.privacy.payload_codec import EncryptingCodec
from masking.storage.database import Database
from masking.storage.payload_keys import StoredPayloadKeys
from tests.conftest import TOKEN
from tests.integration.conftest import Receiver, System
from tests.integration.second_instance import (
    FIRST,
    SECOND,
    comparable,
    counterpart_of,
    created,
    front,
    fronts_url,
    shown,
)
from tests.integration.telephone import Telephone, all_delivered, heard, speed, telephone
from tests.integration.test_audit import Operator, states

__all__ = ["front", "fronts_url", "speed", "telephone"]

pytestmark = pytest.mark.anyio


async def test_both_sides_come_to_the_same_session_and_the_same_bill(
    front: System,
    system: System,
    telephone: Telephone,
    receiver: Receiver,
    temporal: Client,
    fronts_url: str,
    tmp_path: Path,
    keyring: Keyring,
) -> None:
    made = await created(front, receiver, record=True, session_expiry=7200)
    uuid, number = made["session_uuid"], f"+{made['virtual_number']}"
    phones = telephone.phones
    await phones.behave(FIRST, Behaviour(answers_after=2))
    await phones.dial(SECOND, number)
    await phones.wait_for(FIRST, "talking")
    await heard(receiver, "SessionSecondPartyAnswer")
    assert (await shown(front, uuid))["status"] == "in-progress"
    # Plivo tells moments in whole seconds; no real call begins and ends within one.
    await asyncio.sleep(1.1)
    await phones.hang_up(FIRST)
    await heard(receiver, "SessionPartiesHangup")
    await heard(receiver, "SessionRecordingCompleted")
    await asyncio.sleep(1.1)
    await phones.behave(SECOND, Behaviour(on_ring="busy"))
    await telephone.call(FIRST, number)
    await heard(receiver, "SessionPartiesHangup", 2)

    changed = await front.http.post(f"{front.api}/{uuid}/", json={"ring_timeout": 30, "session_expiry": 3600})
    assert (changed.status_code, changed.json()["session"]["ring_timeout"]) == (200, 30)
    there = await counterpart_of(system)
    assert (there["ring_timeout"], there["duration"]) == (30, changed.json()["session"]["duration"])
    too_long = await front.http.post(f"{front.api}/{uuid}/", json={"ring_timeout": 601})
    assert too_long.status_code == 400

    assert (await front.http.delete(f"{front.api}/{uuid}/")).status_code == 200
    bills = [
        await asyncio.wait_for(side.sessions.final_bill(each), 30)
        for side, each in ((system, there["session_uuid"]), (front, uuid))
    ]

    assert bills[1].calls == bills[0].calls
    assert bills[1].calls.call_count == 4
    assert bills[1].total_amount == bills[0].total_amount > 0
    ours, theirs = await shown(front, uuid), await counterpart_of(system)
    compared, expected = comparable(ours, front), comparable(theirs, system)
    for mine, others in zip(compared["interaction"], expected["interaction"], strict=True):
        assert mine == others
    assert compared == expected
    assert len(ours["interaction"]) == 2
    assert ours["callback_url"] == receiver.url
    await all_delivered(front, uuid)
    assert sorted(receiver.names) == sorted(
        [
            *["SessionFirstPartyAnswer", "SessionSecondPartyRing", "SessionSecondPartyHangup"] * 2,
            *["SessionFirstPartyHangup", "SessionPartiesHangup"] * 2,
            *["SessionSecondPartyAnswer", "SessionRecordingInitiated", "SessionRecordingCompleted", "SessionTimeout"],
        ]
    )
    # Every address leads somewhere on our side too, the audio through both.
    answered = ours["interaction"][0]
    for address in (answered["first_party_resource_url"], answered["second_party_resource_url"]):
        assert (await front.http.get(address)).status_code == 200
    recording = (await front.http.get(answered["recording_resource_url"])).json()
    media = await front.http.get(recording["recording_url"])
    assert (media.status_code, len(media.content) > 1000) == (200, True)

    told = await in_the_clear(temporal, front.database, keyring, uuid)
    assert made["virtual_number"] in told
    assert TOKEN not in told
    assert "Basic " not in told

    # The bill is a function of the history here too.
    operator, pack = Operator(fronts_url, temporal, tmp_path), tmp_path / "it.evidence"
    await operator.told("audit", "export", uuid, "-o", pack)
    report = await operator.told("audit", "verify", pack)
    assert (report["outcome"], set(states(report).values())) == ("proven", {"proven"})


async def in_the_clear(temporal: Client, database: Database, keyring: Keyring, uuid: str) -> str:
    """All that a session's history holds, as its payloads say it."""
    history = (await temporal.get_workflow_handle(session_workflow_id(uuid)).fetch_history()).to_json()
    payloads: list[Payload] = []

    def collect(part: object) -> None:
        if isinstance(part, dict):
            if "metadata" in part and "data" in part:
                payloads.append(ParseDict(part, Payload()))
            for each in part.values():
                collect(each)
        elif isinstance(part, list):
            for each in part:
                collect(each)

    collect(json.loads(history))
    codec = EncryptingCodec(keyring, StoredPayloadKeys(database, keyring))
    assert payloads
    return history + "".join(payload.data.decode(errors="replace") for payload in await codec.decode(payloads))


async def test_what_is_not_signed_by_plivo_or_names_no_session_of_ours_changes_nothing(
    front: System, system: System, receiver: Receiver, keyring: Keyring
) -> None:
    made = await created(front, receiver)
    path = session_path(keyring, made["session_uuid"])
    told = {"EventName": "SessionFirstPartyAnswer", "From": FIRST[1:], "To": SECOND[1:], "SequenceNumber": "1"}
    url = f"{front.settings.base_url}{path}"

    assert (await front.http.post(url, data=told)).status_code == 403
    assert (await front.webhook(path, told, "somebody-else")).status_code == 403
    assert (
        await front.webhook(path[:-1] + "A" if path[-1] != "A" else path[:-1] + "B", told, TOKEN)
    ).status_code == 404
    assert (await shown(front, made["session_uuid"]))["interaction"] is None

    # As Plivo may send it: by GET, as JSON, and once more by POST.
    query = "&".join(f"{name}={value}" for name, value in told.items())
    by_get = f"{url}?{query}"
    assert (await front.http.get(by_get, headers=signed_headers("GET", by_get, {}, [TOKEN]))).status_code == 200
    as_json = await front.http.post(url, json=told, headers=signed_headers("POST", url, told, [TOKEN]))
    assert as_json.status_code == 200
    assert (await front.webhook(path, told, TOKEN)).status_code == 200
    # Of a subaccount's session: its own token in one header, the main account's in the other.
    nonce = "31627761595286130198"
    of_subaccount = {
        NONCE: nonce,
        SIGNATURE: plivo_v3("POST", url, told, nonce, "the-subaccounts-token"),
        MAIN_ACCOUNT_SIGNATURE: plivo_v3("POST", url, told, nonce, TOKEN),
    }
    assert (await front.http.post(url, data=told, headers=of_subaccount)).status_code == 200
    await heard(receiver, "SessionFirstPartyAnswer")
    assert len((await shown(front, made["session_uuid"]))["interaction"]) == 1


async def test_a_session_that_is_expired_at_plivo_ends_with_the_callback(
    front: System, system: System, receiver: Receiver
) -> None:
    made = await created(front, receiver)
    there = await counterpart_of(system, "active")
    assert (await system.http.delete(f"{system.api}/{there['session_uuid']}/")).status_code == 200
    await heard(receiver, "SessionTimeout")
    await asyncio.wait_for(front.sessions.final_bill(made["session_uuid"]), 20)
    ours, theirs = await shown(front, made["session_uuid"]), await counterpart_of(system)
    assert comparable(ours, front) == comparable(theirs, system)


async def test_what_plivo_refuses_is_refused_in_its_words(front: System, receiver: Receiver) -> None:
    body = {"first_party": "+4915112345678", "second_party": SECOND}
    answer = await front.http.post(f"{front.api}/", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "Number pool exhausted or not available.")
