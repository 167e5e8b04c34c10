"""What a session did not do, and what to do about it.

MaskingError
├── UnfitClient                 the Temporal client does not encode as the service does; connect it with our plugin
└── SessionError                a session did not do what was asked
    ├── NumberPoolExhausted     no virtual number is free for both parties; add numbers or wait
    ├── SessionAlreadyExpired   it has ended; start another
    ├── SessionNotFound         Temporal knows no such session; check its id, and the client's namespace
    ├── SessionRefused          refused for another reason, which the message tells
    │   ├── AccountUnknown      there is no such account, or it is disabled; ask the operator
    │   └── IdempotencyConflict the key was used for another request; use a key of its own
    ├── NotSettledYet           the bill is still open; ask again later, or wait longer
    └── OutcomeUnknown          no answer in time; repeat with the same id or key, nothing happens twice
"""

from __future__ import annotations

from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from masking.admission import shut_out
from masking.contract import REFUSALS, ErrorType
from masking.errors import KeysAway, MaskingError

FAULTS = (
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowFailureError,
    RPCError,
    TimeoutError,
    # What a client that connects at its first call raises while Temporal is away.
    RuntimeError,
    KeysAway,
)


class UnfitClient(MaskingError):
    """The Temporal client does not encode payloads as the service does, so that the two would not understand."""


class SessionError(MaskingError):
    """A session did not do what was asked of it.

    Attributes:
        code: what it is called between services: one of the contract's error types.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code or type(self).__name__


class NumberPoolExhausted(SessionError):
    """No virtual number is free for both parties."""


class SessionAlreadyExpired(SessionError):
    """The session has ended."""


class SessionNotFound(SessionError):
    """Temporal knows no such session."""


class SessionRefused(SessionError):
    """The session, or the change of it, was refused; the message says why."""


class AccountUnknown(SessionRefused):
    """There is no such account, or it is disabled."""


class IdempotencyConflict(SessionRefused):
    """The key was used before, for a session with other terms."""


class NotSettledYet(SessionError):
    """The bill was not closed within the time that was given."""


class OutcomeUnknown(SessionError):
    """No answer came in time: it may have happened, or not, or may happen yet."""


BY_TYPE: dict[str | None, type[SessionError]] = {
    ErrorType.NUMBER_POOL_EXHAUSTED: NumberPoolExhausted,
    ErrorType.SESSION_ALREADY_EXPIRED: SessionAlreadyExpired,
    ErrorType.ACCOUNT_UNKNOWN: AccountUnknown,
    ErrorType.CARRIER_UNAVAILABLE: OutcomeUnknown,
}


def named(error: Exception) -> SessionError:
    """Our exception for one of Temporal's."""
    if isinstance(error, WorkflowUpdateFailedError) and isinstance(error.cause, ApplicationError):
        kind = BY_TYPE.get(error.cause.type, SessionRefused)
        return kind(error.cause.message, error.cause.type or "")
    if isinstance(error, WorkflowFailureError):
        return SessionRefused(
            "the session's workflow was ended from outside, and its bill not closed; its operator can have it go on"
        )
    if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
        if "completed" in error.message:
            return SessionAlreadyExpired("the session has ended; start another")
        return SessionNotFound("Temporal knows no session with this id; check it, and the client's namespace")
    if shut_out(error):
        return SessionRefused("Temporal does not let this client into the namespace; check its API key or certificate")
    return OutcomeUnknown("no answer came in time; repeat with the same id, nothing happens twice")


def refused(reason: str) -> SessionError:
    """What to raise for a session that was refused for this reason."""
    code = REFUSALS.get(reason, ErrorType.REQUEST_INVALID)
    return BY_TYPE.get(code, SessionRefused)(reason, code)


def failure_of(error: SessionError) -> ApplicationError:
    """The same as Temporal passes it on, from an activity or a Nexus operation; what may yet come is retried."""
    may_come = isinstance(error, OutcomeUnknown | NotSettledYet)
    return ApplicationError(str(error), type=error.code, non_retryable=not may_come)
