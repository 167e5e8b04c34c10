"""What a session has its carrier do, while the session goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.carrier import AskMissed, CallFirstParty, CarrierActivities, EndCalls
    from masking.domain.deadlines import live_calls
    from masking.domain.events import AnyCarrierEvent, Call
    from masking.domain.resuming import NOT_CALLED
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

ASK_UNTIL = timedelta(hours=1)
"""How long the carrier is asked for what it did not tell, before that is taken for lost."""
ASK_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=2), backoff_coefficient=2.0, maximum_interval=timedelta(minutes=5)
)


class CarrierOrders:
    """Runs orders beside the session. Each ends by itself, its tries being bounded.

    Args:
        heard: told of what the carrier answered: a call that was placed, an event that it had not told.
        given_up: told of the calls about which it has nothing more to say, by its ids.
        remarked: told, in words for the operator, of an order that was not carried out.
        ending: the calls that an earlier run of the session had ended already.
    """

    def __init__(
        self,
        heard: Callable[[AnyCarrierEvent], None],
        given_up: Callable[[frozenset[str]], None],
        remarked: Callable[[str], None],
        ending: Iterable[str] = (),
    ) -> None:
        self._heard, self._given_up, self._remarked = heard, given_up, remarked
        self._working: list[asyncio.Task[None]] = []
        self._ending = dict.fromkeys(ending)
        self.asking: frozenset[str] = frozenset()
        """The calls of which the carrier is being asked."""
        self.answers = 0
        """How often it has answered, or nobody hopes for an answer any more."""

    @property
    def ending(self) -> tuple[str, ...]:
        """The calls that were to be ended, by the carrier's ids."""
        return tuple(self._ending)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return all(task.done() for task in self._working)

    def opened(self, session: Session) -> None:
        """Call the first party, where the session is to begin so."""
        if session.terms.initiate_call_to_first_party:
            self._begin(self._call_first_party(session))

    def expired(self, session: Session) -> None:
        """End the conversations that the session's end found in progress, where the policy says so.

        Safe to repeat: of a call that began before the end one may hear only afterwards.
        """
        calls = tuple(call for call in live_calls(session) if call not in self._ending)
        if session.at_expiry in ("warn", "drop") and calls:
            self._ending |= dict.fromkeys(calls)
            orders = EndCalls(session_uuid=session.session_uuid, call_uuids=calls)
            self._begin(self._end_calls(orders, session))

    def ask(self, session: Session, calls: Iterable[Call]) -> None:
        """Ask what the carrier knows of calls that it should have told more about."""
        asked = tuple(calls)
        uuids = frozenset(call.call_uuid for call in asked)
        self.asking |= uuids
        self._begin(self._ask(AskMissed(session_uuid=session.session_uuid, calls=asked), uuids))

    async def finished(self) -> None:
        """Return once every order was carried out or given up."""
        await workflow.wait_condition(lambda: self.idle)

    def _begin(self, order: Coroutine[Any, Any, None]) -> None:
        self._working = [task for task in self._working if not task.done()]
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
            self._remarked(f"{NOT_CALLED}: {reason}")

    async def _end_calls(self, calls: EndCalls, session: Session) -> None:
        if session.at_expiry == "warn":
            try:
                await workflow.execute_activity_method(
                    CarrierActivities.warn_calls,
                    calls,
                    start_to_close_timeout=TIMEOUT,
                    retry_policy=RETRIES,
                    summary="tell the parties that their call is about to end",
                )
            except ActivityError:
                self._remarked("the carrier did not warn the parties")
                if session.revision == 1:
                    return
            else:
                await workflow.sleep(WARNING, summary="let the parties say goodbye")
        try:
            await workflow.execute_activity_method(
                CarrierActivities.end_calls,
                calls,
                start_to_close_timeout=TIMEOUT,
                retry_policy=RETRIES,
                summary="end the calls in progress",
            )
        except ActivityError:
            self._remarked("the carrier did not end a call; it goes on to its time limit")

    async def _ask(self, question: AskMissed, uuids: frozenset[str]) -> None:
        try:
            missed = await workflow.execute_activity_method(
                CarrierActivities.ask_missed,
                question,
                start_to_close_timeout=TIMEOUT,
                schedule_to_close_timeout=ASK_UNTIL,
                retry_policy=ASK_RETRIES,
                summary="ask the carrier for what it did not tell",
            )
            events: tuple[AnyCarrierEvent, ...] = (*missed.hangups, *missed.recordings)
            for event in events:
                self._heard(event)
        except ActivityError:
            self._remarked("the carrier could not be asked for what it did not tell")
        self.asking -= uuids
        self.answers += 1
        self._given_up(uuids)
