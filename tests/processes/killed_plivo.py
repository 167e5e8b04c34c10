"""Plivo in a run: it masks the sessions, does not die with us, and knows what truly happened."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

from masking.carriers.hangup_causes import NORMAL_HANGUP
from masking.carriers.simulator.records import CallRecord, Leg, Recording
from masking.domain.events import Side
from tests.carriers.plivo.live import LivePlivo
from tests.carriers.plivo.stub import Made
from tests.carriers.plivo.truth import Talk
from tests.integration.conftest import free_port
from tests.integration.stubbed_plivo import AUTH_ID, TOKEN
from tests.processes.killed_plan import CAUSES, Plan, PlannedCall
from tests.processes.killed_world import Lived

RINGS_S = 1
FASTER = 10
"""Planned talks are of simulated seconds; Plivo's are of ours."""

LONGEST_TALK_S = 20.0
"""People hang up by then, whether the end of their session was answered or not."""

MOMENT_WITHIN_S = 3.0
ENDED_WITHIN_S = 120.0
"""What was made in vain is expired before."""

NOT_ON_RECORD = {"SessionSecondPartyRing", "SessionPinAuthenticationStatus", "SessionRecordingInitiated"}
"""What no record of Plivo's tells."""

TERMS = ("first_party", "second_party", "ring_timeout", "call_time_limit", "record", "record_file_format")
TIMES = ("created_time", "expiry_time", "virtual_number")


@asynccontextmanager
async def masking_plivo(wanted: Plan) -> AsyncIterator[tuple[Masking | None, dict[str, str]]]:
    """Plivo, and the settings of a system whose sessions it masks; nobody where a plan has another carrier."""
    if wanted.carrier != "plivo":
        yield None, {}
        return
    plivo, port = LivePlivo(wanted.seed, AUTH_ID, TOKEN), free_port()
    async with plivo.serving(port):
        yield (
            Masking(plivo),
            {
                "MASKING_CARRIER": "plivo",
                "MASKING_PLIVO_API_URL": f"http://127.0.0.1:{port}",
                "MASKING_PLIVO_AUTH_ID": AUTH_ID,
                "MASKING_PLIVO_AUTH_TOKEN": TOKEN,
            },
        )


