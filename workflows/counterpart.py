"""A session's counterpart, at a carrier that does the masking itself: what the session asks of it, and when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.plivo import ChangeAtCarrier, OfSession, OpenAtCarrier, OpenedAtCarrier, PlivoActivities
    from masking.contract import CARRIER_AWAY, ErrorType
    from masking.domain.agreement import Left
    from masking.domain.counterpart.following import concerns_carrier
    from masking.domain.counterpart.told import ToldSession
    from masking.domain.deadlines import live_calls
    from masking.domain.events import Call
    from masking.domain.session import Phase, Session
    from masking.domain.terms import Change

from workflows.carrier_orders import ASK_UNTIL, CarrierOrders

TRY = timedelta(seconds=30)
"""How long one try may take: several requests of 10 s at most."""
ANSWER_WITHIN = timedelta(minutes=1)
"""Whoever asked for something waits for it."""
RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=10)
)
ABANDON_UNTIL = timedelta(days=1)
"""No session lives longer at the carrier."""
PATIENT_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=2), backoff_coefficient=2.0, maximum_interval=timedelta(minutes=5)
)

LOOK_AGAIN_FIRST, LOOK_AGAIN_LAST = timedelta(seconds=2), timedelta(minutes=5)
LONGEST_WAIT = timedelta(hours=25)
"""No call lasts longer at the carrier."""

ParamT = TypeVar("ParamT")
ResultT = TypeVar("ResultT")


class CounterpartOrders(CarrierOrders):
    """Keeps a session's counterpart and asks it, beside the session or while somebody waits.

    The carrier calls first parties and ends calls by its own rules; it is asked for what it did not tell by a look
    at its record.

    Args:
        session: the session as it is now.
        given_up: told of the calls about which the carrier has nothing more to say, by its ids.
        remarked: told, in words for the operator, of what the carrier did not do.
        moved: told of what the carrier has on record when the session is about to expire.
        looked: told of what it has on record of the session's calls.
    """

    def __init__(
        self,
        session: Callable[[], Session],
        given_up: Callable[[frozenset[str]], None],
        remarked: Callable[[str], None],
        moved: Callable[[ToldSession], None],
        looked: Callable[[ToldSession], None],
    ) -> None:
        # Nothing that it is asked for is answered with events.
        super().__init__(lambda event: None, given_up, remarked)
        self._session, self._moved, self._looked = session, moved, looked
        self._looked_before: datetime | None = None
        self._gave_up = self._following = False

    def opened(self, session: Session) -> None:
        """The carrier calls the first party by itself."""

    def expired(self, session: Session) -> None:
        """Conversations in progress go on to their time limit; the carrier's record tells when they are over."""
        if not self._following and session.counterpart is not None:
            self._following = True
            self._begin(self._follow_to_the_end())

    @property
    def owes_look(self) -> bool:
        """Whether the bill cannot be closed before the carrier's record was looked at."""
        session, known = self._session(), self._session().counterpart
        return session.phase is not Phase.SETTLED and known is not None and not known.reconciled and not self._gave_up

    async def make(self, left: Left, *, asks_parties: bool) -> OpenedAtCarrier:
        """Have the carrier make the session. What may have been made although nobody knows, is expired later."""
        session = self._session()
        try:
            return await self._ask_carrier(
                PlivoActivities.open_at_carrier,
                OpenAtCarrier(session=session, left=left, asks_parties=asks_parties),
                "have the carrier make the session",
            )
        except ActivityError:
            self._begin(self._abandon(session))
            return OpenedAtCarrier(told=None, refusal=CARRIER_AWAY)

    async def change(self, change: Change) -> ToldSession | None:
        """Have the carrier take a change on; None where the change does not concern it.

        Raises:
            ApplicationError: `CarrierRefused` with the carrier's words, or `CarrierUnavailable`.
        """
        session = self._session()
        if not concerns_carrier(session, change):
            return None
        command = ChangeAtCarrier(session=session, change=change)
        return await self._told_to(PlivoActivities.change_at_carrier, command, "have the carrier change the session")

    async def expire(self) -> None:
        """Have the carrier end the session. Raises what `change` raises."""
        await self._told_to(
            PlivoActivities.expire_at_carrier, OfSession(session=self._session()), "have the carrier end the session"
        )

    async def look_if_due(self) -> None:
        """Before a session expires by its time: somebody may have moved that at the carrier. Once for each expiry."""
        session, due = self._session(), self._session().expires_at
        if session.phase is not Phase.ACTIVE or workflow.now() < due or due == self._looked_before:
            return
        self._looked_before = due
        told = await self._look(ANSWER_WITHIN, RETRIES)
        if told is not None and self._session().expires_at == due:
            self._moved(told)

    async def _follow_to_the_end(self) -> None:
        """Put the session right by the carrier's record, once that is whole: nothing goes on there any more."""
        pause = LOOK_AGAIN_FIRST
        await self._calls_over(pause)
        while True:
            told = await self._look(ASK_UNTIL, PATIENT_RETRIES)
            if told is not None:
                self._looked(told)
            self._gave_up = told is None or workflow.now() >= self._session().expires_at + LONGEST_WAIT
            if told is None or not self.owes_look:
                return
            if not told.expired and pause > LOOK_AGAIN_FIRST:
                await self._end()
            if not await self._calls_over(pause):
                await workflow.sleep(pause, summary="wait for the carrier's last call to end")
            pause = min(pause * 2, LOOK_AGAIN_LAST)

    async def _calls_over(self, within: timedelta) -> bool:
        """Wait until the last call is over as far as callbacks tell, if one goes on. Whether one did."""
        if not live_calls(self._session()):
            return False
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: not live_calls(self._session()),
                timeout=within,
                timeout_summary="wait for the carrier's last call to end",
            )
        return True

    async def _end(self) -> None:
        """End the session at the carrier too, which still forwards calls. Raises nothing: it is tried again."""
        try:
            await self.expire()
        except ApplicationError as error:
            self._remarked(f"the carrier did not end the session: {error.message}")

    async def _look(self, until: timedelta, retries: RetryPolicy) -> ToldSession | None:
        """What the carrier has on record; None where it does not tell."""
        try:
            return await self._ask_carrier(
                PlivoActivities.look_at_carrier,
                OfSession(session=self._session()),
                "look at the carrier's record of the session",
                until=until,
                retries=retries,
            )
        except ActivityError as error:
            self._remarked(f"the carrier's record could not be looked at: {_reason(error)}")
            return None

    def ask(self, session: Session, calls: Iterable[Call]) -> None:
        """Look at the carrier's record of calls that it should have told more about."""
        uuids = frozenset(call.call_uuid for call in calls)
        self.asking |= uuids
        self._begin(self._look_for(uuids))

    async def _look_for(self, uuids: frozenset[str]) -> None:
        told = await self._look(ASK_UNTIL, PATIENT_RETRIES)
        if told is not None:
            self._looked(told)
        self.asking -= uuids
        self.answers += 1
        self._given_up(uuids)

    async def _abandon(self, session: Session) -> None:
        try:
            await self._ask_carrier(
                PlivoActivities.abandon_at_carrier,
                OfSession(session=session),
                "expire what the carrier may have made",
                until=ABANDON_UNTIL,
                retries=PATIENT_RETRIES,
            )
        except ActivityError as error:
            workflow.logger.error("a session that was refused may live on at the carrier: %s", _reason(error))

    async def _told_to(
        self, activity: Callable[[PlivoActivities, ParamT], Awaitable[ResultT]], command: ParamT, summary: str
    ) -> ResultT:
        """Have something done for which an update waits, which fails if it is not."""
        try:
            return await self._ask_carrier(activity, command, summary)
        except ActivityError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError) and cause.type == ErrorType.CARRIER_REFUSED:
                raise ApplicationError(cause.message, type=ErrorType.CARRIER_REFUSED, non_retryable=True) from None
            raise ApplicationError(CARRIER_AWAY, type=ErrorType.CARRIER_UNAVAILABLE, non_retryable=True) from None

    async def _ask_carrier(
        self,
        activity: Callable[[PlivoActivities, ParamT], Awaitable[ResultT]],
        command: ParamT,
        summary: str,
        *,
        until: timedelta = ANSWER_WITHIN,
        retries: RetryPolicy = RETRIES,
    ) -> ResultT:
        return await workflow.execute_activity_method(
            activity,
            command,
            start_to_close_timeout=TRY,
            schedule_to_close_timeout=until,
            retry_policy=retries,
            summary=summary,
        )


def _reason(error: ActivityError) -> str:
    return error.cause.message if isinstance(error.cause, ApplicationError) else "no answer in time"
