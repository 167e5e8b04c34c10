"""Which customers' endpoints may be tried now: a dead one must not take the others' turn.

A circuit breaker for each: one that keeps failing rests, and is then tried by one request.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

AT_ONCE = 8
"""So many requests may be under way to one endpoint."""

AT_ONCE_OF_ACCOUNT = 32
"""So many may be under way to all endpoints of a main account and its subaccounts, fewer than a sender has at once."""

FAILURES = 3
"""After so many failures without a success between, an endpoint rests before it is tried again."""

FIRST_REST_S, LAST_REST_S = 2.0, 60.0
SHORT_WAIT_S = 0.5

MOST_KNOWN = 10_000
FORGOTTEN_AFTER_S = 3600.0


class Endpoint(NamedTuple):
    """Where an account's callbacks go. Another account's at the same place do not share its fate.

    Attributes:
        owner_id: the account or subaccount.
        origin: scheme, host and port.
        account_id: the main account.
    """

    owner_id: str
    origin: str
    account_id: str


class Rest(NamedTuple):
    """An endpoint that failed so often in a row is not tried for so long."""

    failures: int
    seconds: float


@dataclass
class _Known:
    under_way: int = 0
    failures: int = 0
    rests_until: float = float("-inf")


@dataclass
class Endpoints:
    """What a sender knows of the endpoints it has tried. Times are those of a monotonic clock, in seconds."""

    _known: dict[Endpoint, _Known] = field(default_factory=dict)
    _of_account: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self._known)

    def admit(self, endpoint: Endpoint, now: float) -> float:
        """0 when a request may begin; it must be followed by `done`. Else how long to wait, in seconds."""
        known = self._known.get(endpoint) or _Known()
        if now < known.rests_until:
            return known.rests_until - now
        # After a rest, one request finds out how the endpoint does.
        if known.under_way >= (1 if known.failures >= FAILURES else AT_ONCE):
            return SHORT_WAIT_S
        if self._of_account[endpoint.account_id] >= AT_ONCE_OF_ACCOUNT:
            return SHORT_WAIT_S
        if endpoint not in self._known:
            self._make_room(now)
            self._known[endpoint] = known
        known.under_way += 1
        self._of_account[endpoint.account_id] += 1
        return 0.0

    def done(self, endpoint: Endpoint, now: float, *, taken: bool) -> Rest | None:
        """A request ended. The rest that follows from it, if any."""
        known = self._known[endpoint]
        known.under_way -= 1
        self._of_account[endpoint.account_id] -= 1
        if self._of_account[endpoint.account_id] == 0:
            del self._of_account[endpoint.account_id]
        known.failures = 0 if taken else known.failures + 1
        if known.failures >= FAILURES:
            rest = min(FIRST_REST_S * 2 ** min(known.failures - FAILURES, 10), LAST_REST_S)
            known.rests_until = now + rest
            return Rest(known.failures, rest)
        if known.under_way == 0 and known.failures == 0:
            del self._known[endpoint]
        return None

    def _make_room(self, now: float) -> None:
        """Of many, let go of those that failed and that nothing has gone to for long."""
        if len(self._known) < MOST_KNOWN:
            return
        for endpoint, known in list(self._known.items()):
            if known.under_way == 0 and known.rests_until < now - FORGOTTEN_AFTER_S:
                del self._known[endpoint]
