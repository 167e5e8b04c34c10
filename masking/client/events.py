"""What happens to a session, told to another service as it happens."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from masking.domain.bill.charges import Bill
from masking.domain.model import Model
from masking.domain.told_calls import ToldCall


class _Told(Model):
    """Base of every event.

    Attributes:
        position: where it stands; the stream goes on behind it when it is given as `after`.
        at: when it happened, or was written down, UTC.
    """

    session_uuid: str
    position: str
    at: datetime


class SessionOpened(_Told):
    """The session has its virtual number (E.164). `expires_at` is when it was to expire at its start, UTC."""

    kind: Literal["opened"] = "opened"
    virtual_number: str
    expires_at: datetime


class SessionTurnedAway(_Told):
    """The session was refused, and there is none. The last event of its stream."""

    kind: Literal["turned_away"] = "turned_away"
    reason: str


class SessionChanged(_Told):
    """The session was extended or modified by its owner."""

    kind: Literal["changed"] = "changed"
    by: Literal["extend", "modify"]
    expires_at: datetime


class CallEvent(_Told, ToldCall):
    """The carrier told something about a call. Without numbers: `caller` says which party it was."""

    kind: Literal["call"] = "call"


class SessionExpired(_Told):
    """The session takes no more calls; one in progress goes on."""

    kind: Literal["expired"] = "expired"


class SessionSettled(_Told):
    """Everything was told and the bill is closed. The last event of its stream."""

    kind: Literal["settled"] = "settled"
    bill: Bill


SessionEvent = SessionOpened | SessionTurnedAway | SessionChanged | CallEvent | SessionExpired | SessionSettled
