"""How often something may be done: at most so many times in any span of so many seconds.

Written down is one moment only, that at which nothing of the allowance is used any more. Whoever takes a turn moves
it on by the spacing, and waits until it is no further away than the burst allows. Moments and spans are whole
microseconds, as in PostgreSQL: `masking/storage/carrier_turns.py` does there what is said here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

MICROSECOND = timedelta(microseconds=1)
BURST_SHARE = 10
"""One in so many of the allowed times may come at once; the others come at the spacing."""


class Pace(NamedTuple):
    """At most `limit` turns in any span of `window`; both more than nothing."""

    limit: int
    window: timedelta

    @property
    def burst(self) -> int:
        """How many turns may be taken at once after a rest."""
        return max(1, self.limit // BURST_SHARE)

    @property
    def spacing(self) -> timedelta:
        """From one turn to the next, once the burst is used up: so long that both together stay within the limit."""
        return -(-(self.window // MICROSECOND) // (self.limit + 1 - self.burst)) * MICROSECOND

    @property
    def head_start(self) -> timedelta:
        """How long before it is all free again a turn may be taken."""
        return (self.burst - 1) * self.spacing


class Turn(NamedTuple):
    """A turn that was taken: how long to wait for it, and from when on nothing is used any more, in microseconds."""

    wait: int
    free_at: int


def take_turn(pace: Pace, free_at: int, now: int) -> Turn:
    """Take the next turn. Moments are microseconds of one clock."""
    spacing, head_start = pace.spacing // MICROSECOND, pace.head_start // MICROSECOND
    begins = max(free_at, now)
    return Turn(max(0, begins - head_start - now), begins + spacing)
