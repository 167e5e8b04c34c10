"""Callbacks as the account sees them that they belong to. Plivo has no such resource; the shapes follow its others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from pydantic import BaseModel, Field

from masking.domain.wire_format import plivo_time
from masking.gateway.resources import Answer, Time
from masking.storage.callback_endpoints import FailingEndpoint
from masking.storage.callback_records import Attempt, CallbackRecord, Shown


class CallbackObject(BaseModel):
    """A callback, and what became of it."""

    callback_id: str = Field(description="The same at every try, and X-Masking-Callback-Id.")
    session_uuid: str
    kind: str = Field(description="session or recording")
    sequence_number: int
    state: str = Field(description="pending, delivered or dead")
    attempts: int = Field(description="Tries since it arose, or since it was last sent again.")
    last_outcome: str = Field(description="Of the newest try: HTTP 500, no connection, and the like. Empty before it.")
    created_time: Time
    due_time: Time | None = Field(description="When it is tried next.")
    delivered_time: Time | None
    resource_uri: str


class TryObject(BaseModel):
    """One try."""

    time: Time
    duration_ms: int
    outcome: str
    status: int | None = Field(description="The answer's HTTP status.")
    answer: str | None = Field(description="The first 256 bytes of the answer.")


class CallbackDetail(CallbackObject):
    """A callback, what it says, and every try of it."""

    event_name: str | None
    url: str | None
    method: str | None
    params: dict[str, str] | None = Field(description="As they are sent. Null, like the others, if undecipherable.")
    tries: list[TryObject]


class CallbackMeta(BaseModel):
    """`next` is the address of the page behind this one."""

    limit: int
    next: str | None


class CallbackPage(BaseModel):
    """A page of callbacks, in the order in which they arose."""

    meta: CallbackMeta
    objects: list[CallbackObject]


class CallbackListAnswer(Answer):
    """A page of callbacks."""

    response: CallbackPage


class CallbackAnswer(Answer):
    """A callback."""

    response: CallbackDetail


class CallbacksReplayed(Answer):
    """Callbacks will be sent again, with their ids and sequence numbers."""

    message: str = "Callbacks will be sent again"
    replayed: int = Field(description="How many.")


class EndpointObject(BaseModel):
    """An endpoint of yours that keeps failing, and is therefore tried less often."""

    auth_id: str = Field(description="The account or subaccount whose callbacks go there.")
    endpoint: str | None = Field(description="Scheme, host and port.")
    failures: int = Field(description="Tries in a row that were not taken.")
    last_outcome: str
    rests_until: Time = Field(description="Nothing is sent there before; then one callback finds out how it does.")


class EndpointListAnswer(Answer):
    """The endpoints that keep failing, the worst first. Empty when all is well."""

    response: list[EndpointObject]


def callback_object(record: CallbackRecord, auth_id: str) -> CallbackObject:
    """What a list shows."""
    return CallbackObject(**_told(record, auth_id))


def callback_detail(shown: Shown, auth_id: str) -> CallbackDetail:
    """What a retrieve shows."""
    callback = shown.callback
    return CallbackDetail(
        **_told(shown.record, auth_id),
        event_name=callback and callback.name,
        url=callback and callback.url,
        method=callback and callback.method,
        params=callback and callback.params,
        tries=[_try(each) for each in shown.attempts],
    )


def endpoint_objects(found: Iterable[FailingEndpoint]) -> list[EndpointObject]:
    """What the list of endpoints shows."""
    return [
        EndpointObject(
            auth_id=each.owner_id,
            endpoint=each.endpoint,
            failures=each.failures,
            last_outcome=each.last_outcome,
            rests_until=plivo_time(each.rests_until),
        )
        for each in found
    ]


def page_of(
    records: list[CallbackRecord], more: bool, auth_id: str, limit: int, filters: Mapping[str, str]
) -> CallbackPage:
    """A page, with the way to the one behind it if there are more."""
    following = None
    if more:
        query = urlencode({**filters, "limit": limit, "after": records[-1].callback_id})
        following = f"/v1/Account/{auth_id}/Masking/Callback/?{query}"
    objects = [callback_object(record, auth_id) for record in records]
    return CallbackPage(meta=CallbackMeta(limit=limit, next=following), objects=objects)


def _told(record: CallbackRecord, auth_id: str) -> dict[str, object]:
    return {
        "callback_id": record.callback_id,
        "session_uuid": record.session_uuid,
        "kind": record.kind,
        "sequence_number": record.sequence,
        "state": record.state,
        "attempts": record.attempts,
        "last_outcome": record.last_outcome,
        "created_time": plivo_time(record.created_at),
        "due_time": plivo_time(record.due_at) or None,
        "delivered_time": plivo_time(record.delivered_at) or None,
        "resource_uri": f"/v1/Account/{auth_id}/Masking/Callback/{record.callback_id}/",
    }


def _try(attempt: Attempt) -> TryObject:
    return TryObject(
        time=plivo_time(attempt.began_at),
        duration_ms=attempt.duration_ms,
        outcome=attempt.outcome,
        status=attempt.status,
        answer=attempt.answer,
    )
