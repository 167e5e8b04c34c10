"""How a session is opened: with a number that is chosen for it, or at the carrier that masks it."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.plivo import OpenedAtCarrier
    from activities.sessions import Opened, OpenSession, SessionActivities
    from masking.domain.agreement import Left
    from masking.domain.counterpart.following import opened_at_carrier
    from masking.domain.lifecycle import Step, opened, refused
    from masking.domain.session import Session, check_known_rules
    from masking.domain.start import SessionStart

from workflows.counterpart import CounterpartOrders
from workflows.lists import asks_parties, tell_lists, tell_parties
from workflows.recorded_state import WRITE_RETRIES, WRITE_TIMEOUT, RecordedState


class Opening:
    """Opens a session, and puts into effect what came of it.

    Args:
        counterpart: the session at the carrier, where that one masks.
        start: what was asked for.
    """

    def __init__(self, state: RecordedState, counterpart: CounterpartOrders | None, start: SessionStart) -> None:
        self._state, self._counterpart = state, counterpart
        self._left = Left(terms_of_business=start.rate is None, at_expiry=start.at_expiry is None)

    async def carry_out(self) -> bool:
        """Open it, or refuse it. Whether cancelling its workflow ends the session early from now on.

        Raises:
            ActivityError: the workflow was cancelled meanwhile; it may be open.
        """
        return await (self._at_carrier(self._counterpart) if self._counterpart is not None else self._with_number())

    async def _with_number(self) -> bool:
        result = await workflow.execute_local_activity_method(
            SessionActivities.open_session,
            OpenSession(session=self._state.session, left=self._left, asks_parties=asks_parties()),
            start_to_close_timeout=WRITE_TIMEOUT,
            retry_policy=WRITE_RETRIES,
            summary="choose a virtual number",
        )
        decided, session = None, self._as_it_waited(result)
        if result.virtual_number is not None:
            decided = opened(session, result.virtual_number, result.pins, result.revision, result.agreement)
        return self._take(result, decided)

    async def _at_carrier(self, carrier: CounterpartOrders) -> bool:
        """An ordinary activity on purpose: the carrier is asked, which takes its time and must not be done again."""
        result = await carrier.make(self._left, asks_parties=asks_parties())
        decided, session = None, self._as_it_waited(result)
        if result.told is not None:
            decided = opened_at_carrier(session, result.told, result.revision, result.agreement, result.rules)
        return self._take(result, decided)

    def _as_it_waited(self, result: Opened | OpenedAtCarrier) -> Session:
        """The session before it is open. Up to revision 3 it took in what was told, without number and price."""
        if result.revision <= 3:
            self._state.hear_early()
        return self._state.session

    def _take(self, result: Opened | OpenedAtCarrier, decided: Step | None) -> bool:
        """Put into effect what came of it: a refusal, where that decided nothing else.

        Raises:
            NewerRules: a newer worker opened it; Temporal tries the task again, until one of those has it.
        """
        if decided is None:
            self._state.take(refused(self._state.session, result.refusal))
            tell_lists(self._state.session, "refused")
        else:
            check_known_rules(decided.session)
            heard_meanwhile = not self._state.is_written
            self._state.take(decided)
            if not heard_meanwhile:
                self._state.note_written()
            self._state.hear_early()
            tell_parties(result.parties)
        self._state.tell()
        return decided is not None and result.outlives_cancel
