"""Why a number can or cannot be had by a session, for the operator."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple


class Situation(NamedTuple):
    """A number as a wanted session finds it. Times are UTC; None where there is none.

    Attributes:
        state: `available`, `draining` or `blocked`.
        first_held_until, second_held_until: until when a live or cooling session of that party holds it.
        rests_until: until when a cool-off period keeps it from everybody.
        last_used: when the last hold of either party ended.
    """

    number: str
    country: str
    state: str
    first_held_until: datetime | None
    second_held_until: datetime | None
    rests_until: datetime | None
    last_used: datetime | None


def obstacle(found: Situation, country: str | None, beside: Collection[str] = ()) -> str | None:
    """The rule that keeps the number from the session, in words; None when it can be had.

    Args:
        country: ISO country it has to be of; None for any.
        beside: ISO countries that do as well once the numbers of `country` are exhausted.
    """
    if found.state != "available":
        return f"it is {found.state}"
    if country is not None and found.country not in (country, *beside):
        return f"it is of {found.country}, not of {country}"
    for party, until in (("first", found.first_held_until), ("second", found.second_held_until)):
        if until is not None:
            return f"the {party} party meets it in another session until {_written(until)}"
    if found.rests_until is not None:
        return f"it rests until {_written(found.rests_until)}"
    return None


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
