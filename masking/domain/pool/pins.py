"""How long a PIN has to be, so that guessing does not pay."""

from __future__ import annotations

from decimal import Decimal

SHORTEST, LONGEST = 4, 15
MOST_TRIES = 6
"""One, and the most retries a session may allow."""

ACCEPTED_CHANCE = Decimal("0.001")
"""Below this stays the chance that one call's random guesses reach anybody."""


def pin_length(wanted: int, others: int, tries: int) -> int:
    """The length for the two PINs of a session that are made for it.

    Args:
        wanted: the length asked for, which is never undercut.
        others: PINs of other sessions, live or cooling, on the same number. Where there are
            any, a caller may be asked by a session that allows the most tries.
        tries: how many this session allows in one call.
    """
    guesses = MOST_TRIES if others else tries
    length = max(wanted, SHORTEST)
    while length < LONGEST and guess_chance(length, others + 2, guesses) >= ACCEPTED_CHANCE:
        length += 1
    return length


def guess_chance(length: int, pins: int, tries: int) -> Decimal:
    """The chance that so many different random guesses hit one of so many PINs of this length."""
    return min(Decimal(1), Decimal(tries * pins) / Decimal(10) ** length)
