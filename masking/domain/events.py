"""What a carrier tells about a call, in our words. Each event stands alone.

An event names its call, both numbers and what was decided for the call, so that it means
the same whether it comes first or last. "Caller" is the leg that began the interaction,
"callee" the leg we dialled; which registered party each of them is, `Call.caller` tells.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from masking.domain.bill.money import CallRates, CarrierCharge
from masking.domain.model import Model, Moment


class Side(StrEnum):
    """A registered party of the session."""

    FIRST = "first"
    SECOND = "second"

    @property
    def other(self) -> Side:
        """The party at the other end."""
        return Side.SECOND if self is Side.FIRST else Side.FIRST


class LegName(StrEnum):
    """A leg of an interaction."""

    CALLER = "caller"
    CALLEE = "callee"


class Call(Model):
    """What is fixed about a call from the moment it was decided.

    Attributes:
        call_uuid: the carrier's id of the caller's leg; names the interaction.
        caller: which registered party called.
        from_number: the caller's real number, E.164; empty when it hides.
        to_number: the callee's real number, E.164; empty when there is none to be called.
        dialled: whether we dialled the callee.
        recorded: whether the conversation is to be recorded once both have answered.
        reason: why the call was treated as it was, in words.
        rates: its prices, fixed with the decision; None where the session's own rate holds.
    """

    call_uuid: str
    caller: Side
    from_number: str
    to_number: str
    dialled: bool
    recorded: bool = False
    reason: str = ""
    rates: CallRates | None = Field(default=None, exclude_if=lambda rates: rates is None)


NO_CALL = Call(call_uuid="", caller=Side.FIRST, from_number="", to_number="", dialled=False)
"""The call of an event that is about none."""


class CarrierEvent(Model):
    """Base of what is signalled to the session.

    Attributes:
        event_id: the event's identity; the same event delivered twice has the same.
        at: when it happened, UTC.
        call: the interaction it belongs to.

    Each model has a `kind`, which is the name of the signal that carries it.
    """

    event_id: str
    at: Moment
    call: Call


class Placed(CarrierEvent):
    """We had the carrier call the first party; its phone is about to ring."""

    kind: Literal["placed"] = "placed"


class Declined(CarrierEvent):
    """A call about this session was not connected, or not before a PIN is entered.

    Attributes:
        decision: what was done with it instead; `call.reason` tells why.
    """

    kind: Literal["declined"] = "declined"
    decision: str


class Answer(CarrierEvent):
    """A leg was answered. The caller's leg counts as answered when its call reaches us."""

    kind: Literal["answer"] = "answer"
    leg: LegName
    leg_uuid: str


class Ring(CarrierEvent):
    """The callee's phone began to ring."""

    kind: Literal["ring"] = "ring"
    leg_uuid: str = ""
    """Unknown to carriers that name the leg only once it is answered."""


OVERDUE = ":overdue"
"""How the identity of an event ends that nobody told us of."""


class Hangup(CarrierEvent):
    """A leg ended.

    Attributes:
        duration: whole seconds from the leg's answer to its end; 0 if it was never answered.
        cause: the carrier's words (plivo-wire.md §7.6).
        cause_code: its number, 4000 being a normal hangup.
        source: who ended it, in the carrier's words.
        ended_at: when it ended, UTC, where the carrier says so; `at` is then when we were told.
        carrier_charge: what the carrier says that the leg costs, where it does.
        never_dialled: of a callee's leg: that it never was, as its caller left before anybody was dialled.
    """

    kind: Literal["hangup"] = "hangup"
    leg: LegName
    leg_uuid: str
    duration: int
    cause: str
    cause_code: int
    source: str = ""
    ended_at: Moment | None = None
    carrier_charge: CarrierCharge | None = Field(default=None, exclude_if=lambda charge: charge is None)
    never_dialled: bool = Field(default=False, exclude_if=lambda never: not never)

    @property
    def guessed(self) -> bool:
        """Whether nobody told us of it: it was taken for granted once everybody had been silent for long enough."""
        return self.event_id.endswith(OVERDUE)

    @property
    def happened_at(self) -> datetime:
        """When it ended, as far as anybody told us, UTC."""
        return self.ended_at or self.at


class PinStatus(CarrierEvent):
    """A PIN was asked for, or was not needed. Where `call.dialled` is false, it connected nobody.

    Attributes:
        retry_counter: how many tries of the call were wrong, this one included.
    """

    kind: Literal["pin_status"] = "pin_status"
    status: Literal["success", "failed", "AuthorizedCaller"]
    retry_counter: int = 0


class RecordingInitiated(CarrierEvent):
    """Both parties are connected and the recording began."""

    kind: Literal["recording_initiated"] = "recording_initiated"
    recording_id: str = ""


class RecordingCompleted(CarrierEvent):
    """The recording's file is ready.

    Attributes:
        url: where the carrier serves the audio.
        duration: seconds of audio.
        file_format: `mp3` or `wav`.
    """

    kind: Literal["recording_completed"] = "recording_completed"
    recording_id: str
    url: str
    duration: int
    started_at: Moment
    ended_at: Moment
    file_format: Literal["mp3", "wav"]


class RecordingFailed(CarrierEvent):
    """The conversation was to be recorded, and no recording came of it."""

    kind: Literal["recording_failed"] = "recording_failed"
    reason: str


class SessionEnded(CarrierEvent):
    """The session ended at a carrier that does the masking itself. Its call is `NO_CALL`."""

    kind: Literal["session_ended"] = "session_ended"


AnyCarrierEvent = (
    Placed
    | Declined
    | Answer
    | Ring
    | Hangup
    | PinStatus
    | RecordingInitiated
    | RecordingCompleted
    | RecordingFailed
    | SessionEnded
)


class CarrierEvents(Model):
    """What a carrier told at once, in its order."""

    events: tuple[Annotated[AnyCarrierEvent, Field(discriminator="kind")], ...]
