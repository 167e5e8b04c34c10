"""Which customers' endpoints may be tried now: a dead one must not take the others' turn."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

AT_ONCE = 8
"""So many requests may be under way to one endpoint."""

FAILURES = 3
"""After so many failures without a success between, an endpoint rests before it is tried again."""

FIRST_REST_S, LAST_REST_S = 2.0, 60.0
SHORT_WAIT_S = 0.5


@dataclass
class _Endpoint:
    under_way: int = 0
    failures: int = 0
    rests_until: float = float("-inf")


@dataclass
class Endpoints:
    """What a sender knows of the endpoints it has tried. Times are those of a monotonic clock, in seconds."""

    _known: dict[str, _Endpoint] = field(default_factory=lambda: defaultdict(_Endpoint))

    def admit(self, endpoint: str, now: float) -> float:
        """0 when a request may begin; it must be followed by `done`. Else how long to wait, in seconds."""
        known = self._known[endpoint]
        if now < known.rests_until:
            return known.rests_until - now
        # After a rest, one request finds out how the endpoint does.
        if known.under_way >= (1 if known.failures >= FAILURES else AT_ONCE):
            return SHORT_WAIT_S
        known.under_way += 1
        return 0.0

    def done(self, endpoint: str, now: float, *, taken: bool) -> None:
        """A request ended."""
        known = self._known[endpoint]
        known.under_way -= 1
        known.failures = 0 if taken else known.failures + 1
        if known.failures >= FAILURES:
            rest = min(FIRST_REST_S * 2 ** min(known.failures - FAILURES, 10), LAST_REST_S)
            known.rests_until = now + rest
        elif known.under_way == 0 and known.failures == 0:
            del self._known[endpoint]
