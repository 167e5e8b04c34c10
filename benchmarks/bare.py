"""The least that Temporal can do in our place, to measure beside it: `python -m benchmarks.bare` is the worker.

Settings of the worker and payloads as ours; no database, no callbacks.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.worker import PollerBehaviorAutoscaling, Worker

with workflow.unsafe.imports_passed_through():
    from masking.contract import UPDATE_EXPIRE, UPDATE_OPENED
    from masking.domain.events import AnyCarrierEvent
    from masking.domain.model import Model
    from masking.domain.terms import Expire, SessionRequest
    from masking.lifeline import until_stopped
    from masking.privacy.key_files import load_keyring
    from masking.process import end
    from masking.settings import load_settings
    from masking.temporal import connect
    from masking.workflow_runner import workflow_runner
    from worker import GRACE, WORKFLOW_TASKS

from workflows.carrier_signals import CarrierSignals

TASK_QUEUE = "bare"


class Due(Model):
    """When a timer is to ring, UTC."""

    at: datetime


class Heard(Model):
    """How many signals a session got."""

    signals: int


@workflow.defn
class BareSession(CarrierSignals):
    """Started, signalled and ended as a session is, with one timer; it counts its signals and does nothing more."""

    @workflow.init
    def __init__(self, request: SessionRequest) -> None:
        self._heard = Heard(signals=0)
        self._ended = False

    @workflow.run
    async def run(self, request: SessionRequest) -> Heard:
        """Serve until the time is up, or an end is asked for."""
        try:
            await workflow.wait_condition(lambda: self._ended, timeout=request.session_expiry)
        except TimeoutError:
            self._ended = True
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._heard

    def _hear(self, event: AnyCarrierEvent) -> None:
        self._heard = Heard(signals=self._heard.signals + 1)

    @workflow.update(name=UPDATE_OPENED)
    def opened(self) -> Heard:
        """Answer at once."""
        return self._heard

    @workflow.update(name=UPDATE_EXPIRE)
    def expire(self, expire: Expire) -> Heard:
        """End now."""
        self._ended = True
        return self._heard


@workflow.defn
class BareTimer:
    """Waits for a moment."""

    @workflow.run
    async def run(self, due: Due) -> None:
        """Complete when it is due."""
        await workflow.sleep(max(due.at - workflow.now(), timedelta(0)))


async def serve() -> None:
    """Work until told to stop."""
    settings = load_settings()
    async with Worker(
        await connect(load_keyring(settings)),
        task_queue=TASK_QUEUE,
        workflows=[BareSession, BareTimer],
        workflow_runner=workflow_runner(),
        workflow_task_poller_behavior=PollerBehaviorAutoscaling(),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=settings.sticky_timeout),
        max_cached_workflows=settings.cached_sessions,
        max_concurrent_workflow_tasks=WORKFLOW_TASKS,
        graceful_shutdown_timeout=GRACE,
    ):
        await until_stopped()


if __name__ == "__main__":
    end(asyncio.run(serve()))
