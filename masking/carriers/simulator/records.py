"""What the network knows of its calls: legs, and a transcript for people."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel

from masking.carriers.hangup_causes import UNKNOWN, HangupCause

COST_PER_MINUTE = Decimal("0.005")
"""What this network charges the application's owner for a started minute of a leg."""


class TranscriptLine(BaseModel):
    """Something that happened on a call, in simulated time (UTC).

    Attributes:
        leg: `caller` or `callee`.
        what: a verb such as `dialled`, `rang`, `answered`, `heard`, `pressed`, `connected`, `hung up`, `recorded`.
    """

    at: datetime
    leg: str
    what: str
    detail: str = ""


class Leg(BaseModel):
    """One phone's part in a call. `screen` is the number its display showed, E.164; None when there was none."""

    leg_uuid: str
    number: str
    screen: str | None
    began_at: datetime
    answered_at: datetime | None = None
    connected: bool = False
    ended_at: datetime | None = None
    cause: HangupCause = UNKNOWN
    source: str = ""

    def end(self, at: datetime, cause: HangupCause, source: str) -> None:
        """The leg ended; the first end stands."""
        if self.ended_at is None:
            self.ended_at, self.cause, self.source = at, cause, source

    @property
    def duration(self) -> int:
        """Whole seconds from answer to end, a started one counted; 0 if never answered."""
        if self.answered_at is None or self.ended_at is None:
            return 0
        return -int(-(self.ended_at - self.answered_at).total_seconds() // 1)

    @property
    def bill_duration(self) -> int:
        """The duration in whole minutes, in seconds."""
        return -(-self.duration // 60) * 60

    @property
    def cost(self) -> Decimal:
        """What the network charges for this leg."""
        return COST_PER_MINUTE * self.bill_duration / 60


class Recording(BaseModel):
    """A recorded conversation.

    Attributes:
        url: where its audio is served.
        seconds: of audio.
        added_at: when the file was there, UTC.
    """

    recording_id: str
    file_format: str
    url: str
    seconds: int
    started_at: datetime
    ended_at: datetime
    added_at: datetime

    @property
    def file(self) -> str:
        """The audio file's name."""
        return f"{self.recording_id}.{self.file_format}"


class CallRecord(BaseModel):
    """A call as the network saw it.

    Attributes:
        direction, from_number, to_number: as the application is told: digits, or `anonymous`.
        caller: the leg that began it: the phone that dialled, or the one that an application had called.
        callees: the legs that the application's instructions dialled, one after the other.
        recordings: one for each recorded conversation.
        reported: whether the application has been told of everything.
    """

    call_uuid: str
    direction: Literal["inbound", "outbound"]
    from_number: str
    to_number: str
    caller: Leg
    callees: list[Leg] = []
    recordings: list[Recording] = []
    transcript: list[TranscriptLine] = []
    reported: bool = False

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Its legs in the order in which they began."""
        return (self.caller, *self.callees)

    @property
    def callee(self) -> Leg | None:
        """The leg dialled last; None if none was."""
        return self.callees[-1] if self.callees else None

    @property
    def recording(self) -> str | None:
        """The newest recording's file."""
        return self.recordings[-1].file if self.recordings else None

    @property
    def ended(self) -> bool:
        """Whether the caller's leg has ended."""
        return self.caller.ended_at is not None
