"""One call through the network, from the dialling to the last webhook."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import uuid4

from masking.carriers import hangup_causes as causes
from masking.carriers.hangup_causes import HangupCause
from masking.carriers.simulator import voice_xml as xml
from masking.carriers.simulator.application import ApplicationClient, Document, Form, Unreachable, VoiceApplication
from masking.carriers.simulator.audio import write_recording
from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.phones import Phone, WrongState
from masking.carriers.simulator.records import CallRecord, Leg, TranscriptLine
from masking.carriers.simulator.reporter import Reporter

MAX_INSTRUCTIONS = 70
"""As many as the real carrier follows before it calls it a loop."""

RECORDING_READY_AFTER = 1.0


class CallEnded(Exception):
    """Ends the caller's leg with a cause."""

    def __init__(self, cause: HangupCause, source: str) -> None:
        super().__init__(cause.name)
        self.cause, self.source = cause, source


class Call:
    """A call that a phone makes to one of the network's numbers.

    Args:
        find_phone: the phone with a number (E.164).
        recordings: where audio files go.
        media_url: where they are served, without a slash at the end.
    """

    def __init__(
        self,
        caller: Phone,
        called: str,
        application: VoiceApplication,
        *,
        client: ApplicationClient,
        clock: SimulatedClock,
        find_phone: Callable[[str], Phone],
        recordings: Path,
        media_url: str,
    ) -> None:
        self._phone, self._called, self._application = caller, called, application
        self._client, self._clock, self._find_phone = client, clock, find_phone
        self._recordings, self._media_url = recordings, media_url
        self._wanted: xml.Record | None = None
        call_uuid = str(uuid4())
        leg = Leg(leg_uuid=call_uuid, number=caller.number, screen=called, began_at=clock.now())
        self.record = CallRecord(call_uuid=call_uuid, caller=leg)
        self._reporter = Reporter(client, self.record, called, hidden=caller.behaviour.hidden)
        caller.occupy("dialling", call_uuid, called)
        self._note("caller", "dialled", called)

    async def run(self) -> None:
        """Carry the call to its end and report it."""
        async with self._reporter.reporting():
            try:
                cause, source = await self._until_caller_leaves(self._follow_answer())
                self.record.caller.end(self._clock.now(), cause, source)
            finally:
                self.record.caller.end(self._clock.now(), causes.UNKNOWN, "Unknown")
                self._note("caller", "hung up", self.record.caller.cause.name)
                self._phone.release()
                self._reporter.call_ended(self._application.hangup_url)
            await self._make_recording()

    # The instructions

    async def _until_caller_leaves(self, instructions: Coroutine[Any, Any, None]) -> tuple[HangupCause, str]:
        """Follow instructions until they end, or the caller does."""
        following, leaving = asyncio.create_task(instructions), asyncio.create_task(self._phone.hung_up())
        try:
            await asyncio.wait((following, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                answered = self.record.caller.answered_at is not None and self._phone.state == "talking"
                return (causes.NORMAL_HANGUP if answered else causes.CANCELED), "Caller"
            following.result()
        except CallEnded as end:
            return end.cause, end.source
        finally:
            for task in (following, leaving):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, CallEnded):
                    await task
        return causes.END_OF_XML, "Plivo"

    async def _follow_answer(self) -> None:
        form = self._reporter.form(CallStatus="ringing", Event="StartApp")
        document = await self._fetched(self._application.answer_url, form, causes.ANSWER_URL_UNREACHABLE)
        await self._follow(document, causes.INVALID_ANSWER_XML)

    async def _fetched(self, url: str, form: Form, unreachable: HangupCause) -> Document:
        try:
            return await self._client.fetch(url, form)
        except Unreachable:
            raise CallEnded(unreachable, "Error") from None

    async def _follow(self, document: Document, invalid: HangupCause, followed: int = 0) -> None:
        try:
            instructions = xml.read_xml(document.content, document.content_type)
        except xml.RefusedXml as refusal:
            self._note("caller", "refused the XML", str(refusal))
            raise CallEnded(invalid, "Error") from None
        for instruction in instructions:
            followed += 1
            if followed > MAX_INSTRUCTIONS:
                raise CallEnded(causes.LOOP_DETECTED, "Plivo")
            await self._obey(instruction, followed)

    async def _obey(self, instruction: xml.Instruction, followed: int) -> None:
        if isinstance(instruction, xml.Hangup) and instruction.reason and self.record.caller.answered_at is None:
            raise CallEnded(causes.BUSY_LINE if instruction.reason == "busy" else causes.REJECTED, "Answer XML")
        self._caller_answered()
        match instruction:
            case xml.Hangup():
                raise CallEnded(causes.NORMAL_HANGUP, "Answer XML")
            case xml.Play(url):
                self._note("caller", "heard", url)
                await self._clock.sleep(2)
            case xml.Speak(text):
                self._note("caller", "heard", text)
                await self._clock.sleep(2)
            case xml.Wait(seconds):
                await self._clock.sleep(seconds)
            case xml.Redirect(url):
                document = await self._fetched(url, self._reporter.form(), causes.REDIRECT_URL_UNREACHABLE)
                await self._follow(document, causes.INVALID_REDIRECT_XML, followed)
            case xml.Record():
                self._wanted = instruction
            case xml.Dial():
                status, cause = await self._dial(instruction)
                if instruction.action:
                    form = self._reporter.form(
                        DialStatus=status, DialHangupCause=cause.name, DialALegUUID=self.record.call_uuid
                    )
                    document = await self._fetched(instruction.action, form, causes.ACTION_URL_UNREACHABLE)
                    await self._follow(document, causes.INVALID_ACTION_XML, followed)

    def _caller_answered(self) -> None:
        if self.record.caller.answered_at is None:
            self.record.caller.answered_at = self._clock.now()

    # The other leg

    async def _dial(self, dial: xml.Dial) -> tuple[str, HangupCause]:
        """Ring the callee and bridge. The dial's status and the callee's hangup cause."""
        number = f"+{dial.number}"
        screen = f"+{dial.caller_id}" if dial.caller_id else self.record.caller.number
        leg = Leg(leg_uuid=str(uuid4()), number=number, screen=screen, began_at=self._clock.now())
        self.record.callee = leg
        phone = self._find_phone(number)
        status, cause, source = "cancel", causes.CANCELED, "Caller"
        try:
            if number == self.record.caller.number:
                status, cause, source = "failed", causes.LOOP_DETECTED, "Plivo"
            elif phone.state != "idle" or phone.behaviour.on_ring == "busy":
                status, cause, source = "busy", causes.BUSY_LINE, "Callee"
            else:
                phone.occupy("ringing", self.record.call_uuid, screen)
                self._note("callee", "rang", f"its screen shows {screen}")
                status, cause, source = await self._ring(phone, dial.ring_seconds)
                if status == "completed":
                    # Until somebody else ends it: the caller, who then cancels this very coroutine.
                    cause, source = causes.NORMAL_HANGUP, "Caller"
                    cause, source = await self._talk(phone, leg, dial)
        finally:
            leg.end(self._clock.now(), cause, source)
            if phone.call_uuid == self.record.call_uuid and phone is not self._phone:
                phone.release()
            self._note("callee", "hung up", cause.name)
            self._reporter.leg_ended(dial.callback_url, leg)
        if cause == causes.SCHEDULED_HANGUP:
            raise CallEnded(cause, source)
        return status, cause

    async def _ring(self, phone: Phone, ring_seconds: int) -> tuple[str, HangupCause, str]:
        """How the ringing ended: status, cause, source."""
        behaviour = phone.behaviour
        by_itself = {"answer": phone.answer, "reject": phone.reject}.get(behaviour.on_ring)
        acting = asyncio.create_task(self._act_after(behaviour.answers_after, by_itself))
        picked_up, rejected = asyncio.create_task(phone.picked_up()), asyncio.create_task(phone.rejected())
        tasks = (acting, picked_up, rejected)
        try:
            await asyncio.wait(
                (picked_up, rejected),
                timeout=ring_seconds / self._clock.speed,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if picked_up.done():
                return "completed", causes.NORMAL_HANGUP, "Callee"
            if rejected.done():
                return "busy", causes.REJECTED, "Callee"
            return "no-answer", causes.RING_TIMEOUT, "Plivo"
        finally:
            for task in tasks:
                task.cancel()

    async def _act_after(self, seconds: float, action: Callable[[], None] | None) -> None:
        await self._clock.sleep(seconds)
        if action is not None:
            action()

    async def _talk(self, phone: Phone, leg: Leg, dial: xml.Dial) -> tuple[HangupCause, str]:
        """Bridge the two; how the conversation ended, unless the caller ends it."""
        leg.answered_at = self._clock.now()
        phone.talk()
        self._phone.talk()
        self._note("callee", "answered")
        self._reporter.leg_did(dial.callback_url, leg, "answer")
        self._note("callee", "connected")
        self._reporter.leg_did(dial.callback_url, leg, "connected")
        caller_leaves = asyncio.create_task(self._leave_after(self._phone))
        callee_leaves = asyncio.create_task(self._leave_after(phone))
        hung_up = asyncio.create_task(phone.hung_up())
        try:
            done, _ = await asyncio.wait((hung_up,), timeout=dial.limit_seconds / self._clock.speed)
            return (causes.NORMAL_HANGUP, "Callee") if done else (causes.SCHEDULED_HANGUP, "Plivo")
        finally:
            for task in (caller_leaves, callee_leaves, hung_up):
                task.cancel()

    async def _leave_after(self, phone: Phone) -> None:
        if phone.behaviour.hangs_up_after is not None:
            await self._clock.sleep(phone.behaviour.hangs_up_after)
            with contextlib.suppress(WrongState):
                phone.hang_up()

    async def _make_recording(self) -> None:
        """Have the conversation's file made and reported, a moment after its end."""
        leg, wanted = self.record.callee, self._wanted
        if wanted is None or leg is None or leg.answered_at is None or leg.ended_at is None:
            return
        await self._clock.sleep(RECORDING_READY_AFTER)
        recording_id = str(uuid4())
        file = f"{recording_id}.{wanted.file_format}"
        seconds = min(leg.duration, wanted.max_seconds)
        await asyncio.to_thread(write_recording, self._recordings / file, wanted.file_format, seconds)
        self.record.recording = file
        self._note("caller", "recorded", f"{seconds} s of {wanted.file_format}")
        self._reporter.recorded(wanted.callback_url, recording_id, f"{self._media_url}/{file}", leg, seconds)

    def _note(self, leg: str, what: str, detail: str = "") -> None:
        self.record.transcript.append(TranscriptLine(at=self._clock.now(), leg=leg, what=what, detail=detail))
