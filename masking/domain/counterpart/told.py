"""A session at a carrier that does the masking itself: ours has it as its counterpart, and follows it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import Field

from masking.domain.bill.money import ZERO, CallRates
from masking.domain.events import Side
from masking.domain.model import Model

RULES = 3
"""The rules of today by which a session follows its counterpart. It keeps to those under which it was opened.

1: what was told after the caller had left could belong to its conversation, as long as nobody had told of the end of
   the other leg, also where there was none; and a first party that the carrier called counted as having answered.
2: what begins a call could belong to a conversation that had been further by then, as long as that lacked it.
"""


class Counterpart(Model):
    """What a session remembers of its counterpart.

    Attributes:
        session_uuid: the carrier's id of it.
        rules: by which it is followed, see `RULES`.
        reconciled: whether the carrier was asked for the whole of it after its end. What is told later tells
            nothing that is not in the bill.
    """

    session_uuid: str
    reconciled: bool = False
    rules: int = Field(default=1, exclude_if=lambda rules: rules == 1)


class ToldRecording(Model):
    """A recording as the carrier has it on record.

    Attributes:
        url: where it serves the audio; empty where it does not say.
        duration: seconds of audio.
    """

    recording_id: str
    url: str = ""
    duration: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    file_format: Literal["mp3", "wav"] = "mp3"


class ToldLeg(Model):
    """A leg as the carrier has it on record, where it was asked for it.

    Attributes:
        duration: seconds from its answer; 0 for a leg that was never answered.
        billed_duration: seconds.
    """

    duration: int = 0
    billed_duration: int = 0
    amount: Decimal = ZERO
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    cause: str = ""
    cause_code: int = 0
    source: str = ""


class ToldInteraction(Model):
    """A conversation as the carrier has it on record. Sums are over its legs.

    Attributes:
        ended_at: None while it goes on.
        first_leg_uuid, second_leg_uuid: the carrier's ids of the registered parties' legs; empty where there is none.
        caller: who began it; None where the carrier was not asked, or does not say.
        caller_number: the number from which (E.164); empty where the carrier was not asked, or does not say.
        legs: the legs one by one, where the carrier was asked for them.
        duration: seconds from the legs' answers.
        billed_duration: seconds.
        rates: its prices, by our rate card; None where the carrier's own amounts are passed on.
    """

    started_at: datetime
    ended_at: datetime | None = None
    first_leg_uuid: str = ""
    second_leg_uuid: str = ""
    caller: Side | None = None
    caller_number: str = Field(default="", exclude_if=lambda number: not number)
    legs: dict[Side, ToldLeg] = Field(default_factory=dict)
    call_count: int = 0
    duration: int = 0
    billed_duration: int = 0
    amount: Decimal = ZERO
    recording: ToldRecording | None = None
    rates: CallRates | None = Field(default=None, exclude_if=lambda rates: rates is None)

    def leg_uuid(self, side: Side) -> str:
        """The carrier's id of a party's leg."""
        return self.first_leg_uuid if side is Side.FIRST else self.second_leg_uuid


class ToldSession(Model):
    """A session as the carrier has it on record. Times in UTC, whole seconds."""

    session_uuid: str
    virtual_number: str
    expired: bool
    created_at: datetime
    modified_at: datetime
    expires_at: datetime
    first_party_pin: str = ""
    second_party_pin: str = ""
    interactions: tuple[ToldInteraction, ...] = ()

    @property
    def in_progress(self) -> bool:
        """Whether a conversation goes on."""
        return any(each.ended_at is None for each in self.interactions)

    @property
    def pins(self) -> dict[Side, str]:
        """The parties' PINs."""
        pins = {Side.FIRST: self.first_party_pin, Side.SECOND: self.second_party_pin}
        return {side: pin for side, pin in pins.items() if pin}
