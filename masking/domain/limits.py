"""Between what a session's times have to be, whoever asks.

The gateway, the client and Nexus check what they are given. What comes to a workflow by Temporal itself is checked
here: a time that no calendar holds would make its workflow task fail for ever, and a payload that Temporal does not
take would end the workflow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta

from masking.domain.terms import Change, Terms

EXPIRY_S, CALL_S, RINGING_S, COOLOFF_S = (1, 86_400), (1, 86_400), (1, 600), (0, 3600)
"""The least and the most seconds of a session's expiry, a call, ringing, and a number's rest."""

LONGEST_URL = 999

_E164 = re.compile(r"\+[1-9][0-9]{3,14}")
_FURTHEST_S = 1_000_000_000


def within_calendar(seconds: int) -> timedelta:
    """So many seconds; of more than a calendar may hold, as many as surely are too many for a session."""
    return timedelta(seconds=max(-_FURTHEST_S, min(seconds, _FURTHEST_S)))


def fault_of_change(change: Change) -> str | None:
    """What is wrong with a change, in words for whoever asked for it and without its values; None if nothing is."""
    for name, number in (("first_party", change.first_party), ("second_party", change.second_party)):
        # Without its plus sign, a carrier would take an American number for one of another country.
        if number is not None and not _E164.fullmatch(number):
            return f"{name} must be a phone number in E.164, such as +14155550100."
    return next(_faults(change.session_expiry, dict(change)), None)


def fault_of_request(session_expiry: int, terms: Terms) -> str | None:
    """What is wrong with a session's terms, as `fault_of_change` tells it; what they leave open must be filled in."""
    return next(_faults(session_expiry, dict(terms)), None)


def _faults(session_expiry: int | None, values: Mapping[str, object]) -> Iterator[str]:
    seconds = {
        "session_expiry": (session_expiry, EXPIRY_S),
        "call_time_limit": (values["call_time_limit"], CALL_S),
        "ring_timeout": (values["ring_timeout"], RINGING_S),
        "virtual_number_cooloff_period": (values.get("virtual_number_cooloff_period"), COOLOFF_S),
    }
    for name, (value, (least, most)) in seconds.items():
        if isinstance(value, int) and not least <= value <= most:
            yield f"{name} must be from {least} to {most} seconds."
    for name, value in values.items():
        if isinstance(value, str) and name.endswith(("_url", "_play")) and len(value) > LONGEST_URL:
            yield f"{name} must have at most {LONGEST_URL} characters."
