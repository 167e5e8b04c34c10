"""The network: its phones, its numbers, its calls."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from masking.carriers.simulator.application import ApplicationClient, VoiceApplication
from masking.carriers.simulator.applications import Inventory
from masking.carriers.simulator.call import Call
from masking.carriers.simulator.call_parts import Order, Surroundings
from masking.carriers.simulator.chaos import Chaos, ChaosSwitches
from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.phones import Phone, WrongState
from masking.carriers.simulator.recordings import Recordings
from masking.carriers.simulator.records import CallRecord, Leg
from masking.carriers.simulator.request_limit import RequestLimit

REMEMBERED_CALLS = 2000
CREDIT = "100.00000"
MAX_PHONES = 10_000


class Network:
    """Phones by number, applications by number, calls by id. Forgets its oldest calls.

    Args:
        recordings: the folder of the audio files, which are encrypted by a key that follows from the client's token.
        media_url: where they are served, without a slash at the end.
    """

    def __init__(self, client: ApplicationClient, clock: SimulatedClock, recordings: Path, media_url: str) -> None:
        self._client = client
        self._clock = clock
        self.recordings = Recordings(recordings, client.token)
        self._surroundings = Surroundings(client, clock, self.phone, self.recordings, media_url)
        self._phones: OrderedDict[str, Phone] = OrderedDict()
        self._calls: OrderedDict[str, CallRecord] = OrderedDict()
        self._live: dict[str, Call] = {}
        self._running: set[asyncio.Task[None]] = set()
        self.inventory = Inventory()
        self.request_limit = RequestLimit()
        self.credit = CREDIT
        """What the customer has left to spend, as the REST API writes it."""

    @property
    def token(self) -> str:
        """What webhooks are signed with, and what opens the network's REST API."""
        return self._client.token

    @property
    def chaos(self) -> ChaosSwitches:
        """The faults that are switched on."""
        return self._client.chaos.switches

    @chaos.setter
    def chaos(self, switches: ChaosSwitches) -> None:
        self._client.chaos = Chaos(switches)

    def phone(self, number: str) -> Phone:
        """The phone with this number (E.164); one that nobody has spoken of has the default behaviour."""
        phone = self._phones.get(number)
        if phone is None:
            phone = self._phones[number] = Phone(number)
            self._forget_a_phone()
        return phone

    def dial(self, number: str, called: str) -> CallRecord:
        """Have a phone call a number (both E.164).

        Raises:
            WrongState: the phone takes part in a call, or nothing answers at that number.
        """
        phone = self.phone(number)
        if phone.state != "idle":
            raise WrongState("it takes part in a call already")
        application = self.inventory.runs_on(called)
        if application is None:
            raise WrongState("that number is not in service; bind it to an application first")
        return self._started(Call(self._surroundings, phone, called, application))

    def place(self, from_number: str, to_number: str, order: Order) -> CallRecord:
        """Call a phone for an application.

        Raises:
            WrongState: the network does not serve `from_number`.
        """
        if self.inventory.rented(from_number) is None:
            raise WrongState("from is no number of this network")
        runs = VoiceApplication(order.answer, order.hangup, order.fallback)
        call = Call(self._surroundings, self.phone(to_number), from_number, runs, order)
        return self._started(call)

    def live(self, call_uuid: str) -> Call | None:
        """A call in progress."""
        return self._live.get(call_uuid)

    def _started(self, call: Call) -> CallRecord:
        record = call.record
        self._calls[record.call_uuid], self._live[record.call_uuid] = record, call
        while len(self._calls) > REMEMBERED_CALLS:
            self._calls.popitem(last=False)
        task = asyncio.create_task(call.run())
        self._running.add(task)

        def done(ended: asyncio.Task[None]) -> None:
            self._running.discard(ended)
            self._live.pop(record.call_uuid, None)

        task.add_done_callback(done)
        return record

    def call(self, call_uuid: str) -> CallRecord | None:
        """A call by its id; None if it never was or is forgotten."""
        return self._calls.get(call_uuid)

    def leg(self, leg_uuid: str) -> tuple[CallRecord, Leg] | None:
        """A leg by its id, and its call; None if it never was or is forgotten."""
        known = ((record, leg) for record in self._calls.values() for leg in record.legs)
        return next((found for found in known if found[1].leg_uuid == leg_uuid), None)

    def calls(self) -> Iterable[CallRecord]:
        """The remembered calls, newest first."""
        return reversed(self._calls.values())

    async def close(self) -> None:
        """Drop the calls that are going on, as a network that loses its power would."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _forget_a_phone(self) -> None:
        if len(self._phones) > MAX_PHONES:
            idle = next((number for number, phone in self._phones.items() if phone.state == "idle"), None)
            if idle is not None:
                del self._phones[idle]
