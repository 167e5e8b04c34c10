"""The Temporal Schedule by which closed sessions are archived."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from activities.archive import ArchiveBatch
from masking.contract import ARCHIVE_SCHEDULE, ARCHIVE_WORKFLOW_TYPE

EVERY = timedelta(minutes=10)
BATCH = 100
LONGEST_RUN = timedelta(hours=6)
RPC_TIMEOUT = timedelta(seconds=10)


async def ensure_schedule(client: Client, task_queue: str) -> None:
    """Make the schedule, or bring one that an older release made up to date; a pause that an operator set stays.

    Raises:
        RPCError: Temporal did not take it.
    """
    try:
        await client.create_schedule(ARCHIVE_SCHEDULE, _schedule(task_queue), rpc_timeout=RPC_TIMEOUT)
    except ScheduleAlreadyRunningError:

        def renewed(known: ScheduleUpdateInput) -> ScheduleUpdate:
            schedule = _schedule(task_queue)
            schedule.state = known.description.schedule.state
            return ScheduleUpdate(schedule)

        await client.get_schedule_handle(ARCHIVE_SCHEDULE).update(renewed, rpc_timeout=RPC_TIMEOUT)


def _schedule(task_queue: str) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            ARCHIVE_WORKFLOW_TYPE,
            ArchiveBatch(most=BATCH),
            id=ARCHIVE_SCHEDULE,
            task_queue=task_queue,
            execution_timeout=LONGEST_RUN,
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=EVERY)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=EVERY),
    )
