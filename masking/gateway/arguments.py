"""The arguments of the sessions API, checked where they come in.

Real SDKs are sloppy in known ways (plivo-wire.md §1.4), so reading is tolerant: `0`, `""` and
`null` mean "not given", digits and booleans may be strings, PINs may be numbers, unknown keys
are ignored.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from masking.domain.terms import Change, FileFormat, Method, PinTerms, Terms
from masking.e164 import valid_e164
from masking.gateway.errors import ApiError
from masking.settings import Settings
from masking.storage.accounts import AUTH_ID

URL_LENGTH = 1000
NOT_GIVEN_WHEN_ZERO = ("session_expiry", "call_time_limit", "ring_timeout", "virtual_number_cooloff_period")
PARTIES = ("first_party", "second_party")
ALIASES = {
    "create_session_with_single_Party": "create_session_with_single_party",
    "sub_account": "subaccount",
    "geo_match": "geomatch",
    "is_pin_authentication": "is_pin_authentication_required",
}
"""Spellings that real SDKs and old documents use (plivo-wire.md §1.4). Beside the right one they do not count."""


_WRITTEN = re.compile(r"\+? ?\(?[0-9][0-9 ().-]*")
_DECIMAL = re.compile(r"\+?[0-9]+\.0{1,2}")
"""What a spreadsheet makes of a number: its fraction is not part of it."""


def e164(value: Any) -> str:
    """A phone number in E.164: a string of digits and separators, with or without +, or a whole number.

    Raises `PydanticCustomError` for what is none.
    """
    text = str(value).strip() if isinstance(value, str | int) else ""
    written = len(text) <= 24 and _WRITTEN.fullmatch(text) and not _DECIMAL.fullmatch(text)
    number = valid_e164(text) if written else None
    if number is None:
        raise PydanticCustomError("rule", "is not a valid phone number.")
    return number


_HOST_NAME = re.compile(r"(?=.{1,254}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.ASCII | re.IGNORECASE)
"""What a DNS name or an IPv4 address can be; a template that nobody filled in, as `{host}`, is neither."""


def _has_host(authority: str) -> bool:
    """Whether a URL's authority names a host that can be asked for. Raises `ValueError` where brackets hold no IPv6."""
    host = authority.rpartition("@")[2]
    if host.startswith("["):
        address, _, port = host[1:].partition("]")
        return IPv6Address(address).scope_id is None and (port == "" or port.startswith(":"))
    return _HOST_NAME.fullmatch(host.partition(":")[0]) is not None


def _url(value: Any) -> str:
    text = str(value)
    if len(text) >= URL_LENGTH:
        raise PydanticCustomError("rule", "should be under 1000 characters.")
    try:
        split = urlsplit(text)
        valid = split.scheme in ("http", "https") and _has_host(split.netloc) and split.port != 0
        printable = text.isascii() and all(character.isprintable() for character in text)
    except ValueError:
        valid = printable = False
    if not (valid and printable) or any(character.isspace() for character in text):
        raise PydanticCustomError("rule", "should be a valid URL.")
    return text


def _audio_url(value: Any) -> str:
    text = _url(value)
    if not urlsplit(text).path.lower().endswith((".mp3", ".wav")):
        raise PydanticCustomError("rule", "should be the URL of an .mp3 or .wav file.")
    return text


def _pin(value: Any) -> str:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdecimal() and 4 <= len(text) <= 15):
        raise PydanticCustomError("rule", "should have 4 to 15 digits.")
    return text


def _subaccount(value: Any) -> str:
    if not (isinstance(value, str) and AUTH_ID.fullmatch(value) and value.startswith("SA")):
        raise PydanticCustomError("rule", "should be the auth ID of a subaccount.")
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


