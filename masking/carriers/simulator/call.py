"""One call through the network, from its first ring to the last webhook."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine
from typing import Any
from uuid import uuid4

from masking.carriers import hangup_causes as causes
from masking.carriers.hangup_causes import HangupCause
from masking.carriers.simulator import voice_xml as xml
from masking.carriers.simulator.application import (
    Document,
    Form,
    Unreachable,
    VoiceApplication,
    Webhook,
)
from masking.carriers.simulator.call_parts import CallEnded, Next, Order, Surroundings, Transfer
from masking.carriers.simulator.keypad import PROMPT_S, Keypad
from masking.carriers.simulator.phones import Phone
from masking.carriers.simulator.records import CallRecord, Leg, Recording, TranscriptLine
from masking.carriers.simulator.reporter import Reporter
from masking.carriers.simulator.ringing import Outcome, engaged, leave_after, ring
from masking.carriers.simulator.xml_checks import RefusedXml

MAX_INSTRUCTIONS = 70
"""As many as the real carrier follows before it calls it a loop."""

RECORDING_READY_AFTER = 1.0
HIDDEN = "anonymous"


class Call:
    """A call: of a phone to one of the network's numbers, or of an application to a phone.

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
        self._network, self._phone, self._number = network, phone, number
        self._runs, self._order = runs, order
        self._clock = network.clock
        self._wanted: xml.Record | None = None
        self._conversations: list[tuple[xml.Record, Leg]] = []
        self._stopped: asyncio.Future[CallEnded] = asyncio.get_running_loop().create_future()
        self._transfers: asyncio.Queue[Transfer] = asyncio.Queue()
        call_uuid = str(uuid4())
        leg = Leg(leg_uuid=call_uuid, number=phone.number, screen=number, began_at=self._clock.now())
        own = HIDDEN if phone.behaviour.hidden and order is None else phone.number.removeprefix("+")
        other = number.removeprefix("+")
        self.record = CallRecord(
            call_uuid=call_uuid,
            direction="inbound" if order is None else "outbound",
            from_number=own if order is None else other,
            to_number=other if order is None else own,
            caller=leg,
        )
        self._reporter = Reporter(network.client, self._clock, self.record)
        self._keypad = Keypad(phone, self._clock, lambda words: self._note("caller", "heard", words))
        if order is None:
            phone.occupy("dialling", call_uuid, number)
            self._note("caller", "dialled", number)

    async def run(self) -> None:
        """Carry the call to its end and report it."""
        async with self._reporter.reporting():
            try:
                cause, source = await self._until_it_ends(self._whole_call())
                self.record.caller.end(self._clock.now(), cause, source)
            finally:
                self.record.caller.end(self._clock.now(), causes.UNKNOWN, "Unknown")
                self._note("caller", "hung up", self.record.caller.cause.name)
                if self._phone.call_uuid == self.record.call_uuid:
                    self._phone.release()
                self._reporter.call_ended(self._runs.hangup)
            for wanted, leg in self._conversations:
                await self._make_recording(wanted, leg)

    def end(self, cause: HangupCause = causes.NORMAL_HANGUP, source: str = "API Request") -> None:
        """End the call, because the application asks for it or its time is up."""
        if not self._stopped.done():
            self._stopped.set_result(CallEnded(cause, source))

    def transfer(self, transfer: Transfer) -> None:
        """Have the call go on with other instructions."""
        self._transfers.put_nowait(transfer)

    def say(self, words: str) -> None:
        """Let the legs that are connected hear something."""
        self._note("caller", "heard", words)
        callee = self.record.callee
        if callee is not None and callee.answered_at is not None and callee.ended_at is None:
            self._note("callee", "heard", words)

    # The caller's leg

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
            await self._greet(transfer.callee, causes.TRANSFER_URL_UNREACHABLE, ends=True)
        if not transfer.caller.url:
            return following
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError, CallEnded):
            await following
        return asyncio.create_task(self._follow_from(transfer.caller))

    async def _follow_from(self, webhook: Webhook) -> None:
        document = await self._fetched(webhook, self._reporter.form(), causes.TRANSFER_URL_UNREACHABLE)
        await self._follow(self._read(Next(document, causes.INVALID_TRANSFER_XML)))

    async def _whole_call(self) -> None:
        if self._order is not None:
            await self._ring_first(self._order)
        status = "ringing" if self._order is None else "in-progress"
        form = self._reporter.form(CallStatus=status, Event="StartApp")
        await self._follow(await self._first_instructions(form))

    async def _follow(self, instructions: list[xml.Instruction]) -> None:
        followed = 0
        while True:
            going_on = None
            for instruction in instructions:
                followed += 1
                if followed > MAX_INSTRUCTIONS:
                    raise CallEnded(causes.LOOP_DETECTED, "Plivo")
                going_on = await self._obey(instruction)
                if going_on is not None:
                    break
            if going_on is None:
                return
            instructions = self._read(going_on)

    async def _first_instructions(self, form: dict[str, str]) -> list[xml.Instruction]:
        """What the answer URL says, or else the fallback: where that one has no document, or none that is valid."""
        fallback = self._runs.fallback
        try:
            document = await self._fetched(self._runs.answer, form, causes.ANSWER_URL_UNREACHABLE)
            return self._read(Next(document, causes.INVALID_ANSWER_XML))
        except CallEnded:
            if not fallback.url:
                raise
        self._note("caller", "fell back")
        document = await self._fetched(fallback, form, causes.ANSWER_URL_UNREACHABLE)
        return self._read(Next(document, causes.INVALID_ANSWER_XML))

    async def _ring_first(self, order: Order) -> None:
        """Ring the phone that the application wants to call."""
        phone = self._phone
        outcome = engaged(phone)
        if outcome is None:
            phone.occupy("ringing", self.record.call_uuid, self._number)
            self._note("caller", "rang", f"its screen shows {self._number}")
            outcome = await ring(phone, order.ring_seconds, self._clock)
        if not outcome.answered:
            raise CallEnded(outcome.cause, outcome.source)
        phone.talk()
        self._note("caller", "answered")
        self._caller_answered()
        self._end_in(order.limit_seconds)

    async def _fetched(self, webhook: Webhook, form: Form, unreachable: HangupCause) -> Document:
        try:
            return await self._network.client.fetch(webhook, form)
        except Unreachable:
            raise CallEnded(unreachable, "Error") from None

    def _read(self, going_on: Next) -> list[xml.Instruction]:
        try:
            return xml.read_xml(going_on.document.content, going_on.document.content_type)
        except RefusedXml as refusal:
            self._note("caller", "refused the XML", str(refusal))
            raise CallEnded(refusal.cause or going_on.invalid, "Error") from None

    async def _obey(self, instruction: xml.Instruction) -> Next | None:
        """Carry out one instruction. The document that takes this one's place, if one does."""
        if isinstance(instruction, xml.Hangup):
            self._hang_up(instruction)
            return None
        self._caller_answered()
        match instruction:
            case xml.Play() | xml.Speak() | xml.Wait():
                await self._listen("caller", instruction)
            case xml.Redirect(webhook):
                document = await self._fetched(webhook, self._reporter.form(), causes.REDIRECT_URL_UNREACHABLE)
                return Next(document, causes.INVALID_REDIRECT_XML)
            case xml.Record():
                self._wanted = instruction
            case xml.GetDigits():
                return await self._get_digits(instruction)
            case xml.Dial():
                outcome = await self._dial(instruction)
                return await self._after(
                    instruction.action,
                    {"DialStatus": outcome.status, "DialHangupCause": outcome.cause.name,
                     "DialALegUUID": self.record.call_uuid},
                    follows=instruction.follows_action,
                )  # fmt: skip
        return None

    def _hang_up(self, hangup: xml.Hangup) -> None:
        if hangup.seconds:
            self._end_in(hangup.seconds)
            return
        if self.record.caller.answered_at is not None:
            raise CallEnded(causes.NORMAL_HANGUP, "Answer XML")
        raise CallEnded(causes.BUSY_LINE if hangup.reason == "busy" else causes.REJECTED, "Answer XML")

    def _end_in(self, seconds: int) -> None:
        """End the call in so many simulated seconds, unless it has ended by then."""
        loop = asyncio.get_running_loop()
        loop.call_later(seconds / self._clock.speed, self.end, causes.SCHEDULED_HANGUP, "Plivo")

    async def _after(self, action: Webhook, about: Form, *, follows: bool) -> Next | None:
        """Tell an element's action what came of it."""
        if not action.url:
            return None
        document = await self._fetched(action, self._reporter.form(**about), causes.ACTION_URL_UNREACHABLE)
        return Next(document, causes.INVALID_ACTION_XML) if follows else None

    async def _get_digits(self, asked: xml.GetDigits) -> Next | None:
        if self._phone.state == "dialling":
            self._phone.talk()
        digits = await self._keypad.collect(asked)
        if not digits:
            return None
        self._note("caller", "pressed", digits if asked.logged else "*" * len(digits))
        return await self._after(asked.action, {"Digits": digits}, follows=asked.follows_action)

    async def _listen(self, leg: str, sound: xml.Play | xml.Speak | xml.Wait) -> None:
        match sound:
            case xml.Play(what, times) | xml.Speak(what, times):
                for _ in range(times) if times else itertools.count():
                    self._note(leg, "heard", what)
                    await self._clock.sleep(PROMPT_S)
            case xml.Wait(seconds):
                await self._clock.sleep(seconds)

    def _caller_answered(self) -> None:
        if self.record.caller.answered_at is None:
            self.record.caller.answered_at = self._clock.now()

    # The callee's leg

    async def _dial(self, dial: xml.Dial) -> Outcome:
        """Ring the callee, let it hear its greeting, and bridge."""
        number = f"+{dial.number}"
        own = None if self._phone.behaviour.hidden and self._order is None else self.record.caller.number
        screen = f"+{dial.caller_id}" if dial.caller_id else own
        leg = Leg(leg_uuid=str(uuid4()), number=number, screen=screen, began_at=self._clock.now())
        self.record.callees.append(leg)
        phone = self._network.find_phone(number)
        wanted, self._wanted = self._wanted, None
        outcome = Outcome("cancel", causes.CANCELED, "Caller")
        ended: tuple[HangupCause, str] | None = None
        try:
            outcome = await self._rung(phone, leg, dial.ring_seconds)
            if outcome.answered:
                # Until somebody else ends it: the caller, who then cancels this very coroutine.
                ended = causes.NORMAL_HANGUP, "Caller"
                ended = await self._talk(phone, leg, dial)
        finally:
            cause, source = ended or (outcome.cause, outcome.source)
            leg.end(self._clock.now(), cause, source)
            if phone.call_uuid == self.record.call_uuid and phone is not self._phone:
                phone.release()
            self._note("callee", "hung up", cause.name)
            self._reporter.leg_ended(dial.callback, leg)
            if wanted is not None and leg.connected:
                self._conversations.append((wanted, leg))
        if cause == causes.SCHEDULED_HANGUP:
            raise CallEnded(cause, source)
        return outcome._replace(cause=cause, source=source)

    async def _rung(self, phone: Phone, leg: Leg, ring_seconds: int) -> Outcome:
        if leg.number == self.record.caller.number:
            return Outcome("failed", causes.LOOP_DETECTED, "Plivo")
        outcome = engaged(phone)
        if outcome is None:
            phone.occupy("ringing", self.record.call_uuid, leg.screen)
            self._note("callee", "rang", f"its screen shows {leg.screen or 'no number'}")
            outcome = await ring(phone, ring_seconds, self._clock)
        return outcome

    async def _talk(self, phone: Phone, leg: Leg, dial: xml.Dial) -> tuple[HangupCause, str]:
        """Greet the callee and bridge the two; how it ended, unless the caller ends it."""
        leg.answered_at = self._clock.now()
        phone.talk()
        self._note("callee", "answered")
        self._reporter.leg_did(dial.callback, leg, "answer")
        hung_up = asyncio.create_task(phone.hung_up())
        tasks = [hung_up]
        try:
            greeting = asyncio.create_task(self._greet(dial.greeting, causes.ANSWER_URL_UNREACHABLE))
            tasks.append(greeting)
            await asyncio.wait((greeting, hung_up), return_when=asyncio.FIRST_COMPLETED)
            if hung_up.done():
                return causes.NORMAL_HANGUP, "Callee"
            greeting.result()
            leg.connected = True
            self._phone.talk()
            self._note("callee", "connected")
            self._reporter.leg_did(dial.callback, leg, "connected")
            tasks += [asyncio.create_task(leave_after(each, self._clock)) for each in (self._phone, phone)]
            done, _ = await asyncio.wait((hung_up,), timeout=dial.limit_seconds / self._clock.speed)
            return (causes.NORMAL_HANGUP, "Callee") if done else (causes.SCHEDULED_HANGUP, "Plivo")
        finally:
            for task in tasks:
                task.cancel()

    async def _greet(self, greeting: Webhook, unreachable: HangupCause, *, ends: bool = False) -> None:
        """Let the callee hear what a URL says: nothing but sound, and where its call `ends`, a hangup."""
        if not greeting.url:
            return
        document = await self._fetched(greeting, self._reporter.form(), unreachable)
        try:
            sounds = xml.read_greeting(document.content, document.content_type, ends=ends)
        except RefusedXml as refusal:
            self._note("callee", "refused the XML", str(refusal))
            raise CallEnded(causes.INVALID_ANSWER_XML, "Error") from None
        for sound in sounds:
            await self._listen("callee", sound)

    async def _make_recording(self, wanted: xml.Record, leg: Leg) -> None:
        """Have the conversation's file made and reported, a moment after its end."""
        await self._clock.sleep(RECORDING_READY_AFTER)
        recording_id = str(uuid4())
        file = f"{recording_id}.{wanted.file_format}"
        seconds = min(leg.duration, wanted.max_seconds)
        await asyncio.to_thread(self._network.recordings.record, file, seconds)
        now = self._clock.now()
        recording = Recording(
            recording_id=recording_id,
            file_format=wanted.file_format,
            url=f"{self._network.media_url}/{file}",
            seconds=seconds,
            started_at=leg.answered_at or leg.began_at,
            ended_at=leg.ended_at or now,
            added_at=now,
        )
        self.record.recordings.append(recording)
        self._note("caller", "recorded", f"{seconds} s of {wanted.file_format}")
        self._reporter.recorded(wanted.callback, recording)

    def _note(self, leg: str, what: str, detail: str = "") -> None:
        self.record.transcript.append(TranscriptLine(at=self._clock.now(), leg=leg, what=what, detail=detail))
