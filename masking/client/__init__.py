"""What another service imports to start, extend, modify, expire and await a session.

Needs a `temporalio` client that carries `masking.temporal.masking_plugin`, or its `data_converter` alone; imports
neither the gateway nor the database. docs/client.md shows each part.
"""

from __future__ import annotations

from masking.client.errors import (
    AccountUnknown,
    IdempotencyConflict,
    NotSettledYet,
    NumberPoolExhausted,
    OutcomeUnknown,
    SessionAlreadyExpired,
    SessionError,
    SessionNotFound,
    SessionRefused,
    UnfitClient,
)
from masking.client.events import (
    CallEvent,
    SessionChanged,
    SessionEvent,
    SessionExpired,
    SessionOpened,
    SessionSettled,
    SessionTurnedAway,
)
from masking.client.new_session import NewSession, session_uuid_of
from masking.client.sessions import DEFAULT_TIMEOUT, MaskingClient
from masking.domain.bill.charges import Bill
from masking.domain.session import Phase, Status
from masking.domain.snapshot import SessionSnapshot
from masking.domain.terms import Change, PinTerms

__all__ = [
    "DEFAULT_TIMEOUT",
    "AccountUnknown",
    "Bill",
    "CallEvent",
    "Change",
    "IdempotencyConflict",
    "MaskingClient",
    "NewSession",
    "NotSettledYet",
    "NumberPoolExhausted",
    "OutcomeUnknown",
    "Phase",
    "PinTerms",
    "SessionAlreadyExpired",
    "SessionChanged",
    "SessionError",
    "SessionEvent",
    "SessionExpired",
    "SessionNotFound",
    "SessionOpened",
    "SessionRefused",
    "SessionSettled",
    "SessionSnapshot",
    "SessionTurnedAway",
    "Status",
    "UnfitClient",
    "session_uuid_of",
]
