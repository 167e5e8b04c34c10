"""The network's time, which may run faster than ours."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class SimulatedClock:
    """A clock that starts at the real time and then runs at `speed`.

    Args:
        speed: simulated seconds per real second.
    """

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._began = datetime.now(UTC)
        self._began_at = time.monotonic()

    def now(self) -> datetime:
        """The simulated time, UTC."""
        return self._began + timedelta(seconds=(time.monotonic() - self._began_at) * self.speed)

    async def sleep(self, seconds: float) -> None:
        """Wait so many simulated seconds."""
        await asyncio.sleep(seconds / self.speed)
