"""What a voice carrier has on record about legs and recordings (plivo-wire.md §7.1 and §7.4).

Fields have Plivo's names. Every reading is tolerant: a field that we do not know is ignored,
one that is missing or malformed has its default; only a record without its id is none.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Generic, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from masking.domain.bill.money import CarrierCharge
from masking.domain.model import Model

_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?")
_NUMBER: TypeAdapter[float] = TypeAdapter(FiniteFloat)


def _whole(value: object) -> int:
    return int(_NUMBER.validate_python(value))


def _utc(moment: datetime) -> datetime:
    """The moment in UTC, which it is taken to be in where it says no other."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


DetailsT = TypeVar("DetailsT", bound="Details")

Id = Annotated[str, Field(min_length=1)]
Whole = Annotated[int, BeforeValidator(_whole), Field(ge=0)]
Moment = Annotated[datetime, AfterValidator(_utc)]


class Details(Model):
    """Base of what is read tolerantly."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    @field_validator("*", mode="wrap")
    @classmethod
    def _or_its_default(cls, value: object, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
        try:
            return read(value)
        except ValidationError:
            field = cls.model_fields[f"{info.field_name}"]
            if field.is_required():
                raise
            return field.get_default()


class CallDetails(Details):
    """A leg: its call detail record. Durations are seconds, times UTC.

    Attributes:
        from_number: who called by it, as the carrier writes numbers.
        parent_call_uuid: of a leg that was dialled: the leg for which it was.
        answer_time: None for a leg that was never answered.
        end_time: None while it lasts.
        call_duration: from its answer to its end.
        billed_duration: what the carrier bills of it.
        total_amount: what it costs us, as the carrier writes it; empty where it does not.
    """

    call_uuid: Id
    from_number: str = ""
    parent_call_uuid: str = ""
    initiation_time: Moment | None = None
    answer_time: Moment | None = None
    end_time: Moment | None = None
    call_duration: Whole = 0
    billed_duration: Whole = 0
    total_amount: str = ""
    hangup_cause_name: str = ""
    hangup_cause_code: Whole = 0
    hangup_source: str = ""


class RecordingDetails(Details):
    """A recording.

    Attributes:
        recording_url: where its audio is served.
        recording_duration_ms: milliseconds of audio.
        recording_start_ms, recording_end_ms: the moments, UTC.
    """

    recording_id: Id
    call_uuid: str = ""
    recording_url: str = ""
    recording_format: str = ""
    recording_duration_ms: Whole = 0
    recording_start_ms: Moment | None = None
    recording_end_ms: Moment | None = None


class Page(Model, Generic[DetailsT]):
    """The first ones of a list."""

    objects: tuple[DetailsT, ...]


def carrier_charge(amount: str | None, billed_duration: str | None) -> CarrierCharge | None:
    """What a leg costs us, as the carrier says it; None where it says nothing that is an amount."""
    if amount is None or not _AMOUNT.fullmatch(amount):
        return None
    return CarrierCharge(amount=Decimal(amount), billed_duration=max(0, whole(billed_duration)))


def whole(text: str | None) -> int:
    """A number without its fractions; 0 for what is none."""
    try:
        return int(float(text or 0))
    except (ValueError, OverflowError):
        return 0
