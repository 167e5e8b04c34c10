"""Which callbacks an account asks for, checked where it comes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from masking.domain.callbacks import Kind
from masking.gateway.arguments import refusal
from masking.gateway.errors import ApiError
from masking.gateway.list_arguments import Parameter, whole
from masking.storage.accounts import Principal
from masking.storage.callback_records import Chosen, State

MAX_LIMIT, DEFAULT_LIMIT = 100, 20
MAX_IDS = 1000
STATES = ("dead", "pending", "delivered", "all")
KINDS = ("session", "recording")

CALLBACK_ID = r"^[0-9A-Za-z-]{1,64}:(session|recording):[0-9]{1,9}$"
_SESSION_UUID = r"^[0-9A-Za-z-]{1,64}$"

CallbackId = Annotated[str, StringConstraints(pattern=CALLBACK_ID)]
SessionUuid = Annotated[str, StringConstraints(pattern=_SESSION_UUID)]

PARAMETERS = (
    Parameter("state", {"type": "string", "enum": list(STATES)}, "dead unless given; without session_uuid, dead or "
              "pending."),
    Parameter("session_uuid", {"type": "string"}, "Callbacks of this session."),
    Parameter("kind", {"type": "string", "enum": list(KINDS)}, "Both unless given."),
    Parameter("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}, f"Callbacks per page, {DEFAULT_LIMIT} "
              "unless given."),
    Parameter("after", {"type": "string"}, "The callback behind which the page begins; part of meta.next."),
)  # fmt: skip


class ReplayArguments(BaseModel):
    """Which callbacks are to be sent again: those that all of this is true of."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    callback_ids: list[CallbackId] | None = Field(default=None, min_length=1, max_length=MAX_IDS, description="These.")
    session_uuid: SessionUuid | None = Field(default=None, description="Those of this session.")
    kind: Kind | None = Field(default=None, description="Session events or recording events; both unless given.")
    from_sequence: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None, description="From this SequenceNumber on; needs session_uuid."
    )
    only_dead: bool = Field(default=False, description="Only those that were given up.")

    def chosen(self, owner: Principal) -> Chosen:
        """The owner's callbacks that are meant."""
        state: State | None = "dead" if self.only_dead else None
        return Chosen(self.callback_ids, self.session_uuid, self.kind, self.from_sequence, state, owner)


class _Filters(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    state: Literal["dead", "pending", "delivered", "all"] = "dead"
    session_uuid: SessionUuid | None = None
    kind: Kind | None = None
    after: CallbackId | None = None


class CallbackList(NamedTuple):
    """Which callbacks to list, and the filters as they were given."""

    chosen: Chosen
    limit: int
    after: str | None
    filters: dict[str, str]


def read_replay(body: object) -> ReplayArguments:
    """Check the body of a replay.

    Raises:
        ApiError: 400 with a sentence that names the argument and its rule.
    """
    try:
        given = ReplayArguments.model_validate(body)
    except ValidationError as error:
        raise refusal(error) from None
    if given.callback_ids is None and given.session_uuid is None and not given.only_dead:
        raise ApiError(400, "Mandatory parameter missing. callback_ids, session_uuid or only_dead must be present.")
    if given.from_sequence is not None and given.session_uuid is None:
        raise ApiError(400, "Invalid parameter. from_sequence needs session_uuid.")
    return given


def read_callback_list(query: Mapping[str, str], owner: Principal) -> CallbackList:
    """Check the filters of a list. Unknown ones are ignored.

    Raises:
        ApiError: 400 with a sentence that names the filter and its rule.
    """
    given: dict[str, Any] = {key: value.strip() for key, value in query.items() if value.strip()}
    try:
        filters = _Filters.model_validate(given)
    except ValidationError as error:
        raise refusal(error) from None
    if filters.session_uuid is None and filters.state in ("delivered", "all"):
        raise ApiError(400, "Invalid parameter. state without session_uuid should be dead or pending.")
    limit = whole(given, "limit", DEFAULT_LIMIT, lowest=1, highest=MAX_LIMIT)
    state = None if filters.state == "all" else filters.state
    chosen = Chosen(session_uuid=filters.session_uuid, kind=filters.kind, state=state, owner=owner)
    kept = filters.model_dump(exclude={"after"}, exclude_none=True, exclude_unset=True)
    return CallbackList(chosen, limit, filters.after, kept)
