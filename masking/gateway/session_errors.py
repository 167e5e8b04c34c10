"""What a session did not do, as an HTTP answer."""

from __future__ import annotations

from masking.client import (
    NumberPoolExhausted,
    OutcomeUnknown,
    SessionAlreadyExpired,
    SessionError,
    SessionNotFound,
)
from masking.gateway.errors import ApiError


def api_error(error: SessionError) -> ApiError:
    """The answer, in Plivo's sentences where they are known."""
    match error:
        case NumberPoolExhausted():
            return ApiError(400, "Number pool exhausted or not available.")
        case SessionAlreadyExpired() | SessionNotFound():
            # The row exists, so a workflow that Temporal does not know as open has ended.
            return ApiError(400, "Session already expired")
        case OutcomeUnknown():
            return ApiError(503, "The service did not answer in time. Try again.", {"Retry-After": "1"})
        case _:
            return ApiError(400, str(error))
