"""The arguments of create and update: read tolerantly, checked strictly.

What real SDKs send that is not in the reference is taken as plivo-wire.md §1.4 says:
`0`, `""` and `null` mean "not given", numbers and booleans may be strings, unknown keys
are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

import phonenumbers
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from masking.domain.terms import Change, FileFormat, Method, Terms
from masking.gateway.errors import ApiError
from masking.settings import Settings

URL_LENGTH = 1000
NOT_GIVEN_WHEN_ZERO = ("session_expiry", "call_time_limit", "ring_timeout", "virtual_number_cooloff_period")


def _e164(value: Any) -> str:
    text = str(value).strip()
    try:
        if len(text) > 20:
            raise ValueError
        number = phonenumbers.parse(f"+{text.removeprefix('+')}")
        if not text.removeprefix("+").isdecimal() or not phonenumbers.is_possible_number(number):
            raise ValueError
    except (phonenumbers.NumberParseException, ValueError):
        raise PydanticCustomError("rule", "is not a valid phone number.") from None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _url(value: Any) -> str:
    text = str(value)
    if len(text) >= URL_LENGTH:
        raise PydanticCustomError("rule", "should be under 1000 characters.")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable()
        usable = usable and " " not in text and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise PydanticCustomError("rule", "should be a valid URL.")
    return text


def _not_supported(value: Any) -> None:
    if str(value).lower() != "false":
        raise PydanticCustomError("rule", "is not supported by this version; leave it out.")


Number = Annotated[str, BeforeValidator(_e164)]
Url = Annotated[str, BeforeValidator(_url)]
NotSupported = Annotated[None, BeforeValidator(_not_supported)]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    session_expiry: int | None = Field(default=None, ge=60, le=86400)
    call_time_limit: int | None = Field(default=None, ge=60, le=86400)
    ring_timeout: int | None = Field(default=None, ge=5, le=600)
    record: bool | None = None
    record_file_format: FileFormat | None = None
    recording_callback_url: Url | None = None
    recording_callback_method: Method | None = None
    callback_url: Url | None = None
    callback_method: Method | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_what_is_not_given(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if v not in (None, "") and not _is_zero_for_not_given(k, v)}


def _is_zero_for_not_given(key: str, value: object) -> bool:
    return key in NOT_GIVEN_WHEN_ZERO and str(value) == "0"


class CreateArguments(_Arguments):
    """The body of a create (masking-session-api.txt, "Create a Session")."""

    first_party: Number
    second_party: Number
    geomatch: bool = True
    virtual_number_cooloff_period: int = Field(default=0, ge=0, le=3600)

    # Arguments of the API that this version does not carry out: refused rather than ignored.
    initiate_call_to_first_party: NotSupported = None
    is_pin_authentication_required: NotSupported = None
    create_session_with_single_party: NotSupported = None
    first_party_play_url: NotSupported = None
    second_party_play_url: NotSupported = None
    unknown_caller_play: NotSupported = None
    subaccount: NotSupported = None

    def terms(self, settings: Settings) -> Terms:
        """The session's terms, defaults filled in."""
        given = self.model_dump(exclude_none=True, include=set(Terms.model_fields))
        defaults = {"call_time_limit": settings.call_time_limit, "ring_timeout": settings.ring_timeout}
        return Terms(**{**defaults, **given})


class UpdateArguments(_Arguments):
    """The body of an update (masking-session-api.txt, "Update a Session")."""

    def change(self) -> Change:
        """The change that is asked for."""
        return Change(**self.model_dump(exclude_none=True))


def read_create(body: object) -> CreateArguments:
    """Check the body of a create. Raises `ApiError` 400 with Plivo's sentence."""
    try:
        arguments = CreateArguments.model_validate(body)
    except ValidationError as error:
        raise _refusal(error) from None
    if arguments.first_party == arguments.second_party:
        raise ApiError(400, "Invalid parameter. second_party must differ from first_party.")
    return arguments


def read_update(body: object) -> UpdateArguments:
    """Check the body of an update. Raises `ApiError` 400 with Plivo's sentence."""
    try:
        return UpdateArguments.model_validate(body)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> ApiError:
    """The first fault, in Plivo's words where they are known (plivo-wire.md §4.2)."""
    fault = error.errors(include_input=False, include_url=False)[0]
    if not fault["loc"]:
        return ApiError(400, "The request body must be a JSON object.")
    name, kind = str(fault["loc"][0]), fault["type"]
    context = fault.get("ctx", {})
    if kind == "missing":
        return ApiError(400, f"Mandatory parameter missing. {name} must be present.")
    if kind == "rule":
        rule = fault["msg"]
    elif kind in ("greater_than_equal", "less_than_equal"):
        rule = "is outside the allowed range."
    elif kind.startswith("bool"):
        rule = "allowed values are true or false."
    elif kind.startswith("int"):
        rule = "should be a whole number."
    elif kind == "literal_error":
        rule = f"allowed values are {context['expected'].replace(chr(39), '')}."
    else:
        rule = "is not valid."
    return ApiError(400, f"Invalid parameter. {name} {rule}")
