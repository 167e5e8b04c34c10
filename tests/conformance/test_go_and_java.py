"""What the Go and Java SDKs really send, and the types that the Go SDK decodes into (plivo-wire.md §1.3 and §1.5).

The Go SDK is the strictest reader: `encoding/json` into typed structs, where one wrong type
fails the whole call. The models here are those structs, read strictly.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel, ConfigDict

from masking.carriers.call_details import CallDetails
from tests.integration.conftest import System
from tests.integration.reported_calls import whole_call

pytestmark = pytest.mark.anyio

GO_CREATE = {"first_party": "+12025550101", "second_party": "+12025550102", "session_expiry": 0}
JAVA_FLAGS = {
    "initiate_call_to_first_party": False, "is_pin_authentication_required": False, "geomatch": True,
    "generate_pin": False, "record": False, "ring_timeout": 0, "session_expiry": 0, "call_time_limit": 0,
    "create_session_with_single_party": False, "force_pin_authentication": False, "virtual_number_cooloff_period": 0,
    "pin_authentication_required": False,
}  # fmt: skip
JAVA_CREATE = {"first_party": "+12025550101", "second_party": "+12025550102", **JAVA_FLAGS}
JAVA_UPDATE = {
    "session_expiry": 0, "call_time_limit": 0, "ring_timeout": 0, "record": False,
    "create_session_with_single_party": False,
}  # fmt: skip


class GoStruct(BaseModel):
    """Go ignores unknown keys, and leaves what is missing or null at its zero value."""

    model_config = ConfigDict(strict=True, extra="ignore")


class GoInteraction(GoStruct):
    start_time: str | None = None
    end_time: str | None = None
    first_party_resource_url: str | None = None
    second_party_resource_url: str | None = None
    type: str | None = None
    total_call_amount: float | None = None
    call_billed_duration: int | None = None
    recording_resource_url: str | None = None
    auth_id: str | None = None
    total_call_count: int | None = None
    duration: float | None = None


class GoCall(GoStruct):
    answer_time: str | None = None
    bill_duration: int | None = None
    billed_duration: int | None = None
    call_direction: str | None = None
    call_duration: int | None = None
    call_state: str | None = None
    call_uuid: str | None = None
    end_time: str | None = None
    from_number: str | None = None
    hangup_cause_code: int | None = None
    hangup_cause_name: str | None = None
    hangup_source: str | None = None
    initiation_time: str | None = None
    parent_call_uuid: str | None = None
    resource_uri: str | None = None
    to_number: str | None = None
    total_amount: str | None = None
    total_rate: str | None = None


class GoRecording(GoStruct):
    add_time: str | None = None
    call_uuid: str | None = None
    recording_id: str | None = None
    recording_type: str | None = None
    recording_format: str | None = None
    conference_name: str | None = None
    recording_url: str | None = None
    resource_uri: str | None = None
    recording_start_ms: str | None = None
    recording_end_ms: str | None = None
    recording_duration_ms: str | None = None
    from_number: str | None = None
    to_number: str | None = None


class GoSession(GoStruct):
    first_party: str | None = None
    second_party: str | None = None
    virtual_number: str | None = None
    status: str | None = None
    initiate_call_to_first_party: bool | None = None
    session_uuid: str | None = None
    callback_url: str | None = None
    callback_method: str | None = None
    created_time: str | None = None
    modified_time: str | None = None
    expiry_time: str | None = None
    duration: int | None = None
    amount: int | None = None
    call_time_limit: int | None = None
    ring_timeout: int | None = None
    first_party_play_url: str | None = None
    second_party_play_url: str | None = None
    record: bool | None = None
    record_file_format: str | None = None
    recording_callback_url: str | None = None
    recording_callback_method: str | None = None
    interaction: list[GoInteraction] | None = None
    total_call_amount: float | None = None
    total_call_count: int | None = None
    total_call_billed_duration: int | None = None
    total_session_amount: float | None = None
    last_interaction_time: str | None = None
    is_pin_authentication_required: bool | None = None
    generate_pin: bool | None = None
    generate_pin_length: int | None = None
    first_party_pin: str | None = None
    second_party_pin: str | None = None
    pin_prompt_play: str | None = None
    pin_retry: int | None = None
    pin_retry_wait: int | None = None
    incorrect_pin_play: str | None = None
    unknown_caller_play: str | None = None
    create_session_with_single_party: bool | None = None
    virtual_number_cooloff_period: int | None = None
    force_pin_authentication: bool | None = None


class GoCreated(GoStruct):
    api_id: str
    session_uuid: str
    virtual_number: str
    message: str
    session: GoSession


class GoGot(GoStruct):
    api_id: str
    response: GoSession


class GoUpdated(GoStruct):
    api_id: str
    message: str
    session: GoSession


class GoMeta(GoStruct):
    limit: int
    next: str | None
    offset: int
    previous: str | None
    total_count: int


class GoList(GoStruct):
    meta: GoMeta
    objects: list[GoSession]


class GoListed(GoStruct):
    api_id: str
    response: GoList


@pytest.mark.parametrize("body", [GO_CREATE, JAVA_CREATE], ids=["go", "java"])
async def test_a_minimal_create_gets_the_documented_defaults(system: System, body: dict[str, Any]) -> None:
    response = await system.http.post(f"{system.api}/", json=body)

    assert response.status_code == 201
    session = GoCreated.model_validate_json(response.content).session
    assert (session.duration, session.call_time_limit, session.ring_timeout) == (3600, 3600, 120)
    assert (session.record, session.record_file_format, session.amount) == (False, "mp3", 0)
    assert session.virtual_number_cooloff_period == 0


async def test_a_java_single_party_create_sends_an_empty_party(system: System) -> None:
    body = JAVA_CREATE | {"second_party": "", "create_session_with_single_party": True}
    response = await system.http.post(
        f"{system.api}/", json=body, headers={"Content-Type": "application/json; charset=utf-8"}
    )

    assert response.status_code == 201
    assert GoCreated.model_validate_json(response.content).session.second_party == ""


async def test_a_java_update_leaves_what_it_sends_as_zero(system: System) -> None:
    created = (await system.http.post(f"{system.api}/", json=GO_CREATE | {"ring_timeout": 33, "record": True})).json()
    response = await system.http.post(f"{system.api}/{created['session_uuid']}/", json=JAVA_UPDATE)

    session = GoUpdated.model_validate_json(response.content).session
    assert (session.ring_timeout, session.duration, session.call_time_limit) == (33, 3600, 3600)
    assert session.record is False, "the Java SDK says so whether its user did or not"


async def test_the_go_sdk_can_decode_every_answer_of_a_session_with_calls_and_pins(system: System) -> None:
    pins = {
        "is_pin_authentication_required": True, "first_party_pin": 1234, "second_party_pin": 98765,
        "pin_prompt_play": "https://customer.example/pin.mp3", "virtual_number_cooloff_period": 7,
    }  # fmt: skip
    response = await system.http.post(f"{system.api}/", json=GO_CREATE | pins | {"record": True})
    created = GoCreated.model_validate_json(response.content)
    await whole_call(system, response.json()["session"], str(uuid4()))
    expired = await system.http.delete(f"{system.api}/{created.session_uuid}/")
    await system.sessions.final_bill(created.session_uuid)

    got = GoGot.model_validate_json((await system.http.get(f"{system.api}/{created.session_uuid}/")).content).response
    listed = GoListed.model_validate_json((await system.http.get(f"{system.api}/")).content).response

    assert set(expired.json()) == {"api_id", "message"}, "Java needs a body on delete"
    assert (got.first_party_pin, got.second_party_pin, got.pin_retry) == ("1234", "98765", 1)
    assert got.interaction is not None
    (interaction,) = got.interaction
    assert (interaction.total_call_count, interaction.call_billed_duration, interaction.duration) == (2, 240, 126.0)
    assert interaction.total_call_amount == got.total_call_amount == got.total_session_amount == 0.034
    assert listed.objects == [got]


async def test_calls_and_recordings_are_written_as_plivo_writes_them(system: System) -> None:
    response = await system.http.post(f"{system.api}/", json=GO_CREATE | {"record": True})
    session = response.json()["session"]
    await whole_call(system, session, str(uuid4()))
    async with asyncio.timeout(20):
        while "recording_resource_url" not in (shown := await interaction_of(system, session)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    legs = [(await system.http.get(shown[f"{party}_party_resource_url"])).content for party in ("first", "second")]
    recorded = (await system.http.get(shown["recording_resource_url"])).content

    callee, caller = (GoCall.model_validate_json(leg) for leg in legs)
    recording = GoRecording.model_validate_json(recorded)
    times = [each for leg in (callee, caller) for each in (leg.initiation_time, leg.answer_time, leg.end_time)]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00", str(each)) for each in times)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00", str(recording.add_time))
    assert (caller.total_rate, caller.total_amount) == ("0.00850", "0.01700")
    assert (recording.from_number, recording.to_number) == (caller.from_number, caller.to_number)
    assert {"conference_name": None}.items() <= json.loads(recorded).items(), "the Python SDK has no default for it"
    # Whoever reads Plivo's records reads ours.
    for leg in legs:
        details = CallDetails.model_validate_json(leg)
        assert None not in (details.initiation_time, details.answer_time, details.end_time)


async def interaction_of(system: System, session: dict[str, Any]) -> dict[str, Any]:
    shown = (await system.http.get(f"{system.api}/{session['session_uuid']}/")).json()["response"]["interaction"] or [
        {}
    ]
    interaction: dict[str, Any] = shown[0]
    return interaction
