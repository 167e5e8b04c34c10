"""What happens in a run: sessions, the calls on them, and when what is killed. All of it follows from a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from masking.carriers.hangup_causes import BUSY_LINE, NORMAL_HANGUP, REJECTED, RING_TIMEOUT, HangupCause

Carrier = Literal["voice", "plivo"]
Party = Literal["first", "second", "guest"]
Outcome = Literal["answered", "busy", "declined", "unanswered"]
Ending = Literal["request", "time", "in mid call"]

CAUSES: Mapping[Outcome, HangupCause] = {
    "answered": NORMAL_HANGUP,
    "busy": BUSY_LINE,
    "declined": REJECTED,
    "unanswered": RING_TIMEOUT,
}
"""Why the callee's leg ends."""

PARTS = ("worker", "gateway", "temporal", "postgres")
PIN_PROMPT = "https://audio.example/pin.mp3"
SHORTEST_EXPIRY = 60
"""As few seconds as the API lets a session live on."""

Kind = tuple[str, tuple[Outcome, ...], Ending]
KINDS: tuple[Kind, ...] = (
    ("recorded", ("answered", "answered"), "request"),
    ("busy", ("busy", "answered"), "request"),
    ("unanswered", ("unanswered", "answered", "declined"), "time"),
    ("pin", ("answered", "answered"), "request"),
    ("in mid call", ("answered",), "in mid call"),
    ("declined", ("answered", "declined"), "time"),
)


AT_CARRIER: tuple[Kind, ...] = (
    *KINDS,
    ("made pins", ("answered",), "request"),
    ("joined", ("answered",), "request"),
)
"""Of sessions that a carrier masks."""

PARTS_AT_CARRIER = (*PARTS, "worker", "gateway")
"""What is killed then: above all those that speak with it."""

MOST_DEATHS, WITHIN_S = 4, 70.0
"""The supervisor gives up on what dies 5 times within a minute; a kill may wait a little for its moment."""


@dataclass(frozen=True)
class PlannedCall:
    """A call: when it begins, in seconds of the run, who calls, and what comes of it."""

    at: float
    caller: Party
    outcome: Outcome
    talks: float


@dataclass(frozen=True)
class Ride:
    """A session and everything that its parties and its customer do.

    Attributes:
        joins: whether the second party is named after the create.
        change: what its customer changes after its first call.
        late: whether a party calls once more when the session has ended.
    """

    name: str
    kind: str
    begins_at: float
    first: str
    second: str
    guest: str
    first_pin: str
    calls: tuple[PlannedCall, ...]
    joins: bool
    change: dict[str, Any]
    ending: Ending
    ends_at: float
    late: bool
    body: dict[str, Any]

    def number(self, party: Party) -> str:
        """A party's phone number, E.164."""
        return {"first": self.first, "second": self.second, "guest": self.guest}[party]

    def ends(self, call: PlannedCall) -> tuple[str, str]:
        """Who calls whom: phone numbers, E.164."""
        callee: Party = "first" if call.caller == "second" else "second"
        if call.caller == "guest":
            # Whoever enters the first party's PIN speaks for it.
            callee = "second"
        return self.number(call.caller), self.number(callee)


@dataclass(frozen=True)
class Kill:
    """What is killed, and when, in seconds of the run."""

    at: float
    part: str


@dataclass(frozen=True)
class Plan:
    """A whole run."""

    seed: int
    carrier: Carrier
    short: bool
    rides: tuple[Ride, ...]
    kills: tuple[Kill, ...]


def plan(seed: int, sessions: int, kills: int, gap: float, *, short: bool, carrier: Carrier = "voice") -> Plan:
    """The run that a seed stands for.

    Sessions that a carrier masks begin and end while there are kills: it is asked then.

    Args:
        gap: seconds between kills, on average.
        short: whether it is to be over soon: no session ends by its time, which is a minute at least, and workers
            hurry (`hurried_worker.py`).
    """
    seconds = 4.0 + kills * gap
    rides = tuple(
        _ride(random.Random(f"{seed}-{n}"), n, seconds, by_time=not short, at_carrier=carrier != "voice")
        for n in range(sessions)
    )
    parts = PARTS_AT_CARRIER if carrier != "voice" else PARTS
    return Plan(seed, carrier, short, rides, _kills(random.Random(f"{seed}-kills"), parts, kills, gap))


def _ride(chance: random.Random, n: int, seconds: float, *, by_time: bool, at_carrier: bool) -> Ride:
    kinds = AT_CARRIER if at_carrier else KINDS
    kind, outcomes, ending = kinds[n % len(kinds)]
    begins_at = chance.uniform(0, seconds / 2 if at_carrier else seconds / 4)
    times = sorted(chance.uniform(begins_at + 1, seconds) for _ in outcomes)
    callers: list[Party] = [chance.choice(["first", "second"]) for _ in outcomes]
    if kind == "pin":
        callers[0] = "guest"
    calls = tuple(
        PlannedCall(at, caller, outcome, talks=chance.uniform(10, 30))
        for at, caller, outcome in zip(times, callers, outcomes, strict=True)
    )
    first, second, guest = (f"+1202{part}{n:04}" for part in (556, 557, 558))
    # So long that no file holds them by chance.
    first_pin, second_pin = f"{8_401_937_000 + n}", f"{7_203_948_000 + n}"
    body: dict[str, Any] = {
        "first_party": first,
        "second_party": second,
        "record": kind == "recorded",
        "ring_timeout": 5,
        "call_time_limit": 1500 if ending == "in mid call" else 60,
        "session_expiry": 7200,
    }
    if kind == "pin":
        body |= {
            "is_pin_authentication_required": True,
            "pin_prompt_play": PIN_PROMPT,
            "first_party_pin": first_pin,
            "second_party_pin": second_pin,
        }
    elif kind == "made pins":
        pins = {"generate_pin": True, "generate_pin_length": len(first_pin)}
        body |= {"is_pin_authentication_required": True, "pin_prompt_play": PIN_PROMPT} | pins
    elif kind == "joined":
        del body["second_party"]
        body["create_session_with_single_party"] = True
    changes, ends_after, late = chance.random() < 0.4, chance.uniform(0, 3), chance.random() < 0.4
    return Ride(
        name=f"session {n} ({kind})",
        kind=kind,
        begins_at=begins_at,
        first=first,
        second=second,
        guest=guest,
        first_pin=first_pin,
        calls=calls,
        joins=kind == "joined",
        change=({"session_expiry": 9000} | ({"ring_timeout": 30} if at_carrier else {})) if changes else {},
        ending="request" if ending == "time" and not by_time else ending,
        ends_at=times[-1] + ends_after if at_carrier else seconds + ends_after,
        late=late,
        body=body,
    )


def _kills(chance: random.Random, parts: Sequence[str], count: int, gap: float) -> tuple[Kill, ...]:
    """Each part as often as the others, in a new order each time: what dies too often is not started again."""
    order: list[str] = []
    while len(order) < count:
        order += chance.sample(parts, len(parts))
    at, kills = chance.uniform(2, 4), list[Kill]()
    for part in order[:count]:
        deaths = Counter(kill.part for kill in kills if kill.at > at - WITHIN_S)
        kills.append(Kill(at, part if deaths[part] < MOST_DEATHS else min(parts, key=lambda each: deaths[each])))
        at += chance.uniform(0.8, 1.2) * gap
    return tuple(kills)
