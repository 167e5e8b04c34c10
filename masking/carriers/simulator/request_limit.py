"""How many requests an account may make: Plivo takes 300 in 5 s, and answers 429 to more (plivo-wire.md §5.12)."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable

REQUESTS = 300
WINDOW_S = 5.0


class RequestLimit:
    """Counts the requests of each account in the last seconds; those that are refused do not count.

    Args:
        clock: real seconds, whatever the network's own clock does.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._taken: defaultdict[str, deque[float]] = defaultdict(deque)

    def takes(self, auth_id: str) -> bool:
        """Whether another request of this account is taken."""
        taken, now = self._taken[auth_id], self._clock()
        while taken and taken[0] <= now - WINDOW_S:
            taken.popleft()
        if len(taken) >= REQUESTS:
            return False
        taken.append(now)
        return True
