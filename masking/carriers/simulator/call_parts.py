"""What a call is made of: what it needs, what it was told to do, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from masking.carriers.hangup_causes import HangupCause
from masking.carriers.simulator.application import ApplicationClient, Document, Webhook
from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.phones import Phone
from masking.carriers.simulator.recordings import Recordings


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
