"""The answers of the sessions API, in Plivo's shapes (masking-session-api.txt, plivo-wire.md §1.5 and §5).

The strictest client decodes into typed structs: whole numbers stay whole, `amount` is an
integer, `interaction` an array or null. The models that write the answers are the ones
that the OpenAPI document describes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field, PlainSerializer, SerializerFunctionWrapHandler, model_serializer

from masking.gateway.errors import new_api_id

Json = dict[str, Any]


def _number(amount: Decimal) -> int | float:
    """A JSON number; whole amounts without a fraction."""
    return int(amount) if amount == int(amount) else float(amount)


Money = Annotated[Decimal, PlainSerializer(_number, return_type=int | float, when_used="always")]
Time = Annotated[str, Field(examples=["2024-02-01 06:28:15 +0000 UTC"])]
RecordTime = Annotated[str, Field(examples=["2024-02-01 06:28:15+00:00"])]


class InteractionObject(BaseModel):
    """One conversation. Keys without a value are left out, as the real service does."""

    @model_serializer(mode="wrap")
    def _without_empty_keys(self, write: SerializerFunctionWrapHandler) -> Json:
        return {key: value for key, value in write(self).items() if value is not None}

    start_time: Time
    end_time: Time | None = None
    first_party_resource_url: str | None = Field(default=None, description="The first party's leg.")
    second_party_resource_url: str | None = Field(default=None, description="The second party's leg.")
    recording_resource_url: str | None = None
    type: str = "call"
    auth_id: str
    total_call_amount: Money
    call_billed_duration: int = Field(description="Billed seconds of both legs.")
    total_call_count: int = Field(description="Legs.")
    duration: int = Field(description="Seconds of both legs.")


class SessionObject(BaseModel):
    """A session. Parties and virtual number without +, times in UTC."""

    first_party: str
    second_party: str
    virtual_number: str
    status: str = Field(description="active, in-progress or expired")
    initiate_call_to_first_party: bool = False
    is_pin_authentication_required: bool = False
    generate_pin: bool | None = None
    generate_pin_length: int | None = None
    first_party_pin: str | None = None
    second_party_pin: str | None = None
    pin_prompt_play: str | None = None
    pin_retry: int | None = None
    pin_retry_wait: int | None = None
    incorrect_pin_play: str | None = None
    unknown_caller_play: str = ""
    force_pin_authentication: bool | None = None
    create_session_with_single_party: bool = False
    virtual_number_cooloff_period: int
    first_party_play_url: str = ""
    second_party_play_url: str = ""
    session_uuid: str
    callback_url: str
    callback_method: str
    created_time: Time
    modified_time: Time
    expiry_time: Time
    duration: int = Field(description="Seconds from creation to expiry.")
    amount: int = Field(description="The fee for the session itself.")
    call_time_limit: int
    ring_timeout: int
    record: bool
    record_file_format: str
    recording_callback_url: str
    recording_callback_method: str
    interaction: list[InteractionObject] | None
    total_call_amount: Money
    total_call_count: int
    total_call_billed_duration: int
    total_session_amount: Money
    last_interaction_time: str = Field(description="Empty before the first conversation has ended.")


class Answer(BaseModel):
    """What every answer has."""

    api_id: str = Field(default_factory=new_api_id, description="Names this answer, for questions about it.")


class SessionCreated(Answer):
    """A session was created."""

    session_uuid: str
    virtual_number: str = Field(description="E.164, with +.")
    message: str = "Session created"
    session: SessionObject


class SessionAnswer(Answer):
    """A session."""

    response: SessionObject


class SessionUpdated(Answer):
    """A session was updated."""

    message: str = "Session updated"
    session: SessionObject


class SessionExpired(Answer):
    """A session was expired."""

    message: str = "Session expired"


class ListedSession(SessionObject):
    """A session as lists show it."""

    resource_uri: str = Field(description="The session's address.")


class ListMeta(BaseModel):
    """Which part of the list this is. `next` and `previous` are addresses of the neighbouring pages."""

    limit: int
    next: str | None
    offset: int
    previous: str | None
    total_count: int


class SessionList(BaseModel):
    """A page of sessions, newest first."""

    meta: ListMeta
    objects: list[ListedSession]


class ListAnswer(Answer):
    """A page of sessions."""

    response: SessionList


class CallObject(Answer):
    """A leg, as Plivo shows a call: inbound where a caller reached us, outbound where we dialled."""

    call_uuid: str
    call_direction: Literal["inbound", "outbound"]
    call_state: str = Field(description="ANSWER or NO_ANSWER")
    from_number: str
    to_number: str
    initiation_time: RecordTime
    answer_time: RecordTime | None
    end_time: RecordTime | None
    call_duration: int
    bill_duration: int
    billed_duration: int
    total_rate: str
    total_amount: str
    hangup_cause_name: str | None
    hangup_cause_code: int | None
    hangup_source: str | None
    parent_call_uuid: str | None
    resource_uri: str


class RecordingObject(Answer):
    """A recording (plivo-wire.md §7.4)."""

    recording_id: str
    call_uuid: str
    recording_url: str = Field(description="Where the audio is.")
    recording_format: str
    recording_type: str = "normal"
    recording_duration_ms: str
    recording_start_ms: str
    recording_end_ms: str
    rounded_recording_duration: int = Field(description="Seconds, in whole minutes.")
    add_time: str = Field(examples=["2024-02-01 06:28:15.852059+00:00"])
    conference_name: None = Field(default=None, description="There are no conferences.")
    from_number: str
    to_number: str
    resource_uri: str


class ErrorAnswer(Answer):
    """What is wrong, in one sentence that names the argument."""

    error: str


def answered(answer: BaseModel, *, status: int = 200) -> web.Response:
    """The HTTP answer that holds it."""
    return web.Response(text=answer.model_dump_json(), status=status, content_type="application/json")
