"""What to do with a call that reaches a virtual number. One pure decision, with its reason."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from masking.domain.events import Side
from masking.domain.model import Model
from masking.domain.terms import FileFormat


class Reason(StrEnum):
    """Why a call was treated as it was."""

    REGISTERED_CALLER = "the caller is a party of the session"
    UNKNOWN_CALLER = "no session holds this caller on this number"
    SESSION_ENDED = "the session has ended"
    CONVERSATION_IN_PROGRESS = "the session already has a conversation"
    FOREIGN_CALLER_ID = "the callee would see a number that is not of the pool"


class Route(Model):
    """What is known when a caller reaches a number: the lease, and the session behind it.

    Attributes:
        caller: which party the caller is.
        caller_number, callee_number: real numbers, E.164.
        virtual_number: the session's number, E.164; None if it is no number of the pool.
        expires_at: from then on no new call is forwarded, UTC.
        busy: whether a conversation of the session is in progress.
    """

    session_uuid: str
    account_id: str
    caller: Side
    caller_number: str
    callee_number: str
    virtual_number: str | None
    expires_at: datetime
    busy: bool
    record: bool
    record_file_format: FileFormat
    ring_timeout: int
    call_time_limit: int


class Connect(Model):
    """Dial the callee, show it `caller_id`, and bridge."""

    to: str
    caller_id: str
    ring_timeout: int
    call_time_limit: int
    record: FileFormat | None
    reason: Reason = Reason.REGISTERED_CALLER


class SayEnded(Model):
    """Tell the caller that the session has ended, and hang up."""

    reason: Reason = Reason.SESSION_ENDED


class Busy(Model):
    """Answer with the busy signal."""

    reason: Reason = Reason.CONVERSATION_IN_PROGRESS


class Refuse(Model):
    """Do not answer the call."""

    reason: Reason


Decision = Connect | SayEnded | Busy | Refuse


def decide(called_number: str, route: Route, now: datetime) -> Decision:
    """What to do with a call to `called_number` (E.164) from the caller that `route` belongs to.

    Args:
        route: the lease that matches number and caller, live or cooling.
        now: the database's clock, UTC.
    """
    if now >= route.expires_at:
        return SayEnded()
    # The last line of defence: whatever the data says, nobody is ever shown a number outside the pool.
    if route.virtual_number != called_number:
        return Refuse(reason=Reason.FOREIGN_CALLER_ID)
    if route.busy:
        return Busy()
    return Connect(
        to=route.callee_number,
        caller_id=called_number,
        ring_timeout=route.ring_timeout,
        call_time_limit=route.call_time_limit,
        record=route.record_file_format if route.record else None,
    )


def decide_unknown() -> Decision:
    """What to do with a call whose caller no session holds on the number it called, or who hides."""
    return Refuse(reason=Reason.UNKNOWN_CALLER)
