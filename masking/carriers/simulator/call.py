"""One call through the network, from its first ring to the last webhook."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Coroutine
from datetime import datetime
from typing import Any
from uuid import uuid4

from masking.carriers import hangup_causes as causes
from masking.carriers.hangup_causes import HangupCause
from masking.carriers.simulator.application import VoiceApplication
from masking.carriers.simulator.call_parts import CallEnded, OngoingCall, Order, Surroundings, Transfer
from masking.carriers.simulator.dialling import Conversation, Dialling
from masking.carriers.simulator.interpreter import Interpreter
from masking.carriers.simulator.phones import Phone
from masking.carriers.simulator.records import CallRecord, Leg, Recording
from masking.carriers.simulator.reporter import Reporter
from masking.carriers.simulator.ringing import engaged, ring

RECORDING_READY_AFTER = 1.0
HIDDEN = "anonymous"
MOST_TRANSFERS = 70
"""After which Plivo ends a call as a loop (https://www.plivo.com/docs/voice/api/call/transfer-a-call)."""


class Call:
    """A call: of a phone to one of the network's numbers, or of an application to a phone.

    What the application says is obeyed in `interpreter.py`, and the other phone rung in `dialling.py`.

    Args:
        phone: whose leg begins the call.
        number: the number that was called, or from which the application calls; E.164.
        runs: what is asked for instructions, and told of the end.
        order: for a call that an application ordered.
    """

    def __init__(
        self,
        network: Surroundings,
        phone: Phone,
        number: str,
        runs: VoiceApplication,
        order: Order | None = None,
    ) -> None:
        self._phone, self._number, self._runs, self._order = phone, number, runs, order
        self._clock = network.clock
        self._stopped: asyncio.Future[CallEnded] = asyncio.get_running_loop().create_future()
        self._transfers: asyncio.Queue[Transfer] = asyncio.Queue()
        self._transferred = 0
        self.record = _record_of(phone, number, self._clock.now(), ordered=order is not None)
        self._reporter = Reporter(network.client, self._clock, self.record)
        self._call = OngoingCall(network, phone, self.record, self._reporter)
        self._dialling = Dialling(self._call)
        self._interpreter = Interpreter(self._call, self._dialling, self._end_in)
        if order is None:
            phone.occupy("dialling", self.record.call_uuid, number)
            self._call.note("caller", "dialled", number)

    async def run(self) -> None:
        """Carry the call to its end and report it."""
        async with self._reporter.reporting():
            try:
                cause, source = await self._until_it_ends(self._whole_call())
                self.record.caller.end(self._clock.now(), cause, source)
            finally:
                self.record.caller.end(self._clock.now(), causes.UNKNOWN, "Unknown")
                self._call.note("caller", "hung up", self.record.caller.cause.name)
                if self._phone.call_uuid == self.record.call_uuid:
                    self._phone.release()
                self._reporter.call_ended(self._runs.hangup)
            for conversation in self._dialling.conversations:
                await self._make_recording(conversation)

    def end(self) -> None:
        """End the call, because the application asks for it."""
        answered = self.record.caller.answered_at is not None
        self._stop(causes.NORMAL_HANGUP if answered else causes.CANCELED, "API Request")

    def transfer(self, transfer: Transfer) -> None:
        """Have the call go on with other instructions, unless it has been so too often."""
        self._transferred += 1
        if self._transferred > MOST_TRANSFERS:
            self._stop(causes.LOOP_DETECTED, "Plivo")
        self._transfers.put_nowait(transfer)

    def say(self, words: str, legs: Collection[str]) -> None:
        """Let those of the legs that are connected hear something."""
        callee = self.record.callee
        talking = callee is not None and callee.answered_at is not None and callee.ended_at is None
        for leg in legs:
            if leg == "caller" or talking:
                self._call.note(leg, "heard", words)

    async def _until_it_ends(self, instructions: Coroutine[Any, Any, None]) -> tuple[HangupCause, str]:
        """Follow instructions until they end, the caller leaves, or the application ends the call."""
        following = asyncio.create_task(instructions)
        leaving = asyncio.create_task(self._phone.hung_up())
        transferred = asyncio.create_task(self._transfers.get())
        try:
            while True:
                waiting = (following, leaving, self._stopped, transferred)
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if not transferred.done() or following.done() or leaving.done() or self._stopped.done():
                    break
                following = await self._go_on(following, transferred.result())
                transferred = asyncio.create_task(self._transfers.get())
            if self._stopped.done():
                return self._stopped.result().cause, self._stopped.result().source
            if not following.done():
                answered = self.record.caller.answered_at is not None and self._phone.state == "talking"
                return (causes.NORMAL_HANGUP if answered else causes.CANCELED), "Caller"
            following.result()
        except CallEnded as end:
            return end.cause, end.source
        finally:
            for task in (following, leaving, transferred):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, CallEnded):
                    await task
        return causes.END_OF_XML, "Plivo"

    async def _go_on(self, following: asyncio.Task[None], transfer: Transfer) -> asyncio.Task[None]:
        """Let the callee hear its new instructions, then have the caller's leg follow its own."""
        if transfer.callee.url and self.record.callee is not None and self.record.callee.connected:
            await self._dialling.greet(transfer.callee, causes.TRANSFER_URL_UNREACHABLE, ends=True)
        if not transfer.caller.url:
            return following
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError, CallEnded):
            await following
        return asyncio.create_task(self._interpreter.go_on_at(transfer.caller))

    async def _whole_call(self) -> None:
        if self._order is not None:
            await self._ring_first(self._order)
        await self._interpreter.answer(self._runs)

    async def _ring_first(self, order: Order) -> None:
        """Ring the phone that the application wants to call."""
        phone = self._phone
        outcome = engaged(phone)
        if outcome is None:
            phone.occupy("ringing", self.record.call_uuid, self._number)
            self._call.note("caller", "rang", f"its screen shows {self._number}")
            outcome = await ring(phone, order.ring_seconds, self._clock)
        if not outcome.answered:
            raise CallEnded(outcome.cause, outcome.source)
        phone.talk()
        self._call.note("caller", "answered")
        self._call.caller_answered()
        self._end_in(order.limit_seconds)

    def _end_in(self, seconds: int) -> None:
        """End the call in so many simulated seconds, unless it has ended by then."""
        loop = asyncio.get_running_loop()
        loop.call_later(seconds / self._clock.speed, self._stop, causes.SCHEDULED_HANGUP, "Plivo")

    def _stop(self, cause: HangupCause, source: str) -> None:
        if not self._stopped.done():
            self._stopped.set_result(CallEnded(cause, source))

    async def _make_recording(self, conversation: Conversation) -> None:
        """Have the conversation's file made and reported, a moment after its end."""
        wanted, leg = conversation
        await self._clock.sleep(RECORDING_READY_AFTER)
        recording_id = str(uuid4())
        file = f"{recording_id}.{wanted.file_format}"
        seconds = min(leg.duration, wanted.max_seconds)
        network = self._call.network
        await asyncio.to_thread(network.recordings.record, file, seconds)
        now = self._clock.now()
        recording = Recording(
            recording_id=recording_id,
            file_format=wanted.file_format,
            url=f"{network.media_url}/{file}",
            seconds=seconds,
            started_at=leg.answered_at or leg.began_at,
            ended_at=leg.ended_at or now,
            added_at=now,
        )
        self.record.recordings.append(recording)
        self._call.note("caller", "recorded", f"{seconds} s of {wanted.file_format}")
        self._reporter.recorded(wanted.callback, recording)


def _record_of(phone: Phone, number: str, began_at: datetime, *, ordered: bool) -> CallRecord:
    """What the network knows of a call that begins."""
    leg = Leg(leg_uuid=str(uuid4()), number=phone.number, screen=number, began_at=began_at)
    own = HIDDEN if phone.behaviour.hidden and not ordered else phone.number.removeprefix("+")
    other = number.removeprefix("+")
    return CallRecord(
        call_uuid=leg.leg_uuid,
        direction="outbound" if ordered else "inbound",
        from_number=other if ordered else own,
        to_number=own if ordered else other,
        caller=leg,
    )
