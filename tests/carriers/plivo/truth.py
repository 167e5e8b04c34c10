"""What really happened in a session at Plivo, and everything that Plivo says about it: for tests."""

from __future__ import annotations

import hmac
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from masking.carriers.hangup_causes import NORMAL_HANGUP, HangupCause
from masking.domain.events import Side
from masking.domain.wire_format import plivo_number, plivo_time
from tests.domain.conversation import FIRST, SECOND, START, VIRTUAL

PLIVO_UUID = "c28b77d4-21e7-43bd-9447-04bfee92e651"
PARTIES = {Side.FIRST: FIRST, Side.SECOND: SECOND}
API = "https://api.plivo.com/v1/Account/MAPLIVOPLIVOPLIVO000"


def digest(told: str) -> bytes:
    """A keyed hash, as the gateway's."""
    return hmac.digest(b"a test's key", told.encode(), "sha256")


RECORDED_AFTER = 2
"""So many seconds after a call its recording is there."""


@dataclass
class Talk:
    """A call, in seconds from the session's beginning; one that lasts no time was never answered.

    Attributes:
        number: the caller's (E.164) where it is not the party's own; `hidden` where it shows none.
        pins: how its tries of a PIN came out; the last one connects.
        dialled: False for the call that a session begins with, and that the first party does not take.
        cause: why the leg that was dialled ended.
    """

    begins: int
    rings: int = 5
    talks: int = 75
    caller: Side = Side.SECOND
    rate: Decimal = Decimal("0.0085")
    recorded: bool = False
    number: str = ""
    pins: tuple[str, ...] = ()
    dialled: bool = True
    cause: HangupCause = NORMAL_HANGUP

    @property
    def ends(self) -> int:
        return self.begins + self.rings + self.talks

    @property
    def legs(self) -> tuple[tuple[int, int, Decimal], ...]:
        """Duration, billed seconds and amount of the caller's leg and of the callee's."""
        durations = (self.rings + self.talks, self.talks) if self.dialled else (0,)
        return tuple((d, -(-d // 60) * 60, self.rate * -(-d // 60)) for d in durations)

    @property
    def amount(self) -> Decimal:
        return sum((amount for *_, amount in self.legs), Decimal(0))


@dataclass
class Truth:
    """A session at Plivo, its calls one after the other.

    Attributes:
        number: the virtual one (E.164).
        prefix: what the ids of its legs and recordings begin with.
        api: where they are resources.
    """

    talks: list[Talk]
    start: datetime = START
    lives: int = 3600
    expired: bool = True
    number: str = VIRTUAL
    prefix: str = ""
    api: str = API
    parties: dict[Side, str] = field(default_factory=lambda: dict(PARTIES))

    def at(self, seconds: float) -> str:
        return plivo_time(self.start + timedelta(seconds=seconds))

    def callbacks(self) -> list[dict[str, str]]:
        """All that Plivo tells, in its order."""
        told = [each for number in range(1, len(self.talks) + 1) for each in self.told_of(number)]
        if self.expired:
            told.append(self.timeout())
        return [each | {"SequenceNumber": str(n)} for n, each in enumerate(told, 1)]

    def timeout(self) -> dict[str, str]:
        """That it has ended."""
        return self._event("SessionTimeout", self.lives, {})

    def told_of(self, number: int) -> list[dict[str, str]]:
        """What is told of a call, counted from 1."""
        talk, told = self.talks[number - 1], list[dict[str, str]]()
        caller = talk.number or self.parties[talk.caller]
        begins = {"From": plivo_number(caller)} if caller != "hidden" else {}
        if not talk.dialled:
            told.append(self._event("SessionFirstPartyHangup", talk.ends, begins | _charged(*talk.legs[0])))
            told.append(self._event("SessionPartiesHangup", talk.ends, begins | _charged(*talk.legs[0])))
            return told
        ends = begins | {"To": plivo_number(self.parties[talk.caller.other])}
        for tries, outcome in enumerate(talk.pins):
            failed = outcome == "failed"
            about = {"PinAuthenticationStatus": outcome, "PinRetryCounter": str(tries + failed)}
            who = begins if failed else ends
            told.append(self._event("SessionPinAuthenticationStatus", talk.begins, who | about))
        told.append(self._event("SessionFirstPartyAnswer", talk.begins, ends))
        told.append(self._event("SessionSecondPartyRing", talk.begins, ends))
        if talk.talks:
            told.append(self._event("SessionSecondPartyAnswer", talk.begins + talk.rings, ends))
        callers, callees = (_charged(*leg) for leg in talk.legs)
        told.append(self._event("SessionSecondPartyHangup", talk.ends, ends | callees | _cause(talk.cause)))
        told.append(self._event("SessionFirstPartyHangup", talk.ends, ends | callers))
        both = [sum(parts) for parts in zip(*talk.legs, strict=True)]
        charged = _charged(int(both[0]), int(both[1]), Decimal(both[2]))
        told.append(self._event("SessionPartiesHangup", talk.ends, ends | charged))
        if talk.recorded and talk.talks:
            told += self._told_of_recording(number, talk, ends)
        return told

    def _told_of_recording(self, number: int, talk: Talk, parties: dict[str, str]) -> list[dict[str, str]]:
        name = f"{self.prefix}recording-{number}"
        about = parties | {"RecordingUUID": name}
        audio = {
            "RecordingURL": f"https://media.plivo.com/{name}.mp3",
            "RecordingDuration": str(talk.talks),
            "RecordingStartTime": self.at(talk.begins + talk.rings),
            "RecordingEndTime": self.at(talk.ends),
            "RecordingFormat": ".mp3",
        }
        return [
            self._event("SessionRecordingInitiated", talk.begins + talk.rings, about),
            self._event("SessionRecordingCompleted", talk.ends + RECORDED_AFTER, about | audio),
        ]

    def _event(self, name: str, seconds: float, about: dict[str, str]) -> dict[str, str]:
        return {
            "EventName": name,
            "EventTimestamp": self.at(seconds),
            "SessionUUID": PLIVO_UUID,
            "VirtualNumber": plivo_number(self.number),
            **about,
        }

    def resource(self, until: float = math.inf) -> dict[str, Any]:
        """The session, as Plivo shows it once it is `until` seconds old."""
        begun = [(n, talk) for n, talk in enumerate(self.talks, 1) if talk.begins <= until]
        return {
            "session_uuid": PLIVO_UUID,
            "virtual_number": plivo_number(self.number),
            "status": "expired" if self.expired else "active",
            "created_time": self.at(0),
            "modified_time": self.at(0),
            "expiry_time": self.at(self.lives),
            "interaction": [self._interaction(n, talk, until) for n, talk in begun] or None,
        }

    def leg(self, number: int, end: str, until: float = math.inf) -> dict[str, Any]:
        """The record of a leg: `a` is the one that began the call, `b` the one that was dialled; see `resource`."""
        talk, dialled = self.talks[number - 1], end == "b"
        duration, billed, amount = talk.legs[1 if dialled else 0]
        answered = talk.talks > 0 if dialled else talk.dialled
        ours, person = plivo_number(self.number), self.parties[talk.caller.other if dialled else talk.caller]
        theirs = plivo_number(person if dialled else talk.number or person) if talk.number != "hidden" else "anonymous"
        inbound = not dialled and talk.dialled
        ended = {
            "end_time": self.moment(talk.ends),
            "call_duration": duration,
            "billed_duration": billed,
            "total_amount": f"{amount:.5f}",
            "hangup_cause_name": (talk.cause if dialled else NORMAL_HANGUP).name,
            "hangup_cause_code": (talk.cause if dialled else NORMAL_HANGUP).code,
            "hangup_source": "Callee",
        }
        return {
            "call_uuid": f"{self.prefix}leg-{number}-{end}",
            "from_number": theirs if inbound else ours,
            "to_number": ours if inbound else theirs,
            "parent_call_uuid": f"{self.prefix}leg-{number}-a" if dialled else None,
            "answer_time": self.moment(talk.begins + (talk.rings if dialled else 0)) if answered else None,
            **(ended if talk.ends <= until else dict.fromkeys(ended)),
        }

    def recording(self, number: int) -> dict[str, Any]:
        """The record of a conversation's recording."""
        talk, recording_id = self.talks[number - 1], f"{self.prefix}recording-{number}"
        begins, ends = (self.start + timedelta(seconds=at) for at in (talk.begins + talk.rings, talk.ends))
        return {
            "recording_id": recording_id,
            "call_uuid": f"{self.prefix}leg-{number}-a",
            "recording_url": f"https://media.plivo.com/{recording_id}.mp3",
            "recording_format": "mp3",
            "recording_duration_ms": f"{talk.talks * 1000}.00000",
            "recording_start_ms": f"{int(begins.timestamp() * 1000)}.00000",
            "recording_end_ms": f"{int(ends.timestamp() * 1000)}.00000",
        }

    def moment(self, seconds: float) -> str:
        """As records of calls write it."""
        return (self.start + timedelta(seconds=seconds)).isoformat(sep=" ", timespec="seconds")

    def _interaction(self, number: int, talk: Talk, until: float) -> dict[str, Any]:
        sides, is_over = {talk.caller: "a", talk.caller.other: "b"}, talk.ends <= until
        legs = talk.legs if is_over else ()
        shown = {
            "start_time": self.at(talk.begins),
            "end_time": self.at(talk.ends) if is_over else "",
            **{
                f"{side}_party_resource_url": f"{self.api}/Call/{self.prefix}leg-{number}-{sides[side]}"
                for side in (Side if talk.dialled else (talk.caller,))
            },
            "type": "call",
            "total_call_amount": talk.amount if is_over else Decimal(0),
            "call_billed_duration": sum(billed for _, billed, _ in legs),
            "total_call_count": len(legs),
            "duration": sum(duration for duration, _, _ in legs),
        }
        if talk.recorded and talk.talks and talk.ends + RECORDED_AFTER <= until:
            shown["recording_resource_url"] = f"{self.api}/Recording/{self.prefix}recording-{number}"
        return shown


def _charged(duration: int, billed: int, amount: Decimal) -> dict[str, str]:
    charge = {"Duration": str(duration), "BilledDuration": str(billed), "Amount": format(amount, "f")}
    return charge | _cause(NORMAL_HANGUP)


def _cause(cause: HangupCause) -> dict[str, str]:
    return {"PlivoHangupCause": cause.name, "PlivoHangupCauseCode": str(cause.code)}
