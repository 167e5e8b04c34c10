"""What a call is made of: what its parts share, what it was told to do, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from masking.carriers.hangup_causes import HangupCause
from masking.carriers.simulator.application import ApplicationClient, Document, Form, Unreachable, Webhook
from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.phones import Phone
from masking.carriers.simulator.recordings import Recordings
from masking.carriers.simulator.records import CallRecord, TranscriptLine
from masking.carriers.simulator.reporter import Reporter


class CallEnded(Exception):
    """Ends the caller's leg with a cause."""

    def __init__(self, cause: HangupCause, source: str) -> None:
        super().__init__(cause.name)
        self.cause, self.source = cause, source


class Surroundings(NamedTuple):
    """What calls need of the network.

    Attributes:
        find_phone: the phone with a number (E.164).
        media_url: where recordings are served, without a slash at the end.
    """

    client: ApplicationClient
    clock: SimulatedClock
    find_phone: Callable[[str], Phone]
    recordings: Recordings
    media_url: str


@dataclass(frozen=True)
class OngoingCall:
    """A call in progress, as all that take part in it share it.

    Attributes:
        phone: whose leg begins the call.
    """

    network: Surroundings
    phone: Phone
    record: CallRecord
    reporter: Reporter

    @property
    def caller_is_hidden(self) -> bool:
        """Whether the caller dialled and withholds its number."""
        return self.phone.behaviour.hidden and self.record.direction == "inbound"

    def note(self, leg: str, what: str, detail: str = "") -> None:
        """Write a line of the transcript."""
        now = self.network.clock.now()
        self.record.transcript.append(TranscriptLine(at=now, leg=leg, what=what, detail=detail))

    def caller_answered(self) -> None:
        """The caller's leg is answered, if it was not before."""
        if self.record.caller.answered_at is None:
            self.record.caller.answered_at = self.network.clock.now()

    async def fetched(self, webhook: Webhook, form: Form, unreachable: HangupCause) -> Document:
        """A document of the application. Raises `CallEnded` when there is none."""
        try:
            return await self.network.client.fetch(webhook, form)
        except Unreachable:
            raise CallEnded(unreachable, "Error") from None


class Next(NamedTuple):
    """A document to go on with instead of the rest of this one, and what its being invalid is called."""

    document: Document
    invalid: HangupCause


class Order(NamedTuple):
    """A call that an application has the network make. Times in simulated seconds."""

    answer: Webhook
    hangup: Webhook
    ring_seconds: int
    limit_seconds: int
    fallback: Webhook = Webhook("")


class Transfer(NamedTuple):
    """Where each leg asks what to do from now on; a leg without a URL is left to the other's fate."""

    caller: Webhook
    callee: Webhook
