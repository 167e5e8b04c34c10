"""Obeys Voice XML on the caller's leg: one instruction after the other, document after document."""

from __future__ import annotations

from collections.abc import Callable

from masking.carriers import hangup_causes as causes
from masking.carriers.hangup_causes import HangupCause
from masking.carriers.simulator import elements as xml
from masking.carriers.simulator.application import Document, Form, VoiceApplication, Webhook
from masking.carriers.simulator.call_parts import CallEnded, Next, OngoingCall
from masking.carriers.simulator.dialling import Dialling
from masking.carriers.simulator.keypad import Keypad
from masking.carriers.simulator.sounds import listen
from masking.carriers.simulator.voice_xml import read_xml
from masking.carriers.simulator.xml_checks import RefusedXml

MAX_INSTRUCTIONS = 70
"""As many as the real carrier follows before it calls it a loop."""


class Interpreter:
    """Follows an application's instructions until there are none left.

    Args:
        dialling: rings whom they say.
        end_in: ends the call in so many simulated seconds.
    """

    def __init__(self, call: OngoingCall, dialling: Dialling, end_in: Callable[[int], None]) -> None:
        self._call, self._dialling, self._end_in = call, dialling, end_in
        self._keypad = Keypad(call.phone, call.network.clock, lambda words: call.note("caller", "heard", words))
        self._wanted: xml.Record | None = None

    async def answer(self, runs: VoiceApplication) -> None:
        """Do what an application says to a call that reaches it. Raises `CallEnded`."""
        status = "ringing" if self._call.record.direction == "inbound" else "in-progress"
        form = self._call.reporter.form(CallStatus=status, Event="StartApp")
        await self._follow(await self._first_instructions(runs, form))

    async def go_on_at(self, webhook: Webhook) -> None:
        """Do what the URL says to which the call was transferred. Raises `CallEnded`."""
        document = await self._fetched(webhook, causes.TRANSFER_URL_UNREACHABLE)
        await self._follow(self._read(Next(document, causes.INVALID_TRANSFER_XML)))

    async def _first_instructions(self, runs: VoiceApplication, form: Form) -> list[xml.Instruction]:
        """What the answer URL says, or the fallback where that one cannot be reached.

        A document that is not valid ends the call (https://www.plivo.com/docs/voice/concepts/callbacks).
        """
        try:
            document = await self._call.fetched(runs.answer, form, causes.ANSWER_URL_UNREACHABLE)
        except CallEnded:
            if not runs.fallback.url:
                raise
            self._call.note("caller", "fell back")
            document = await self._call.fetched(runs.fallback, form, causes.ANSWER_URL_UNREACHABLE)
        return self._read(Next(document, causes.INVALID_ANSWER_XML))

    async def _follow(self, instructions: list[xml.Instruction]) -> None:
        followed = 0
        while True:
            going_on = None
            for instruction in instructions:
                followed += 1
                if followed > MAX_INSTRUCTIONS:
                    raise CallEnded(causes.LOOP_DETECTED, "Plivo")
                going_on = await self._obey(instruction, is_first=followed == 1)
                if going_on is not None:
                    break
            if going_on is None:
                return
            instructions = self._read(going_on)

    async def _obey(self, instruction: xml.Instruction, *, is_first: bool) -> Next | None:
        """Carry out one instruction. The document that takes this one's place, if one does.

        A Wait that comes first lasts before the call is picked up (https://docs.plivo.com/docs/voice/xml/wait).
        """
        if isinstance(instruction, xml.Hangup):
            self._hang_up(instruction)
            return None
        if is_first and isinstance(instruction, xml.Wait):
            await listen(self._call, "caller", instruction)
            self._call.caller_answered()
            return None
        self._call.caller_answered()
        match instruction:
            case xml.Play() | xml.Speak() | xml.Wait():
                await listen(self._call, "caller", instruction)
            case xml.Redirect(webhook):
                document = await self._fetched(webhook, causes.REDIRECT_URL_UNREACHABLE)
                return Next(document, causes.INVALID_REDIRECT_XML)
            case xml.Record():
                self._wanted = instruction
            case xml.GetDigits():
                return await self._get_digits(instruction)
            case xml.Dial():
                return await self._dial(instruction)
        return None

    def _hang_up(self, hangup: xml.Hangup) -> None:
        if hangup.seconds:
            self._end_in(hangup.seconds)
            return
        if self._call.record.caller.answered_at is not None:
            raise CallEnded(causes.NORMAL_HANGUP, "Answer XML")
        raise CallEnded(causes.BUSY_LINE if hangup.reason == "busy" else causes.REJECTED, "Answer XML")

    async def _dial(self, dial: xml.Dial) -> Next | None:
        wanted, self._wanted = self._wanted, None
        outcome = await self._dialling.dial(dial, wanted)
        callee = self._call.record.callee
        about = {
            "DialStatus": outcome.status,
            "DialRingStatus": "true" if outcome.rang else "false",
            "DialHangupCause": outcome.cause.standard,
            "DialALegUUID": self._call.record.call_uuid,
            "DialBLegUUID": callee.leg_uuid if callee is not None and outcome.answered else "",
        }
        return await self._after(dial.action, about, follows=dial.follows_action)

    async def _get_digits(self, asked: xml.GetDigits) -> Next | None:
        phone = self._call.phone
        if phone.state == "dialling":
            phone.talk()
        digits = await self._keypad.collect(asked)
        if not digits:
            return None
        self._call.note("caller", "pressed", digits if asked.logged else "*" * len(digits))
        return await self._after(asked.action, {"Digits": digits}, follows=asked.follows_action)

    async def _after(self, action: Webhook, about: Form, *, follows: bool) -> Next | None:
        """Tell an element's action what came of it. One that is not followed fails no call, whatever it answers."""
        if not action.url:
            return None
        form = self._call.reporter.form(**about)
        if not follows:
            await self._call.network.client.tell(action, form)
            return None
        return Next(await self._call.fetched(action, form, causes.ACTION_URL_UNREACHABLE), causes.INVALID_ACTION_XML)

    async def _fetched(self, webhook: Webhook, unreachable: HangupCause) -> Document:
        return await self._call.fetched(webhook, self._call.reporter.form(), unreachable)

    def _read(self, going_on: Next) -> list[xml.Instruction]:
        try:
            return read_xml(going_on.document.content, going_on.document.content_type)
        except RefusedXml as refusal:
            self._call.note("caller", "refused the XML", str(refusal))
            raise CallEnded(refusal.cause or going_on.invalid, "Error") from None
