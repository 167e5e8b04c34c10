"""The telephones of a run, behind a carrier whose calls we mask ourselves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from masking.carriers.simulator.client import SimulatorClient, SimulatorError
from masking.carriers.simulator.phones import Behaviour
from masking.carriers.simulator.records import CallRecord
from tests.processes.killed_plan import CAUSES, PlannedCall, Ride
from tests.processes.killed_world import Lived

ON_RING = {"answered": "answer", "busy": "busy", "declined": "reject", "unanswered": "ignore"}


class Telephones:
    """The simulated network of a running system, see `Network`."""

    def __init__(self, phones: SimulatorClient) -> None:
        self._phones = phones

    async def call(self, lived: Lived, call: PlannedCall, expire: Callable[[], Awaitable[None]]) -> None:
        """Call until the network's record says that it went as planned."""
        ride = lived.ride
        caller, callee = ride.ends(call)
        hangs_up_after = None if ride.ending == "in mid call" or call.outcome != "answered" else call.talks
        presses = (f"{ride.first_pin}#",) if call.caller == "guest" else ()
        while True:
            await self._phones.behave(
                callee, Behaviour.model_validate({"on_ring": ON_RING[call.outcome], "answers_after": 1})
            )
            await self._phones.behave(caller, Behaviour(hangs_up_after=hangs_up_after, presses=presses))
            call_uuid = await self._phones.dial(caller, lived.number)
            if ride.ending == "in mid call" and await self._connected(call_uuid):
                await expire()
                with contextlib.suppress(SimulatorError):
                    await self._phones.hang_up(caller)
            record = await self._over(call_uuid)
            lived.attempts.append(record)
            if as_planned(ride, call, record):
                lived.made.append(record)
                return
            if ride.ending == "in mid call" and any(leg.connected for leg in record.callees):
                why = f"{record.caller.cause.name} ({record.caller.source})"
                raise AssertionError(f"{ride.name}: expiring it took longer than its call lasted, which ended by {why}")
            await asyncio.sleep(0.5)

    async def _connected(self, call_uuid: str) -> bool:
        while True:
            record = await self._phones.call(call_uuid)
            if record.ended or any(leg.connected for leg in record.callees):
                return not record.ended
            await asyncio.sleep(0.1)

    async def _over(self, call_uuid: str) -> CallRecord:
        """A call once its carrier has told all of it, or has given up."""
        while not (record := await self._phones.call(call_uuid)).reported:  # noqa: ASYNC110 it is across HTTP
            await asyncio.sleep(0.15)
        return record

    async def call_late(self, lived: Lived) -> CallRecord:
        """Call once the session has ended."""
        return await self._over(await self._phones.dial(lived.ride.second, lived.number))

    async def before_kill(self, part: str) -> None:
        """Any moment does."""

    async def finished(self) -> None:
        """A call is over once its carrier has told all of it."""

    def seen(self, lived: Lived, shown: dict[str, Any]) -> None:
        """It knows nothing of sessions."""

    def lost(self, lived: Lived) -> list[dict[str, str]]:
        """None: it tells until it is heard."""
        return []

    def faults(self, sessions: list[Lived]) -> Iterator[str]:
        """None: it is the session that has to agree with its records."""
        return iter(())


def as_planned(ride: Ride, call: PlannedCall, record: CallRecord) -> bool:
    """Whether the network could do what was planned: not where an answer of the gateway was lost."""
    legs, answered = record.legs, call.outcome == "answered"
    if [leg.cause.code for leg in legs] != [CAUSES["answered"].code, CAUSES[call.outcome].code]:
        return False
    return legs[1].connected is answered and (
        ride.ending == "in mid call" or not answered or all(leg.bill_duration == 60 for leg in legs)
    )
