"""Archiving closed sessions, batch after batch."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.archive import ArchiveActivities, ArchiveBatch, Archived
    from masking.contract import ARCHIVE_WORKFLOW_TYPE

BATCH_TIMEOUT, HEARTBEAT_TIMEOUT = timedelta(minutes=10), timedelta(minutes=1)
RETRIES = RetryPolicy(initial_interval=timedelta(seconds=5), maximum_attempts=5)

MOST_BATCHES = 100
"""In one run; the schedule begins another."""


@workflow.defn(name=ARCHIVE_WORKFLOW_TYPE)
class ArchiveSessions:
    """Archives what is due, until a batch is not full. A schedule starts it, never two at a time."""

    @workflow.run
    async def run(self, batch: ArchiveBatch) -> Archived:
        """Returns how many were archived."""
        total = Archived()
        for _ in range(MOST_BATCHES):
            done = await workflow.execute_activity_method(
                ArchiveActivities.archive_batch,
                batch,
                start_to_close_timeout=BATCH_TIMEOUT,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=RETRIES,
                summary="archive closed sessions",
            )
            total = Archived(archived=total.archived + done.archived, failed=total.failed + done.failed)
            if done.archived + done.failed < batch.most:
                break
        return total
