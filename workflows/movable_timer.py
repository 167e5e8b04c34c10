"""A durable timer whose deadline may move."""

from __future__ import annotations

import asyncio
from datetime import datetime

from temporalio import workflow


class MovableTimer:
    """Rings at a deadline that may be moved while it runs.

    A deadline that moves later costs nothing: the timer rings at the old one and is set
    again. Only one that moves earlier cancels it, since each timer costs history events.
    """

    def __init__(self) -> None:
        self._due: datetime | None = None
        self._sleeping: asyncio.Task[None] | None = None
        self.rang = False

    def set(self, deadline: datetime | None, summary: str) -> None:
        """Ring at `deadline` (UTC) or before; None stops the timer. `summary` names it in the Temporal UI."""
        self.rang = False
        if deadline is None:
            self.stop()
        elif self._due is None or deadline < self._due:
            self.stop()
            self._due = deadline
            self._sleeping = asyncio.create_task(self._ring_at(deadline, summary))

    def stop(self) -> None:
        """Do not ring."""
        if self._sleeping is not None:
            self._sleeping.cancel()
        self._due = self._sleeping = None

    async def _ring_at(self, deadline: datetime, summary: str) -> None:
        remaining = (deadline - workflow.now()).total_seconds()
        if remaining > 0:
            await workflow.sleep(remaining, summary=summary)
        self._due = self._sleeping = None
        self.rang = True