class Masking:
    """Plivo's calls, see `Network`."""

    def __init__(self, plivo: LivePlivo) -> None:
        self.plivo = plivo

    async def call(self, lived: Lived, call: PlannedCall, expire: Callable[[], Awaitable[None]]) -> None:
        """Make it; nothing of ours can keep it from going as planned."""
        made = self._counterpart(lived)
        in_mid_call = lived.ride.ending == "in mid call"
        hung_up = asyncio.Event() if in_mid_call else None
        calling = asyncio.create_task(self.plivo.call(made, _talk(lived, call), hung_up))
        if hung_up is not None:
            while not self._talks(made):  # noqa: ASYNC110 it is looked at as anybody could
                await asyncio.sleep(0.1)
            expiring = asyncio.ensure_future(expire())
            await asyncio.wait({expiring}, timeout=LONGEST_TALK_S)
            hung_up.set()
            await expiring
        lived.attempts.append(_record(made, await calling))
        lived.made.append(lived.attempts[-1])

    def _talks(self, made: Made) -> bool:
        return bool(made.truth.talks) and self.plivo.age(made) > made.truth.talks[-1].begins + RINGS_S

    async def call_late(self, lived: Lived) -> CallRecord:
        """Call once the session has ended, which Plivo forwards if it has not heard of that."""
        made, late = self._counterpart(lived), PlannedCall(0, "second", "answered", 10)
        if not made.ended:
            return _record(made, await self.plivo.call(made, _talk(lived, late)))
        at = self.plivo.now()
        nobody = Leg(leg_uuid="", number=lived.ride.second, screen=None, began_at=at, ended_at=at)
        return CallRecord(call_uuid="", direction="inbound", from_number="", to_number="", caller=nobody)

    async def before_kill(self, part: str) -> None:
        """A worker dies while it waits for an answer to what Plivo has done, a gateway while there is a call."""
        moments = {"worker": self.plivo.holds, "gateway": self.plivo.carries}
        if part in moments:
            with suppress(TimeoutError):
                await asyncio.wait_for(moments[part].wait(), MOMENT_WITHIN_S)

    async def finished(self) -> None:
        """Wait until Plivo has told all it has to tell, and nothing is open there any more, if that is to be."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDED_WITHIN_S):
                while self._open():  # noqa: ASYNC110 it is looked at as anybody could
                    await asyncio.sleep(0.2)
        await self.plivo.finished()

    def lost(self, lived: Lived) -> list[dict[str, str]]:
        """The callbacks that nobody can know of: Plivo told them in vain, and its record says nothing of them."""
        told = (fields for made, fields, fate in self.plivo.told if fate != "taken" and _ours(made) == lived.uuid)
        return [fields for fields in told if fields["EventName"] in NOT_ON_RECORD]

    def seen(self, lived: Lived, shown: dict[str, Any]) -> None:
        """Note where an open session of ours is not as Plivo has it at this moment."""
        made = self._counterpart(lived)
        there = made.arguments | self.plivo.shown(made)
        for name in (*TERMS, *TIMES, *(f"{side}_party_pin" for side in Side)):
            if shown[name] != there.get(name):
                lived.faults.append(f"its {name} is {shown[name]}, and {there.get(name)} at Plivo")

    def faults(self, sessions: list[Lived]) -> Iterator[str]:
        """Where Plivo has something else than our sessions."""
        made_for = Counter(_ours(made) for made in self.plivo.sessions.values())
        if still := len(self._open()):
            yield f"{still} sessions are open at Plivo after ours have ended"
        for lived in sessions:
            yield from (f"{lived.ride.name}: {fault}" for fault in self._faults_of(lived, made_for[lived.uuid]))

    def _faults_of(self, lived: Lived, made_for_it: int) -> Iterator[str]:
        made = self._counterpart(lived)
        if made_for_it != 1:
            yield f"Plivo made {made_for_it} sessions for it"
        expiry = self.plivo.shown(made)["expiry_time"]
        if lived.final["expiry_time"] != expiry:
            yield f"it ended at {lived.final['expiry_time']}, and at {expiry} at Plivo"
        amount = sum((talk.amount for talk in made.truth.talks), Decimal(0))
        if lived.bill is not None and lived.bill.calls.amount != amount:
            yield f"its bill is {lived.bill.calls.amount}, Plivo's {amount}"

    @property
    def summary(self) -> dict[str, int]:
        """How much of what happened at Plivo is of the kind that a run is about."""
        fates = Counter(fate for *_, fate in self.plivo.told)
        lost = {f"{what} whose answer was lost": count for what, count in sorted(self.plivo.unheard.items())}
        return {
            "sessions at Plivo": len(self.plivo.sessions),
            **lost,
            "its callbacks": len(self.plivo.told),
            "lost": fates["lost"],
            "perhaps lost": fates["unknown"],
        }

    def _open(self) -> list[Made]:
        return [made for made in self.plivo.sessions.values() if not made.ended]

    def _counterpart(self, lived: Lived) -> Made:
        """The one whose number our customer has."""
        made_for_it = (made for made in self.plivo.sessions.values() if _ours(made) == lived.uuid)
        (found,) = (made for made in made_for_it if f"+{made.number}" == lived.number)
        return found


def _ours(made: Made) -> str:
    """The id of the session of ours for which one was made."""
    return str(made.arguments["callback_url"]).rsplit("/", 2)[1]


def _talk(lived: Lived, call: PlannedCall) -> Talk:
    ride = lived.ride
    asks = ride.body.get("is_pin_authentication_required")
    pins = (("success",) if call.caller == "guest" else ("AuthorizedCaller",)) if asks else ()
    return Talk(
        begins=0,
        rings=RINGS_S,
        talks=max(1, round(call.talks / FASTER)) if call.outcome == "answered" else 0,
        caller=Side.SECOND if call.caller == "second" else Side.FIRST,
        recorded=ride.body["record"],
        number=ride.guest if call.caller == "guest" else "",
        pins=pins,
        cause=CAUSES[call.outcome],
    )


def _record(made: Made, number: int) -> CallRecord:
    """A call as a telephone network would tell of it."""
    talk, start, prefix = made.truth.talks[number - 1], made.truth.start, made.truth.prefix
    began, answered, ended = (
        start + timedelta(seconds=at) for at in (talk.begins, talk.begins + talk.rings, talk.ends)
    )
    from_number, to_number = talk.number or made.truth.parties[talk.caller], made.truth.parties[talk.caller.other]
    caller = Leg(
        leg_uuid=f"{prefix}leg-{number}-a", number=from_number, screen=None, began_at=began, answered_at=began,
        connected=bool(talk.talks), ended_at=ended, cause=NORMAL_HANGUP,
    )  # fmt: skip
    callee = Leg(
        leg_uuid=f"{prefix}leg-{number}-b", number=to_number, screen=None, began_at=began,
        answered_at=answered if talk.talks else None, connected=bool(talk.talks), ended_at=ended, cause=talk.cause,
    )  # fmt: skip
    recording = Recording(
        recording_id=f"{prefix}recording-{number}", file_format="mp3", url="", seconds=talk.talks,
        started_at=answered, ended_at=ended, added_at=ended,
    )  # fmt: skip
    return CallRecord(
        call_uuid=caller.leg_uuid,
        direction="inbound",
        from_number=from_number.removeprefix("+"),
        to_number=made.number,
        caller=caller,
        callees=[callee],
        recordings=[recording] if talk.recorded and talk.talks else [],
        reported=True,
    )
