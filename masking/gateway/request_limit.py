"""How many requests an account may make (plivo-wire.md §5.12): so many in any window of some seconds."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque

MAX_ACCOUNTS = 10_000


class RequestLimiter:
    """Counts the requests of each main account in a sliding window, within this process.

    Args:
        requests: how many are allowed in a window; 0 allows any number.
        window: seconds.
    """

    def __init__(self, requests: int, window: float) -> None:
        self._requests, self._window = requests, window
        self._recent: OrderedDict[str, deque[float]] = OrderedDict()

    def seconds_to_wait(self, account: str, now: float | None = None) -> int:
        """Count a request of `account`: 0 if it may go on, else whole seconds to wait before another try."""
        if not self._requests:
            return 0
        moment = time.monotonic() if now is None else now
        recent = self._recent.setdefault(account, deque())
        self._recent.move_to_end(account)
        if len(self._recent) > MAX_ACCOUNTS:
            self._recent.popitem(last=False)
        while recent and recent[0] <= moment - self._window:
            recent.popleft()
        if len(recent) >= self._requests:
            return max(1, math.ceil(recent[0] + self._window - moment))
        recent.append(moment)
        return 0
