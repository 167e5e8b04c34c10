"""Reports a call's events to its application, in their order, in Plivo's words (plivo-wire.md §7.2 and §7.3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from masking.carriers.simulator.application import ApplicationClient, Webhook
from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.records import CallRecord, Leg, Recording

LAST_REPORTS_S = 2.0

Report = tuple[Webhook, dict[str, str]]


class Reporter:
    """Sends a call's reports one after the other; the call does not wait for them."""

    def __init__(self, client: ApplicationClient, clock: SimulatedClock, record: CallRecord) -> None:
        self._client, self._clock, self._record = client, clock, record
        self._waiting: asyncio.Queue[Report | None] = asyncio.Queue()
        self._overtaken: set[asyncio.Task[bool]] = set()

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Send while the context lasts; what is waiting at its end is sent before it closes.

        A network that is being stopped gives its last reports a moment, and no more.
        """
        sending = asyncio.create_task(self._send())
        try:
            try:
                yield
            except asyncio.CancelledError:
                await self._waiting.put(None)
                await asyncio.wait((sending,), timeout=LAST_REPORTS_S)
                raise
            await self._waiting.put(None)
            await sending
            self._record.reported = True
        finally:
            tasks = (sending, *self._overtaken)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self) -> None:
        chaos = self._client.chaos
        while (report := await self._waiting.get()) is not None:
            if chaos.duplicates():
                self._send_later(report)
            if chaos.reorders():
                self._send_later(report)
                continue
            if chaos.delays():
                await self._clock.sleep(chaos.lateness())
            await self._client.tell(*report)
        await asyncio.gather(*self._overtaken)

    def _send_later(self, report: Report) -> None:
        async def send() -> bool:
            await self._clock.sleep(self._client.chaos.lateness())
            return await self._client.tell(*report)

        self._overtaken.add(asyncio.create_task(send()))

    def form(self, **more: str) -> dict[str, str]:
        """What every request about the call says; of one that an application ordered, also which order it was.

        https://www.plivo.com/docs/voice/xml/request
        """
        ordered = ("ALegUUID", "ALegRequestUUID", "RequestUUID") if self._record.direction == "outbound" else ()
        return {
            "CallUUID": self._record.call_uuid,
            "From": self._record.from_number,
            "To": self._record.to_number,
            "Direction": self._record.direction,
            "CallStatus": "in-progress",
            "SessionStart": self._record.caller.began_at.strftime("%Y-%m-%d %H:%M:%S.%f"),
            **dict.fromkeys(ordered, self._record.call_uuid),
            **more,
        }

    def leg_did(self, webhook: Webhook, leg: Leg, action: str, **more: str) -> None:
        """The callee's leg: `answer`, `connected` or `hangup`."""
        about = {
            "Event": f"Dial{action.capitalize()}",
            "DialAction": action,
            "DialALegUUID": self._record.call_uuid,
            "DialBLegUUID": leg.leg_uuid,
            "DialBLegStatus": action,
            "DialBLegFrom": _digits(leg.screen or ""),
            "DialBLegTo": _digits(leg.number),
            "DialBLegPosition": "1",
        }
        self._tell(webhook, self.form(**about, **more))

    def leg_ended(self, webhook: Webhook, leg: Leg) -> None:
        """The callee's leg ended."""
        self.leg_did(
            webhook,
            leg,
            "hangup",
            DialBLegDuration=str(leg.duration),
            DialBLegBillDuration=str(leg.bill_duration),
            DialBLegTotalCost=str(leg.cost),
            DialBLegHangupCause=leg.cause.standard,
            DialBLegHangupCauseName=leg.cause.name,
            DialBLegHangupCauseCode=str(leg.cause.code),
            DialBLegHangupSource=leg.source,
        )

    def call_ended(self, webhook: Webhook) -> None:
        """The caller's leg ended, and with it the call."""
        leg = self._record.caller
        about = {
            "Event": "Hangup",
            "CallStatus": self._last_status(),
            "Duration": str(leg.duration),
            "BillDuration": str(leg.bill_duration),
            "TotalCost": str(leg.cost),
            "StartTime": _written(leg.began_at),
            "AnswerTime": _written(leg.answered_at),
            "EndTime": _written(leg.ended_at),
            "HangupCause": leg.cause.standard,
            "HangupCauseName": leg.cause.name,
            "HangupCauseCode": str(leg.cause.code),
            "HangupSource": leg.source,
        }
        self._tell(webhook, self.form(**{key: value for key, value in about.items() if value}))

    def _last_status(self) -> str:
        """Of a call that reached a number, it is always the same (https://www.plivo.com/docs/voice/xml/request)."""
        leg = self._record.caller
        if self._record.direction == "inbound" or leg.answered_at is not None:
            return "completed"
        return _UNANSWERED.get(leg.cause.code, "completed")

    def recorded(self, webhook: Webhook, recording: Recording) -> None:
        """The conversation's recording is ready."""
        about = {
            "RecordUrl": recording.url,
            "RecordingID": recording.recording_id,
            "RecordingDuration": str(recording.seconds),
            "RecordingDurationMs": str(recording.seconds * 1000),
            "RecordingStartMs": _milliseconds(recording.started_at),
            "RecordingEndMs": _milliseconds(recording.ended_at),
        }
        self._tell(webhook, self.form(**about))

    def _tell(self, webhook: Webhook, form: dict[str, str]) -> None:
        if webhook.url:
            self._waiting.put_nowait((webhook, form))


_UNANSWERED = {3010: "busy", 3020: "busy", 6010: "no-answer", 3000: "no-answer", 1000: "cancel"}


def _digits(e164: str) -> str:
    return e164.removeprefix("+")


def _written(moment: datetime | None) -> str:
    return "" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")


def _milliseconds(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))
