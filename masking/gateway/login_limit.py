"""Slows down whoever guesses tokens, without keeping out those who know theirs."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict, deque
from typing import NamedTuple

FAILURES, WINDOW_S = 10, 60.0
"""After so many wrong tokens for an account from an address within so many seconds, the next have to wait."""

KNOWN_FOR_S = 3600.0
MOST = 10_000


class _Door(NamedTuple):
    """An account, as it is knocked at from an address."""

    address: str
    auth_id: str


class LoginLimiter:
    """Counts failed logins in this process. Times are those of a monotonic clock, in seconds.

    Behind a proxy many callers share an address: a token that was right from there within the last hour is let
    through whatever others guess. Others than that may have to wait; whoever asks may know better.
    """

    def __init__(self) -> None:
        self._failed: OrderedDict[_Door, deque[float]] = OrderedDict()
        self._known: OrderedDict[tuple[_Door, bytes], float] = OrderedDict()

    def seconds_to_wait(self, address: str, auth_id: str, token: str, now: float | None = None) -> int:
        """0 if this login may be tried, else whole seconds to wait."""
        moment, door = time.monotonic() if now is None else now, _Door(address, auth_id)
        failed = self._failed.get(door)
        if failed is None or self._known.get((door, _digest(token)), float("-inf")) > moment - KNOWN_FOR_S:
            return 0
        while failed and failed[0] <= moment - WINDOW_S:
            failed.popleft()
        if len(failed) < FAILURES:
            return 0
        return max(1, math.ceil(failed[0] + WINDOW_S - moment))

    def failed(self, address: str, auth_id: str, now: float | None = None) -> None:
        """A token was wrong."""
        door = _Door(address, auth_id)
        self._failed.setdefault(door, deque(maxlen=FAILURES)).append(time.monotonic() if now is None else now)
        self._failed.move_to_end(door)
        if len(self._failed) > MOST:
            self._failed.popitem(last=False)

    def succeeded(self, address: str, auth_id: str, token: str, now: float | None = None) -> None:
        """A token was right."""
        entry = (_Door(address, auth_id), _digest(token))
        self._known[entry] = time.monotonic() if now is None else now
        self._known.move_to_end(entry)
        if len(self._known) > MOST:
            self._known.popitem(last=False)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
