"""Reports a call's events to its application, in their order, in Plivo's words (plivo-wire.md §7.2 and §7.3)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from masking.carriers.simulator.application import ApplicationClient
from masking.carriers.simulator.records import CallRecord, Leg

HIDDEN = "anonymous"
MAX_WAITING = 100


class Reporter:
    """Sends a call's reports one after the other; the call does not wait for them.

    Args:
        called: the number that was called, E.164.
        hidden: whether the caller's number is withheld.
    """

    def __init__(self, client: ApplicationClient, record: CallRecord, called: str, *, hidden: bool) -> None:
        self._client, self._record, self._called, self._hidden = client, record, called, hidden
        self._waiting: asyncio.Queue[tuple[str, dict[str, str]] | None] = asyncio.Queue(MAX_WAITING)

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Send while the context lasts; what is waiting at its end is sent before it closes."""
        sending = asyncio.create_task(self._send())
        try:
            yield
        finally:
            await self._waiting.put(None)
            await sending

    async def _send(self) -> None:
        while (report := await self._waiting.get()) is not None:
            await self._client.tell(*report)

    def form(self, **more: str) -> dict[str, str]:
        """What every request about the call says."""
        return {
            "CallUUID": self._record.call_uuid,
            "From": HIDDEN if self._hidden else _digits(self._record.caller.number),
            "To": _digits(self._called),
            "Direction": "inbound",
            "CallStatus": "in-progress",
            "SessionStart": _written(self._record.caller.began_at),
            **more,
        }

    def leg_did(self, url: str, leg: Leg, action: str, **more: str) -> None:
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
        self._tell(url, self.form(**about, **more))

    def leg_ended(self, url: str, leg: Leg) -> None:
        """The callee's leg ended."""
        self.leg_did(
            url,
            leg,
            "hangup",
            DialBLegDuration=str(leg.duration),
            DialBLegBillDuration=str(leg.bill_duration),
            DialBLegTotalCost=str(leg.cost),
            DialBLegHangupCause=_shouted(leg.cause.name),
            DialBLegHangupCauseName=leg.cause.name,
            DialBLegHangupCauseCode=str(leg.cause.code),
            DialBLegHangupSource=leg.source,
        )

    def call_ended(self, url: str) -> None:
        """The caller's leg ended, and with it the call."""
        leg = self._record.caller
        about = {
            "Event": "Hangup",
            "CallStatus": "completed",
            "Duration": str(leg.duration),
            "BillDuration": str(leg.bill_duration),
            "TotalCost": str(leg.cost),
            "StartTime": _written(leg.began_at),
            "AnswerTime": _written(leg.answered_at),
            "EndTime": _written(leg.ended_at),
            "HangupCause": _shouted(leg.cause.name),
            "HangupCauseName": leg.cause.name,
            "HangupCauseCode": str(leg.cause.code),
            "HangupSource": leg.source,
        }
        self._tell(url, self.form(**{key: value for key, value in about.items() if value}))

    def recorded(self, url: str, recording_id: str, file_url: str, leg: Leg, seconds: int) -> None:
        """The conversation's recording is ready."""
        about = {
            "RecordUrl": file_url,
            "RecordingID": recording_id,
            "RecordingDuration": str(seconds),
            "RecordingDurationMs": str(seconds * 1000),
            "RecordingStartMs": _milliseconds(leg.answered_at),
            "RecordingEndMs": _milliseconds(leg.ended_at),
        }
        self._tell(url, self.form(**about))

    def _tell(self, url: str, form: dict[str, str]) -> None:
        if url:
            self._waiting.put_nowait((url, form))


def _digits(e164: str) -> str:
    return e164.removeprefix("+")


def _shouted(name: str) -> str:
    return name.upper().replace(" ", "_")


def _written(moment: datetime | None) -> str:
    return "" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")


def _milliseconds(moment: datetime | None) -> str:
    return "" if moment is None else str(int(moment.timestamp() * 1000))
