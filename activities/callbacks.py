"""What sessions of revision 1 ask about callbacks. Sessions of today leave them to `masking.delivery`."""

from __future__ import annotations

from collections.abc import Callable

from temporalio import activity

from activities.sessions import SessionRef
from masking.domain.model import Model


class DeliverCallbacks(SessionRef):
    """Deliver what is pending for this session, signed with this account's tokens."""

    account_id: str


class Delivered(Model):
    """How many callbacks the customer's endpoint took."""

    count: int


class CallbackActivities:
    """Hands deliveries over to the sender.

    Args:
        queued: called when callbacks are there to be sent.
    """

    def __init__(self, queued: Callable[[], None]) -> None:
        self._queued = queued

    @activity.defn
    async def deliver_callbacks(self, command: DeliverCallbacks) -> Delivered:
        """Have pending callbacks sent; the sender sees to it that each arrives or is listed as dead."""
        self._queued()
        return Delivered(count=0)
