"""Whether a Temporal server lets us in."""

from __future__ import annotations

from temporalio.service import RPCError, RPCStatusCode


def shut_out(error: Exception) -> bool:
    """Whether Temporal does not know who we are, or does not let us in. The SDK tells it in words while it connects."""
    if isinstance(error, RPCError):
        return error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED)
    return isinstance(error, RuntimeError) and any(
        f"code: {code}" in str(error) for code in ("Unauthenticated", "PermissionDenied")
    )
