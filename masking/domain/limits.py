"""Between what a session's times have to be, whoever asks.

The gateway, the client and Nexus check what they are given. What comes to a workflow by Temporal itself is checked
here: a time that no calendar holds would make its workflow task fail for ever, and a payload that Temporal does not
take would end the workflow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import chain

from masking.domain.pool.pins import LONGEST, MOST_TRIES, SHORTEST
from masking.domain.terms import Change, PinTerms, Terms

EXPIRY_S, CALL_S, RINGING_S, COOLOFF_S = (1, 86_400), (1, 86_400), (1, 600), (0, 3600)
"""The least and the most seconds of a session's expiry, a call, ringing, and a number's rest."""

WAIT_S = (0, 86_400)
"""Of a pair's grace, and of the wait for recordings."""

PIN_WAIT_S = (0, 60)
"""Between two tries of a PIN."""

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


def fault_of_request(session_expiry: int, terms: Terms, pair_grace: int = 0, recording_wait: int = 0) -> str | None:
    """What is wrong with a session's terms, as `fault_of_change` tells it; what they leave open must be filled in."""
    waits = {"pair_grace": pair_grace, "recording_wait": recording_wait}
    pin = _faults_of_pin(terms.pin) if terms.pin is not None else iter(())
    return next(chain(_faults(session_expiry, dict(terms)), _beyond(dict.fromkeys(waits, WAIT_S), waits), pin), None)


def _faults(session_expiry: int | None, values: Mapping[str, object]) -> Iterator[str]:
    limits = {
        "session_expiry": EXPIRY_S,
        "call_time_limit": CALL_S,
        "ring_timeout": RINGING_S,
        "virtual_number_cooloff_period": COOLOFF_S,
    }
    yield from _beyond(limits, {**values, "session_expiry": session_expiry})
    for name, value in values.items():
        if isinstance(value, str) and name.endswith(("_url", "_play")) and len(value) > LONGEST_URL:
            yield f"{name} must have at most {LONGEST_URL} characters."


def _beyond(limits: Mapping[str, tuple[int, int]], seconds: Mapping[str, object]) -> Iterator[str]:
    for name, (least, most) in limits.items():
        value = seconds.get(name)
        if isinstance(value, int) and not least <= value <= most:
            yield f"{name} must be from {least} to {most} seconds."


def _faults_of_pin(pin: PinTerms) -> Iterator[str]:
    # A worker makes the PINs: one that it would never be done with holds up every session of the worker.
    if not SHORTEST <= pin.generate_length <= LONGEST:
        yield f"generate_pin_length must be from {SHORTEST} to {LONGEST}."
    if not 0 <= pin.retry < MOST_TRIES:
        yield f"pin_retry must be from 0 to {MOST_TRIES - 1}."
    yield from _beyond({"pin_retry_wait": PIN_WAIT_S}, {"pin_retry_wait": pin.retry_wait})
    for name, given in (("first_party_pin", pin.first_party), ("second_party_pin", pin.second_party)):
        if given and not (given.isascii() and given.isdecimal() and SHORTEST <= len(given) <= LONGEST):
            yield f"{name} must have {SHORTEST} to {LONGEST} digits."
    if pin.first_party and pin.first_party == pin.second_party:
        yield "second_party_pin must differ from first_party_pin."
    if max(len(pin.prompt_play), len(pin.incorrect_play)) > LONGEST_URL:
        yield f"pin_prompt_play and incorrect_pin_play must have at most {LONGEST_URL} characters."
