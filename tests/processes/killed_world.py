"""The customers and telephones of a run: what they do, and what they are told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import httpx
from aiohttp import web

from masking.carriers.simulator.records import CallRecord
from masking.domain.bill.charges import Bill
from tests.processes.killed_plan import SHORTEST_EXPIRY, PlannedCall, Ride


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
        lost: callbacks of which nobody can know, see `Network`.
        faults: what was seen to be wrong while it was open.
    """

    ride: Ride
    uuid: str = ""
    number: str = ""
    attempts: list[CallRecord] = field(default_factory=list)
    made: list[CallRecord] = field(default_factory=list)
    late: list[CallRecord] = field(default_factory=list)
    lost: list[dict[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    final: dict[str, Any] = field(default_factory=dict)
    bill: Bill | None = None

    @property
    def pins(self) -> list[str]:
        """Its parties' PINs."""
        return [pin for side in ("first", "second") if (pin := self.final[f"{side}_party_pin"])]

    @property
    def disturbed(self) -> list[CallRecord]:
        """The attempts that did not go as planned."""
        made = {record.call_uuid for record in self.made}
        return [record for record in self.attempts if record.call_uuid not in made]


class Network(Protocol):
    """Who carries the calls."""

    async def call(self, lived: Lived, call: PlannedCall, expire: Callable[[], Awaitable[None]]) -> None:
        """Make a call of a plan. `expire` ends its session, in mid call where the plan says so."""

    async def call_late(self, lived: Lived) -> CallRecord:
        """Call once the session has ended. What came of it."""

    async def before_kill(self, part: str) -> None:
        """Wait for a moment, soon, at which it hurts that this part dies."""

    async def finished(self) -> None:
        """Wait until nothing more comes of the calls."""

    def seen(self, lived: Lived, shown: dict[str, Any]) -> None:
        """Be told how the API shows a session, just before it ends."""

    def lost(self, lived: Lived) -> list[dict[str, str]]:
        """The callbacks of a session that nobody can know of any more."""

    def faults(self, sessions: list[Lived]) -> Iterator[str]:
        """What it knows to be wrong in the end."""


class World:
    """A running system, the customers' endpoint and the telephones.

    Args:
        ready: what `masking run --json` said.
    """

    def __init__(self, ready: dict[str, Any], network: Network, http: httpx.AsyncClient) -> None:
        self.ready, self.network, self.http = ready, network, http
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
        if ride.joins:
            await self.ask("POST", session, 200, body={"second_party": ride.second})
        for n, call in enumerate(ride.calls):
            await self.until(call.at)
            await self.network.call(lived, call, partial(self._expire, lived))
            if n == 0 and ride.change and ride.ending != "in mid call":
                await self.ask("POST", session, 200, body=ride.change)
        if ride.ending == "time":
            await self.ask("POST", session, 200, body={"session_expiry": SHORTEST_EXPIRY})
            await self._look(lived)
            await asyncio.sleep(SHORTEST_EXPIRY + 0.5)
        elif ride.ending == "request":
            await self.until(ride.ends_at)
            await self._expire(lived)
        if ride.late:
            lived.late.append(await self.network.call_late(lived))

    async def _look(self, lived: Lived) -> None:
        shown = (await self.ask("GET", f"{self.api}/{lived.uuid}/", 200)).json()["response"]
        self.network.seen(lived, shown)

    async def _expire(self, lived: Lived) -> None:
        await self._look(lived)
        answer = await self.ask("DELETE", f"{self.api}/{lived.uuid}/", 200, 400)
        if answer.status_code == 400 and answer.json()["error"] != "Session already expired":
            raise AssertionError(f"a session could not be expired: {answer.text}")
