"""Durable timers whose deadlines may move."""

from __future__ import annotations

import asyncio
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from masking.domain.deadlines import Deadline


class MovableTimer:
    """Rings at a deadline that may be moved while it runs.

    Each timer costs history events, so how a deadline moves later is a choice.

    Args:
        lazy: let the timer ring at the earlier deadline and set it again then. Right for a deadline
            that moves often before it comes; else a new timer takes the place of the old one.
    """

    def __init__(self, *, lazy: bool) -> None:
        self._lazy = lazy
        self._due: datetime | None = None
        self._sleeping: asyncio.Task[None] | None = None
        self.rang = False

    def set(self, deadline: Deadline | None) -> None:
        """Ring at `deadline` or before; None stops the timer. Its reason names it in the Temporal UI."""
        self.rang = False
        if deadline is None:
            self.stop()
        elif self._due is None or deadline.at < self._due or (deadline.at > self._due and not self._lazy):
            self.stop()
            self._due = deadline.at
            self._sleeping = asyncio.create_task(self._ring_at(deadline))

    def stop(self) -> None:
        """Do not ring."""
        if self._sleeping is not None:
            self._sleeping.cancel()
        self._due = self._sleeping = None

    async def _ring_at(self, deadline: Deadline) -> None:
        remaining = (deadline.at - workflow.now()).total_seconds()
        if remaining > 0:
            await workflow.sleep(remaining, summary=deadline.why)
        self._due = self._sleeping = None
        self.rang = True


class SessionTimers:
    """The timers of a session: its own, that of what its calls wait for, and that of a history grown long."""

    def __init__(self) -> None:
        self.own = MovableTimer(lazy=True)
        self.calls = MovableTimer(lazy=False)
        self.long = MovableTimer(lazy=True)

    @property
    def rang(self) -> bool:
        """Whether one of them did since it was set."""
        return self.own.rang or self.calls.rang or self.long.rang

    def stop(self) -> None:
        """Ring no more."""
        for timer in (self.own, self.calls, self.long):
            timer.set(None)
