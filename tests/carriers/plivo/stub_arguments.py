"""What Plivo's Masking API takes, argument by argument (masking-session-api.txt, plivo-wire.md §5.2): for the stub.

What the description leaves open, ours never sends: an argument that is not known, null, of another type, or one that
does not apply.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

Arguments = dict[str, Any]

CHANGEABLE = {
    "session_expiry", "call_time_limit", "ring_timeout", "callback_url", "callback_method", "record",
    "recording_callback_url", "record_file_format", "recording_callback_method", "first_party_play_url",
    "second_party_play_url",
}  # fmt: skip
PARTIES = ("first_party", "second_party")
OF_PINS = {
    "generate_pin", "generate_pin_length", "first_party_pin", "second_party_pin", "pin_prompt_play", "pin_retry",
    "pin_retry_wait", "incorrect_pin_play", "force_pin_authentication",
}  # fmt: skip
FIXED = {
    *PARTIES, *OF_PINS, "geomatch", "subaccount", "initiate_call_to_first_party", "is_pin_authentication_required",
    "unknown_caller_play", "create_session_with_single_party", "virtual_number_cooloff_period",
}  # fmt: skip
BOOLEANS = {
    "geomatch", "initiate_call_to_first_party", "record", "is_pin_authentication_required", "generate_pin",
    "force_pin_authentication", "create_session_with_single_party",
}  # fmt: skip
RANGES = {
    "session_expiry": (60, 86_400),
    "call_time_limit": (60, 86_400),
    "ring_timeout": (5, 600),
    "generate_pin_length": (4, 15),
    "pin_retry": (0, 5),
    "pin_retry_wait": (5, 10),
    "virtual_number_cooloff_period": (0, 3600),
}
CHOICES = {
    "callback_method": ("GET", "POST"),
    "recording_callback_method": ("GET", "POST"),
    "record_file_format": ("mp3", "wav"),
}
AUDIO = {"pin_prompt_play", "incorrect_pin_play", "unknown_caller_play"}

_NUMBER = re.compile(r"\+?[1-9][0-9]{6,14}", re.ASCII)
_PIN = re.compile(r"[0-9]{4,15}", re.ASCII)


class Refused(Exception):
    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status, self.error = status, error


def check_create(given: Arguments) -> None:
    """Raise `Refused` for what is no create."""
    _check_each(given, CHANGEABLE | FIXED)
    parties = [party for party in PARTIES if party in given]
    if len(parties) < (1 if given.get("create_session_with_single_party") else 2):
        raise _missing(next(party for party in PARTIES if party not in given))
    if given.get("initiate_call_to_first_party") and "first_party" not in given:
        raise _missing("first_party")
    if given.get("is_pin_authentication_required"):
        _check_pins(given, parties)
    elif needless := sorted(OF_PINS & set(given)):
        raise _invalid(f"{needless[0]} needs is_pin_authentication_required.")


def check_update(given: Arguments, created: Arguments) -> None:
    """Raise `Refused` for what is no update of a session that was created so."""
    single = bool(created.get("create_session_with_single_party"))
    _check_each(given, CHANGEABLE | set(PARTIES) if single else CHANGEABLE)


def _check_pins(given: Arguments, parties: list[str]) -> None:
    if "pin_prompt_play" not in given:
        raise _missing("pin_prompt_play")
    pins = [f"{party}_pin" for party in PARTIES]
    if given.get("generate_pin"):
        if needless := [pin for pin in pins if pin in given]:
            raise _invalid(f"{needless[0]} does not apply when generate_pin is true.")
        return
    if "generate_pin_length" in given:
        raise _invalid("generate_pin_length applies when generate_pin is true.")
    for party in parties:
        if f"{party}_pin" not in given:
            raise _missing(f"{party}_pin")
    if len({given[pin] for pin in pins if pin in given}) < len([pin for pin in pins if pin in given]):
        raise _invalid("second_party_pin must differ from first_party_pin.")


def _check_each(given: Arguments, known: set[str]) -> None:
    for name, value in given.items():
        if name not in known or value is None:
            raise _invalid(f"{name} is not known.")
        if name in BOOLEANS and type(value) is not bool:
            raise _invalid(f"{name} allowed values are true or false.")
        if name in RANGES and not (type(value) is int and RANGES[name][0] <= value <= RANGES[name][1]):
            raise _invalid(f"{name} is outside the allowed range.")
        if name in CHOICES and value not in CHOICES[name]:
            raise _invalid(f"{name} allowed values are {' or '.join(CHOICES[name])}.")
        if name in PARTIES and not (isinstance(value, str) and _NUMBER.fullmatch(value)):
            raise _invalid(f"{name} is not a valid phone number.")
        if name.endswith("_pin") and name not in BOOLEANS and not (isinstance(value, str) and _PIN.fullmatch(value)):
            raise _invalid(f"{name} should have 4 to 15 digits.")
        if name in AUDIO or name.endswith("_url"):
            _check_url(name, value)


def _check_url(name: str, value: object) -> None:
    url = urlsplit(str(value))
    if url.scheme not in ("http", "https") or not url.hostname or len(str(value)) >= 1000:
        raise _invalid(f"{name} should be a valid URL.")
    if name in AUDIO and not url.path.endswith((".mp3", ".wav")):
        raise _invalid(f"{name} should be .mp3 or .wav.")


def _missing(name: str) -> Refused:
    return Refused(400, f"Mandatory parameter missing. {name} must be present.")


def _invalid(why: str) -> Refused:
    return Refused(400, f"Invalid parameter. {why}")
