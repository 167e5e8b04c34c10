"""Workflows of another service, which use sessions."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from masking.client import Bill, Change, NewSession
    from masking.client.in_workflow import WorkflowSession, start_session
    from masking.domain.model import Model


class Trip(Model):
    """What the caller is told to do."""

    wanted: NewSession
    masking_queue: str
    lasts_minutes: int = 0
    steers: bool = True
    waits_for_bill: bool = True


class Done(Model):
    """What came of it."""

    virtual_number: str = ""
    session_uuid: str = ""
    refusal: str = ""
    is_child: bool = False
    bill: Bill | None = None


@workflow.defn
class TripWorkflow:
    """Opens a session, extends and changes it, ends it, and books its bill."""

    @workflow.run
    async def run(self, trip: Trip) -> Done:
        session = await start_session(trip.wanted, task_queue=trip.masking_queue)
        try:
            opened = await session.opened()
        except ActivityError as error:
            refusal = error.cause.type if isinstance(error.cause, ApplicationError) else str(error)
            return Done(session_uuid=session.session_uuid, refusal=refusal or "")
        if not trip.waits_for_bill:
            return _done(session, opened.virtual_number)
        if trip.steers:
            await session.extend(3 * 3600)
            await session.modify(Change(call_time_limit=600))
            await session.expire("the trip is over")
        await asyncio.sleep(timedelta(minutes=trip.lasts_minutes).total_seconds())
        return _done(session, opened.virtual_number, await session.bill())


def _done(session: WorkflowSession, virtual_number: str, bill: Bill | None = None) -> Done:
    return Done(
        virtual_number=virtual_number,
        session_uuid=session.session_uuid,
        is_child=session.child is not None,
        bill=bill,
    )
