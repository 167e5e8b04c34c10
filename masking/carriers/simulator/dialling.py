"""The callee's leg: rings it, lets it hear its greeting, and bridges."""

from __future__ import annotations

import asyncio
from typing import NamedTuple
from uuid import uuid4

from masking.carriers import hangup_causes as causes
from masking.carriers.hangup_causes import HangupCause
from masking.carriers.simulator.application import Webhook
from masking.carriers.simulator.call_parts import CallEnded, OngoingCall
from masking.carriers.simulator.elements import Dial, Record
from masking.carriers.simulator.phones import Phone
from masking.carriers.simulator.records import Leg
from masking.carriers.simulator.ringing import Outcome, engaged, leave_after, ring
from masking.carriers.simulator.sounds import listen
from masking.carriers.simulator.voice_xml import read_greeting
from masking.carriers.simulator.xml_checks import RefusedXml


class Conversation(NamedTuple):
    """A leg that was connected and is to be recorded."""

    wanted: Record
    leg: Leg


class Dialling:
    """Dials for one call, one callee after the other.

    Attributes:
        conversations: those that are to be recorded, as they end.
    """

    def __init__(self, call: OngoingCall) -> None:
        self._call, self._clock = call, call.network.clock
        self.conversations: list[Conversation] = []

    async def dial(self, dial: Dial, wanted: Record | None) -> Outcome:
        """Ring the callee and bridge the two, until one of them leaves.

        Args:
            wanted: how their conversation is to be recorded.

        Raises:
            CallEnded: its time is up, or its greeting cannot be had.
        """
        call, number = self._call, f"+{dial.number}"
        own = None if call.caller_is_hidden else call.record.caller.number
        screen = f"+{dial.caller_id}" if dial.caller_id else own
        leg = Leg(leg_uuid=str(uuid4()), number=number, screen=screen, began_at=self._clock.now())
        call.record.callees.append(leg)
        phone = call.network.find_phone(number)
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
            if phone.call_uuid == call.record.call_uuid and phone is not call.phone:
                phone.release()
            call.note("callee", "hung up", cause.name)
            call.reporter.leg_ended(dial.callback, leg)
            if wanted is not None and leg.connected:
                self.conversations.append(Conversation(wanted, leg))
        if cause == causes.SCHEDULED_HANGUP:
            raise CallEnded(cause, source)
        return outcome._replace(cause=cause, source=source)

    async def greet(self, greeting: Webhook, unreachable: HangupCause, *, ends: bool = False) -> None:
        """Let the callee hear what a URL says: nothing but sound, and where its call `ends`, a hangup."""
        if not greeting.url:
            return
        document = await self._call.fetched(greeting, self._call.reporter.form(), unreachable)
        try:
            sounds = read_greeting(document.content, document.content_type, ends=ends)
        except RefusedXml as refusal:
            self._call.note("callee", "refused the XML", str(refusal))
            raise CallEnded(causes.INVALID_ANSWER_XML, "Error") from None
        for sound in sounds:
            await listen(self._call, "callee", sound)

    async def _rung(self, phone: Phone, leg: Leg, ring_seconds: int) -> Outcome:
        record = self._call.record
        if leg.number == record.caller.number:
            return Outcome("failed", causes.LOOP_DETECTED, "Plivo", rang=False)
        outcome = engaged(phone)
        if outcome is None:
            phone.occupy("ringing", record.call_uuid, leg.screen)
            self._call.note("callee", "rang", f"its screen shows {leg.screen or 'no number'}")
            outcome = await ring(phone, ring_seconds, self._clock)
        return outcome

    async def _talk(self, phone: Phone, leg: Leg, dial: Dial) -> tuple[HangupCause, str]:
        """Greet the callee and bridge the two; how it ended, unless the caller ends it."""
        call, caller = self._call, self._call.phone
        leg.answered_at = self._clock.now()
        phone.talk()
        call.note("callee", "answered")
        call.reporter.leg_did(dial.callback, leg, "answer")
        hung_up = asyncio.create_task(phone.hung_up())
        tasks = [hung_up]
        try:
            greeting = asyncio.create_task(self.greet(dial.greeting, causes.ANSWER_URL_UNREACHABLE))
            tasks.append(greeting)
            await asyncio.wait((greeting, hung_up), return_when=asyncio.FIRST_COMPLETED)
            if hung_up.done():
                return causes.NORMAL_HANGUP, "Callee"
            greeting.result()
            leg.connected = True
            caller.talk()
            call.note("callee", "connected")
            call.reporter.leg_did(dial.callback, leg, "connected")
            tasks += [asyncio.create_task(leave_after(each, self._clock)) for each in (caller, phone)]
            done, _ = await asyncio.wait((hung_up,), timeout=dial.limit_seconds / self._clock.speed)
            return (causes.NORMAL_HANGUP, "Callee") if done else (causes.SCHEDULED_HANGUP, "Plivo")
        finally:
            for task in tasks:
                task.cancel()
