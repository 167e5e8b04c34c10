"""The network: its phones, its numbers, its calls."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from masking.carriers.simulator.application import ApplicationClient, VoiceApplication
from masking.carriers.simulator.call import Call
from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.phones import Phone, WrongState
from masking.carriers.simulator.records import CallRecord

REMEMBERED_CALLS = 1000
MAX_PHONES = 10_000


class Network:
    """Phones by number, applications by number, calls by id. Forgets its oldest calls.

    Args:
        recordings: the folder of the audio files.
        media_url: where they are served, without a slash at the end.
    """

    def __init__(self, client: ApplicationClient, clock: SimulatedClock, recordings: Path, media_url: str) -> None:
        self._client, self._clock, self._recordings, self._media_url = client, clock, recordings, media_url
        self._phones: OrderedDict[str, Phone] = OrderedDict()
        self._calls: OrderedDict[str, CallRecord] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()
        self.applications: dict[str, VoiceApplication] = {}

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
        application = self.applications.get(called)
        if application is None:
            raise WrongState("that number is not in service; bind it to an application first")
        call = Call(
            phone,
            called,
            application,
            client=self._client,
            clock=self._clock,
            find_phone=self.phone,
            recordings=self._recordings,
            media_url=self._media_url,
        )
        self._calls[call.record.call_uuid] = call.record
        while len(self._calls) > REMEMBERED_CALLS:
            self._calls.popitem(last=False)
        task = asyncio.create_task(call.run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return call.record

    def call(self, call_uuid: str) -> CallRecord | None:
        """A call by its id; None if it never was or is forgotten."""
        return self._calls.get(call_uuid)

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
