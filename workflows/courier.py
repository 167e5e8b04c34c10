"""Has the callbacks of a session of revision 1 delivered while the session goes on.

Sessions of today leave that to the worker's `CallbackSender`, so that a customer's dead endpoint
holds no session open.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.callbacks import CallbackActivities, DeliverCallbacks

DELIVERY_TIMEOUT = timedelta(minutes=2)
GIVE_UP_AFTER = timedelta(minutes=10)
RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(minutes=1)
)


class Courier:
    """Runs one delivery at a time; each takes along whatever has been queued by then."""

    def __init__(self, command: DeliverCallbacks) -> None:
        self._command = command
        self._due = False
        self._working: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self._working is None

    def wake(self) -> None:
        """There is something new to deliver."""
        self._due = True
        if self._working is None:
            self._working = asyncio.create_task(self._work())

    async def finished(self) -> None:
        """Return once everything was delivered or given up."""
        await workflow.wait_condition(lambda: self.idle)

    async def _work(self) -> None:
        while self._due:
            self._due = False
            try:
                await workflow.execute_activity_method(
                    CallbackActivities.deliver_callbacks,
                    self._command,
                    start_to_close_timeout=DELIVERY_TIMEOUT,
                    schedule_to_close_timeout=GIVE_UP_AFTER,
                    retry_policy=RETRIES,
                    summary="tell the customer",
                )
            except ActivityError:
                # What is still pending is tried again with the next callback, and listed as dead at settlement.
                workflow.logger.warning("callbacks were not taken; they stay pending")
        self._working = None