Number = Annotated[str, BeforeValidator(e164, json_schema_input_type=str)]
Url = Annotated[str, BeforeValidator(_url, json_schema_input_type=str)]
AudioUrl = Annotated[str, BeforeValidator(_audio_url, json_schema_input_type=str)]
Pin = Annotated[str, BeforeValidator(_pin, json_schema_input_type=str), Field(examples=["4711"])]
Subaccount = Annotated[str, BeforeValidator(_subaccount, json_schema_input_type=str)]
Format = Annotated[FileFormat, BeforeValidator(_lower)]
Verb = Annotated[Method, BeforeValidator(_upper)]
Seconds = Annotated[int, Field(ge=60, le=86400)]
Ringing = Annotated[int, Field(ge=5, le=600)]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    session_expiry: Seconds | None = Field(default=None, description="Seconds until the session expires.")
    call_time_limit: Seconds | None = Field(default=None, description="Seconds a call may last.")
    ring_timeout: Ringing | None = Field(default=None, description="Seconds a phone may ring.")
    record: bool | None = Field(default=None, description="Record each conversation once both parties have answered.")
    record_file_format: Format | None = Field(default=None, description="mp3 unless given.")
    recording_callback_url: Url | None = Field(default=None, description="Where recording events go.")
    recording_callback_method: Verb | None = Field(default=None, description="POST unless given.")
    callback_url: Url | None = Field(default=None, description="Where session events go.")
    callback_method: Verb | None = Field(default=None, description="POST unless given.")
    first_party_play_url: Url | None = Field(default=None, description="Audio for the first party before connecting.")
    second_party_play_url: Url | None = Field(default=None, description="Audio for the second party before connecting.")

    @model_validator(mode="before")
    @classmethod
    def _read_tolerantly(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {str(key): value for key, value in data.items() if not _is_not_given(str(key), value)}
        aliased = {ALIASES[key]: value for key, value in given.items() if key in ALIASES}
        return {**aliased, **given}


def _is_not_given(key: str, value: object) -> bool:
    return value is None or value == "" or (key in NOT_GIVEN_WHEN_ZERO and str(value) == "0")


class CreateArguments(_Arguments):
    """The body of a create (masking-session-api.txt, "Create a Session")."""

    first_party: Number | None = Field(
        default=None, description="The first party's real number, E.164 with or without +. Required."
    )
    second_party: Number | None = Field(
        default=None, description="The second party's real number. Required unless create_session_with_single_party."
    )
    geomatch: bool = Field(
        default=True,
        description="The virtual number must be of the first party's country, or else of one with its country code.",
    )
    subaccount: Subaccount | None = Field(default=None, description="Use this subaccount's numbers.")
    initiate_call_to_first_party: bool = Field(default=False, description="Call the first party at once, and bridge.")
    is_pin_authentication_required: bool = Field(default=False, description="Ask unregistered callers for a PIN.")
    generate_pin: bool = Field(default=False, description="Have the PINs made, where they are not given.")
    generate_pin_length: int = Field(default=4, ge=4, le=15, description="Digits of PINs that are made.")
    first_party_pin: Pin | None = Field(default=None, description="4 to 15 digits, other than second_party_pin.")
    second_party_pin: Pin | None = Field(default=None, description="4 to 15 digits, other than first_party_pin.")
    pin_prompt_play: AudioUrl | None = Field(
        default=None, description="Audio that asks for the PIN. Required with is_pin_authentication_required."
    )
    pin_retry: int = Field(default=1, ge=0, le=5, description="Further tries after a wrong PIN.")
    pin_retry_wait: int = Field(default=5, ge=5, le=10, description="Seconds between tries.")
    incorrect_pin_play: AudioUrl | None = Field(default=None, description="Audio after a wrong PIN.")
    unknown_caller_play: AudioUrl | None = Field(default=None, description="Audio for callers nobody knows.")
    force_pin_authentication: bool = Field(default=False, description="Ask registered callers for the PIN too.")
    create_session_with_single_party: bool = Field(default=False, description="The other party may be named later.")
    virtual_number_cooloff_period: int = Field(
        default=0, ge=0, le=3600, description="Seconds for which nobody gets the number after the session."
    )

    @property
    def makes_pins(self) -> bool:
        """Whether the PINs are ours to make: not where both are given all the same, as some SDKs' users do."""
        return self.generate_pin and None in (self.first_party_pin, self.second_party_pin)

    def terms(self, settings: Settings) -> Terms:
        """The session's terms, defaults filled in."""
        given = self.model_dump(exclude_none=True, include=set(Terms.model_fields))
        defaults = {"call_time_limit": settings.call_time_limit, "ring_timeout": settings.ring_timeout}
        parties = {"first_party": self.first_party or "", "second_party": self.second_party or ""}
        single_party = self.create_session_with_single_party
        return Terms(**{**defaults, **given, **parties, "single_party": single_party, "pin": self._pin_terms()})

    def _pin_terms(self) -> PinTerms | None:
        if not self.is_pin_authentication_required:
            return None
        return PinTerms(
            first_party=self.first_party_pin or "",
            second_party=self.second_party_pin or "",
            generate=self.makes_pins,
            generate_length=self.generate_pin_length,
            prompt_play=self.pin_prompt_play or "",
            incorrect_play=self.incorrect_pin_play or "",
            retry=self.pin_retry,
            retry_wait=self.pin_retry_wait,
            force=self.force_pin_authentication,
        )


class UpdateArguments(_Arguments):
    """The body of an update (masking-session-api.txt, "Update a Session").

    `session_expiry` counts from the moment of the update. What cannot be updated is ignored,
    since SDKs send it along; so are the parties of a session that was created with both.
    """

    first_party: Number | None = Field(default=None, description="Only where the session has a single party.")
    second_party: Number | None = Field(default=None, description="Only where the session has a single party.")

    def change(self) -> Change:
        """The change that is asked for."""
        return Change(**self.model_dump(exclude_none=True))


def read_create(body: object) -> CreateArguments:
    """Check the body of a create. Raises `ApiError` 400 with Plivo's sentence."""
    try:
        arguments = CreateArguments.model_validate(body)
    except ValidationError as error:
        raise refusal(error) from None
    _check_parties(arguments)
    _check_pins(arguments)
    return arguments


def read_update(body: object, *, single_party: bool) -> UpdateArguments:
    """Check the body of an update. Raises `ApiError` 400 with Plivo's sentence.

    Args:
        single_party: whether the session was created with a single party; only then its parties are read.
    """
    if not single_party and isinstance(body, dict):
        body = {key: value for key, value in body.items() if key not in PARTIES}
    try:
        return UpdateArguments.model_validate(body)
    except ValidationError as error:
        raise refusal(error) from None


def _check_parties(given: CreateArguments) -> None:
    if given.first_party is None and (given.second_party is None or not given.create_session_with_single_party):
        raise _missing("first_party")
    if given.second_party is None and not given.create_session_with_single_party:
        raise _missing("second_party")
    if given.first_party == given.second_party:
        raise _invalid("second_party must differ from first_party.")
    if given.initiate_call_to_first_party and None in (given.first_party, given.second_party):
        raise _invalid("initiate_call_to_first_party needs both parties.")


def _check_pins(given: CreateArguments) -> None:
    if not given.is_pin_authentication_required:
        if given.generate_pin:
            raise _invalid("generate_pin needs is_pin_authentication_required to be true.")
        return
    if given.pin_prompt_play is None:
        raise _missing("pin_prompt_play")
    pins = {"first_party_pin": given.first_party_pin, "second_party_pin": given.second_party_pin}
    if given.makes_pins:
        for name, pin in pins.items():
            if pin is not None:
                raise _invalid(f"{name} cannot be given when generate_pin is true.")
        return
    # A registered party that is alone may do without a PIN; whoever joins it may not.
    needless = {"first_party_pin"} if given.second_party is None else set()
    needless |= {"second_party_pin"} if given.first_party is None else set()
    for name, pin in pins.items():
        if pin is None and name not in needless:
            raise _missing(name)
    if given.first_party_pin == given.second_party_pin:
        raise _invalid("second_party_pin must differ from first_party_pin.")


def _missing(name: str) -> ApiError:
    return ApiError(400, f"Mandatory parameter missing. {name} must be present.")


def _invalid(rule: str) -> ApiError:
    return ApiError(400, f"Invalid parameter. {rule}")


def refusal(error: ValidationError) -> ApiError:
    """The first fault of arguments, in Plivo's words where they are known (plivo-wire.md §4.2)."""
    fault = error.errors(include_input=False, include_url=False)[0]
    if not fault["loc"]:
        return ApiError(400, "The request body must be a JSON object.")
    name, kind = str(fault["loc"][0]), fault["type"]
    if kind == "rule":
        rule = fault["msg"]
    elif kind in ("greater_than_equal", "less_than_equal"):
        rule = "is outside the allowed range."
    elif kind.startswith("bool"):
        rule = "allowed values are true or false."
    elif kind.startswith("int"):
        rule = "should be a whole number."
    elif kind == "literal_error":
        rule = f"allowed values are {fault.get('ctx', {})['expected'].replace(chr(39), '')}."
    else:
        rule = "is not valid."
    return _invalid(f"{name} {rule}")
