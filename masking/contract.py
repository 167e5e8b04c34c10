"""The names by which everybody reaches a session's workflow.

Other services, in any language, may rely on these: workflow type, task queue, workflow id,
signals, updates, queries and error types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from masking.domain.events import (
    Answer,
    AnyCarrierEvent,
    CarrierEvents,
    Declined,
    Hangup,
    PinStatus,
    RecordingCompleted,
    RecordingFailed,
    RecordingInitiated,
    Ring,
    SessionEnded,
)
from masking.domain.session import Session

TASK_QUEUE = "masking"
WORKFLOW_TYPE = "MaskingSession"

ARCHIVE_TASK_QUEUE = "masking-archive"
"""Only workers that reach the archive's folder serve it."""
ARCHIVE_WORKFLOW_TYPE = "ArchiveSessions"
ARCHIVE_SCHEDULE = "archive-sessions"
"""The id of the schedule, and what its workflows' ids begin with."""

UPDATE_OPENED = "opened"
UPDATE_MODIFY = "modify"
UPDATE_EXTEND = "extend"
UPDATE_EXPIRE = "expire"
UPDATE_RECORD_AGAIN = "record_again"
"""Has the session write itself down again: `masking sessions restore`, and nobody else, asks for it."""
MEMO_REQUEST = "request_digest"
"""What tells, in a session's memo, which request it was started by."""

MEMO_RESUMES = "resumes"
"""The memo of a run that took over from a lost one: the id of that one."""

ENCRYPTED = b"binary/encrypted"
"""The encoding of a payload as it reaches Temporal."""

QUERY_SNAPSHOT = "snapshot"
QUERY_STORY = "story"

EVENTS: Mapping[str, type[AnyCarrierEvent]] = {
    "answer": Answer,
    "declined": Declined,
    "ring": Ring,
    "hangup": Hangup,
    "pin_status": PinStatus,
    "recording_initiated": RecordingInitiated,
    "recording_completed": RecordingCompleted,
    "recording_failed": RecordingFailed,
    "session_ended": SessionEnded,
}
"""The model that each signal carries; its `kind` is the signal's name."""

HEADER_TOLD = "masking-told"
"""The header of a signal that tells whoever started the session what they may read of it (`ToldCalls`)."""

SIGNAL_EVENTS = "events"
"""The signal that carries several of them at once, in their order."""


def signal_of(events: Sequence[AnyCarrierEvent]) -> tuple[str, AnyCarrierEvent | CarrierEvents]:
    """The signal that tells these at once, and what it carries; one alone has a signal of its own."""
    if len(events) == 1:
        return events[0].kind, events[0]
    return SIGNAL_EVENTS, CarrierEvents(events=tuple(events))


POOL_EXHAUSTED = "Number pool exhausted or not available."
PIN_TAKEN = "A given PIN is in use on every free virtual number. Choose other PINs, or have them generated."
NO_ACCOUNT = "There is no such account or subaccount, or it is disabled."
CARRIER_AWAY = "The carrier does not answer at the moment. Try again."
"""Why a session is refused, as its creator is told; a carrier that does the masking itself has words of its own."""


class ErrorType(StrEnum):
    """The `type` of an `ApplicationError` that an update of a session fails with."""

    SESSION_ALREADY_EXPIRED = "SessionAlreadyExpired"
    SESSION_NOT_OPEN = "SessionNotOpen"
    NUMBER_POOL_EXHAUSTED = "NumberPoolExhausted"
    ROUTE_LOST = "RouteLost"
    SAME_PARTY_TWICE = "SamePartyTwice"
    PARTY_TAKEN = "PartyTaken"
    PIN_TAKEN = "PinTaken"
    ACCOUNT_UNKNOWN = "AccountUnknown"
    REQUEST_INVALID = "RequestInvalid"
    CARRIER_REFUSED = "CarrierRefused"
    CARRIER_UNAVAILABLE = "CarrierUnavailable"


_WORKFLOW_ID = "session-"


def session_workflow_id(session_uuid: str) -> str:
    """The workflow id of a session."""
    return f"{_WORKFLOW_ID}{session_uuid}"


def session_of(workflow_id: str) -> str | None:
    """The session of a workflow, by its id; None for another workflow's."""
    return workflow_id.removeprefix(_WORKFLOW_ID) if workflow_id.startswith(_WORKFLOW_ID) else None


REFUSALS: Mapping[str, ErrorType] = {
    POOL_EXHAUSTED: ErrorType.NUMBER_POOL_EXHAUSTED,
    PIN_TAKEN: ErrorType.PIN_TAKEN,
    NO_ACCOUNT: ErrorType.ACCOUNT_UNKNOWN,
    CARRIER_AWAY: ErrorType.CARRIER_UNAVAILABLE,
}
"""What a creator is told, by its type; another reason is a fault of the request, or the carrier's words."""


def refusal_type(session: Session) -> ErrorType:
    """The type of error that tells why a session was refused."""
    otherwise = ErrorType.REQUEST_INVALID if session.carrier == "voice" else ErrorType.CARRIER_REFUSED
    return REFUSALS.get(session.refusal, otherwise)
