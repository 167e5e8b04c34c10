"""The customers and telephones of a run: what they do, and what they are told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiohttp import web

from masking.carriers.simulator.client import SimulatorClient, SimulatorError
from masking.carriers.simulator.phones import Behaviour
from masking.carriers.simulator.records import CallRecord
from masking.domain.bill.charges import Bill
from tests.processes.killed_plan import SHORTEST_EXPIRY, PlannedCall, Ride

CAUSES = {"answered": 4000, "busy": 3010, "declined": 3020, "unanswered": 6010}
"""Why the callee's leg ends."""

ON_RING = {"answered": "answer", "busy": "busy", "declined": "reject", "unanswered": "ignore"}


@dataclass
class Told:
    """A callback as the customer got it, and how often."""

    params: dict[str, str]
    times: int = 1
    changed: bool = False


@dataclass
class Lived:
    """What became of a session.

    Attributes:
        attempts: every call that was made, in order, with the planned one that it was an attempt at.
        made: for each planned call the attempt that went as planned.
    """

    ride: Ride
    uuid: str = ""
    number: str = ""
    attempts: list[CallRecord] = field(default_factory=list)
    made: list[CallRecord] = field(default_factory=list)
    late: list[CallRecord] = field(default_factory=list)
    final: dict[str, Any] = field(default_factory=dict)
    bill: Bill | None = None

    @property
    def disturbed(self) -> list[CallRecord]:
        """The attempts that did not go as planned."""
        made = {record.call_uuid for record in self.made}
        return [record for record in self.attempts if record.call_uuid not in made]


class World:
    """A running system, the customers' endpoint and the telephones.

    Args:
        ready: what `masking run --json` said.
    """

    def __init__(self, ready: dict[str, Any], phones: SimulatorClient, http: httpx.AsyncClient) -> None:
        self.ready, self.phones, self.http = ready, phones, http
        self.api = f"{ready['api_url']}/v1/Account/{ready['auth_id']}/Masking/Session"
        self.told: dict[str, dict[str, Told]] = defaultdict(dict)
        self.callback_url = ""
        self._began = time.monotonic()

    async def until(self, at: float) -> None:
        """Wait for a moment of the plan."""
        await asyncio.sleep(max(0.0, self._began + at - time.monotonic()))

    async def take(self, request: web.Request) -> web.Response:
        """The customers' endpoint."""
        params = {key: str(value) for key, value in (await request.post()).items()}
        callbacks = self.told[params["SessionUUID"]]
        known = callbacks.get(request.headers["X-Masking-Callback-Id"])
        if known is None:
            callbacks[request.headers["X-Masking-Callback-Id"]] = Told(params)
        else:
            known.times += 1
            known.changed = known.changed or known.params != params
        return web.Response()

    async def ask(self, method: str, url: str, *done: int, key: str = "", body: object = None) -> httpx.Response:
        """Ask as a customer who cares does: again, until there is an answer that is one."""
        headers = {"Idempotency-Key": key} if key else {}
        while True:
            with contextlib.suppress(httpx.TransportError):
                response = await self.http.request(method, url, json=body, headers=headers)
                if response.status_code in done:
                    return response
                if response.status_code != 429 and response.status_code < 500:
                    raise AssertionError(f"{method} answered {response.status_code}: {response.text}")
            await asyncio.sleep(0.3)

    async def live(self, lived: Lived) -> None:
        """Everything that happens to a session, to its end."""
        ride = lived.ride
        await self.until(ride.begins_at)
        urls = {"callback_url": self.callback_url, "recording_callback_url": self.callback_url}
        created = (await self.ask("POST", f"{self.api}/", 201, key=ride.name, body=ride.body | urls)).json()
        lived.uuid, lived.number = created["session_uuid"], f"+{created['virtual_number'].removeprefix('+')}"
        session = f"{self.api}/{lived.uuid}/"
        for n, call in enumerate(ride.calls):
            await self.until(call.at)
            await self._call(lived, call)
            if n == 0 and ride.extends and ride.ending != "in mid call":
                await self.ask("POST", session, 200, body={"session_expiry": 9000})
        if ride.ending == "time":
            await self.ask("POST", session, 200, body={"session_expiry": SHORTEST_EXPIRY})
            await asyncio.sleep(SHORTEST_EXPIRY + 0.5)
        elif ride.ending == "request":
            await self.until(ride.ends_at)
            await self._expire(session)
        if ride.late:
            lived.late.append(await self._over(await self.phones.dial(ride.second, lived.number)))

    async def _expire(self, session: str) -> None:
        answer = await self.ask("DELETE", session, 200, 400)
        if answer.status_code == 400 and answer.json()["error"] != "Session already expired":
            raise AssertionError(f"a session could not be expired: {answer.text}")

    async def _call(self, lived: Lived, call: PlannedCall) -> None:
        """Call until the network's record says that it went as planned."""
        ride = lived.ride
        caller, callee = ride.ends(call)
        hangs_up_after = None if ride.ending == "in mid call" or call.outcome != "answered" else call.talks
        presses = (f"{ride.first_pin}#",) if call.caller == "guest" else ()
        while True:
            await self.phones.behave(
                callee, Behaviour.model_validate({"on_ring": ON_RING[call.outcome], "answers_after": 1})
            )
            await self.phones.behave(caller, Behaviour(hangs_up_after=hangs_up_after, presses=presses))
            call_uuid = await self.phones.dial(caller, lived.number)
            if ride.ending == "in mid call" and await self._connected(call_uuid):
                await self._expire(f"{self.api}/{lived.uuid}/")
                with contextlib.suppress(SimulatorError):
                    await self.phones.hang_up(caller)
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
            record = await self.phones.call(call_uuid)
            if record.ended or any(leg.connected for leg in record.callees):
                return not record.ended
            await asyncio.sleep(0.1)

    async def _over(self, call_uuid: str) -> CallRecord:
        """A call once its carrier has told all of it, or has given up."""
        while not (record := await self.phones.call(call_uuid)).reported:  # noqa: ASYNC110 it is across HTTP
            await asyncio.sleep(0.15)
        return record


def as_planned(ride: Ride, call: PlannedCall, record: CallRecord) -> bool:
    """Whether the network could do what was planned: not where an answer of the gateway was lost."""
    legs, answered = record.legs, call.outcome == "answered"
    if len(legs) != 2 or record.caller.cause.code != CAUSES["answered"] or legs[1].cause.code != CAUSES[call.outcome]:
        return False
    return legs[1].connected is answered and (
        ride.ending == "in mid call" or not answered or all(leg.bill_duration == 60 for leg in legs)
    )
