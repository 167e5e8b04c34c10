"""What a session has its carrier do, while the session goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.carrier import CallFirstParty, CarrierActivities, EndCalls
    from masking.domain.events import Placed
    from masking.domain.lifecycle import live_calls
    from masking.domain.session import Session

TIMEOUT = timedelta(seconds=20)
RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=10),
    maximum_attempts=6,
)
WARNING = timedelta(seconds=30)
"""How long parties have to say goodbye after they were warned."""


class CarrierOrders:
    """Runs orders beside the session. Each ends by itself, its tries being bounded.

    Args:
        heard: told of a call that was placed.
        remarked: told, in words for the operator, of an order that was not carried out.
    """

    def __init__(self, heard: Callable[[Placed], None], remarked: Callable[[str], None]) -> None:
        self._heard, self._remarked = heard, remarked
        self._working: list[asyncio.Task[None]] = []

    def opened(self, session: Session) -> None:
        """Call the first party, where the session is to begin so."""
        if session.terms.initiate_call_to_first_party:
            self._begin(self._call_first_party(session))

    def expired(self, session: Session) -> None:
        """End the conversations that the session's end found in progress, where the policy says so."""
        calls = live_calls(session)
        if session.at_expiry != "finish" and calls:
            orders = EndCalls(session_uuid=session.session_uuid, call_uuids=calls)
            self._begin(self._end_calls(orders, warn=session.at_expiry == "warn"))

    async def finished(self) -> None:
        """Return once every order was carried out or given up."""
        await workflow.wait_condition(lambda: all(task.done() for task in self._working))

    def _begin(self, order: Coroutine[Any, Any, None]) -> None:
        self._working.append(asyncio.create_task(order))

    async def _call_first_party(self, session: Session) -> None:
        """What comes of the call arrives as events."""
        try:
            placed = await workflow.execute_activity_method(
                CarrierActivities.call_first_party,
                CallFirstParty(
                    session_uuid=session.session_uuid, virtual_number=session.virtual_number, terms=session.terms
                ),
                start_to_close_timeout=TIMEOUT,
                retry_policy=RETRIES,
                summary="call the first party",
            )
            self._heard(placed)
        except ActivityError as error:
            reason = error.cause.message if isinstance(error.cause, ApplicationError) else "no answer in time"
            self._remarked(f"the first party could not be called: {reason}")

    async def _end_calls(self, calls: EndCalls, *, warn: bool) -> None:
        try:
            if warn:
                await workflow.execute_activity_method(
                    CarrierActivities.warn_calls,
                    calls,
                    start_to_close_timeout=TIMEOUT,
                    retry_policy=RETRIES,
                    summary="tell the parties that their call is about to end",
                )
                await workflow.sleep(WARNING, summary="let the parties say goodbye")
            await workflow.execute_activity_method(
                CarrierActivities.end_calls,
                calls,
                start_to_close_timeout=TIMEOUT,
                retry_policy=RETRIES,
                summary="end the calls in progress",
            )
        except ActivityError:
            self._remarked("the carrier did not end a call; it goes on to its time limit")
