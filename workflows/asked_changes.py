"""What the account asks of a session: to change it, or to end it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.sessions import ChangeParties, SessionActivities
    from masking.contract import ErrorType
    from masking.domain.counterpart.following import changed_at_carrier
    from masking.domain.counterpart.told import ToldSession
    from masking.domain.lifecycle import Rejected, changed, check_changeable, expired, remarked
    from masking.domain.limits import fault_of_change
    from masking.domain.session import Phase, Session
    from masking.domain.snapshot import SessionSnapshot, snapshot
    from masking.domain.terms import Change, Terms

from workflows.answered_updates import AnsweredUpdates
from workflows.counterpart import CounterpartOrders
from workflows.recorded_state import RecordedState

ResultT = TypeVar("ResultT")


class AskedChanges:
    """Carries out updates. Each answers once what it brought about is written down.

    Args:
        state: the session's.
        answered: the updates that were answered already.
        counterpart: the session at a carrier that does the masking itself, which is changed first; else None.
    """

    def __init__(self, state: RecordedState, answered: AnsweredUpdates, counterpart: CounterpartOrders | None) -> None:
        self._state, self._answered, self._counterpart = state, answered, counterpart
        self._changing = asyncio.Lock()

    @property
    def _session(self) -> Session:
        return self._state.session

    def check(self, change: Change | None = None) -> None:
        """Reject at once, without a trace in the history, what surely comes to nothing.

        While the end of the session is not written down, calls may still be connected: nobody is
        told of it before.

        Args:
            change: what is asked for; None when that is the session's end.

        Raises:
            ApplicationError: the session takes no change any more, or not this one.
        """
        if change is not None and (fault := fault_of_change(change)) is not None:
            raise ApplicationError(fault, type=ErrorType.REQUEST_INVALID, non_retryable=True)
        if self._session.phase is Phase.OPENING or not self._state.is_written or self._answered.has_current():
            return
        try:
            check_changeable(self._session, workflow.now())
        except Rejected as rejection:
            raise _told(rejection) from None

    async def expire(self) -> SessionSnapshot:
        """End the session now.

        Raises:
            ApplicationError: as the update of the workflow does.
        """
        await self._opening_over()
        if not self._answered.has_current():
            await self._end_now()
        await self._state.written()
        return self._answer()

    async def end(self) -> None:
        """End the session now, if it has not ended yet, because its workflow was cancelled."""
        if self._session.phase is not Phase.ACTIVE:
            return
        self._state.take_now(remarked(self._session, "Its workflow was cancelled."))
        try:
            await self._end_now()
        except ApplicationError:
            # It ends at its time, as it would have: there is no other end that the carrier would know of.
            self._state.take_now(remarked(self._session, "It could not be ended early."))

    async def change(self, change: Change) -> SessionSnapshot:
        """Change the session's terms.

        Raises:
            ApplicationError: as the updates of the workflow do.
        """
        await self._opening_over()
        if self._answered.has_current():
            return snapshot(self._session)
        async with self._changing:
            terms = (await self._or_rejected(lambda: changed(self._session, change, workflow.now()))).session.terms
            if terms.parties != self._session.terms.parties:
                await self._take_routes_of(terms)
            if self._counterpart is not None and (told := await self._at_carrier(self._counterpart, change, terms)):
                decide = partial(changed_at_carrier, change=change, told=told)
            else:
                decide = partial(changed, change=change)
            self._state.take_now(await self._or_rejected(lambda: decide(self._session, now=workflow.now())))
        await self._state.written()
        if self._state.routes_lost:
            raise ApplicationError("The session lost its number.", type=ErrorType.ROUTE_LOST, non_retryable=True)
        return self._answer()

    async def _opening_over(self) -> None:
        """Wait until the session can be changed; where it can, act before `run` looks at what there is to do."""
        if self._session.revision == 1 or self._session.phase is Phase.OPENING:
            await workflow.wait_condition(lambda: self._session.phase is not Phase.OPENING)

    async def _end_now(self) -> None:
        if not await self._expired_at_carrier():
            self._state.take_now(await self._or_rejected(lambda: expired(self._session, workflow.now())))

    async def _expired_at_carrier(self) -> bool:
        """Whether the session has ended because the carrier ended it for us; that may tell so before it answers."""
        if self._counterpart is None:
            return False
        await self._or_rejected(lambda: check_changeable(self._session, workflow.now()))
        await self._counterpart.expire()
        return self._session.phase is not Phase.ACTIVE

    async def _at_carrier(self, carrier: CounterpartOrders, change: Change, terms: Terms) -> ToldSession | None:
        """What the carrier makes of a change; the routes of new parties are given back where it makes nothing of it."""
        try:
            return await carrier.change(change)
        except ApplicationError:
            if terms.parties != self._session.terms.parties:
                await self._take_routes_of(self._session.terms)
            raise

    async def _take_routes_of(self, terms: Terms) -> None:
        """Hold the routes of new parties before they count as the session's."""
        result = await self._state.write(
            SessionActivities.change_parties,
            ChangeParties(session=self._session, terms=terms),
            "take the routes of the new parties",
            local=False,
        )
        if not result.holds_routes:
            raise ApplicationError(
                "Another session holds this party on the session's virtual number; create a new session.",
                type=ErrorType.PARTY_TAKEN,
                non_retryable=True,
            )

    async def _or_rejected(self, decide: Callable[[], ResultT]) -> ResultT:
        """What was decided; a rejection is told only once what it rests on is written down."""
        try:
            return decide()
        except Rejected as rejection:
            await self._state.written()
            raise _told(rejection) from None

    def _answer(self) -> SessionSnapshot:
        self._answered.note_current()
        return snapshot(self._session)


def _told(rejection: Rejected) -> ApplicationError:
    """The error that an update may fail with."""
    return ApplicationError(str(rejection), type=rejection.code, non_retryable=True)
