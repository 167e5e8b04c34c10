"""What a provider of voice calls has to be to us. docs/carriers.md tells how to add one.

A carrier is two things: `Webhooks`, how it tells of calls and what it takes for an answer, which the gateway
needs; and `Orders`, what it does when it is asked, which workers and the command line need. Plivo's are in
`masking/carriers/voice`; `masking/carriers/chosen.py` says which carrier is used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

from masking.carriers.call_details import CallDetails, RecordingDetails
from masking.domain.events import AnyCarrierEvent, Call, Hangup, RecordingCompleted
from masking.domain.routing import Decision

PATH = "/carrier/voice"
"""Where the gateway takes a voice carrier's webhooks."""

Form = Mapping[str, str]
"""The fields of a webhook."""


class InboundCall(NamedTuple):
    """A call that reached a number, both E.164. `caller` is empty when the caller hides its number."""

    call_uuid: str
    caller: str
    called: str


@dataclass(frozen=True)
class CallUrls:
    """Where the carrier reports on a call, and asks what to do next.

    Attributes:
        connect: asked whom to dial, by a caller who has heard its audio.
    """

    connect: str
    dial_event: str
    dial_done: str
    recording: str
    greeting: str
    pin: str


class CallOrder(NamedTuple):
    """A call to place. Numbers in E.164, times in seconds.

    Attributes:
        answer_url, hangup_url: where the carrier asks what to do once it is answered, and reports its end.
        fallback_url: where it asks when `answer_url` does not tell.
    """

    from_number: str
    to_number: str
    answer_url: str
    hangup_url: str
    fallback_url: str
    ring_timeout: int
    time_limit: int


class Audio(NamedTuple):
    """A recording's audio on its way. `size` in bytes, where it is told before."""

    size: int | None
    chunks: AsyncIterator[bytes]


class CarrierAccount(NamedTuple):
    """Our account at the carrier.

    Attributes:
        balance: what is left to spend, in its currency; None where it does not tell.
        refills: whether the carrier fills it up by itself, or bills afterwards.
    """

    name: str
    balance: Decimal | None
    refills: bool


class Webhooks(Protocol):
    """How a carrier tells of calls, and what it takes for an answer. No I/O.

    It must tell again what we answered with a 5xx: where its own rule is another, `answer` says so with its URLs.
    Every reading is tolerant: a field that is missing or malformed must not lose the event.
    """

    def are_signed(self, method: str, url: str, form: Form, headers: Mapping[str, str]) -> bool:
        """Whether a request is the carrier's own; compared in constant time.

        Args:
            form: the fields of a POST's body; a GET carries its own in the URL.
        """

    def inbound_call(self, form: Form) -> InboundCall:
        """The call about which it asks what to do."""

    def entered_digits(self, form: Form) -> str:
        """What the caller pressed, without the key that ends it; empty when nothing came in time."""

    def dial_event(self, form: Form, call: Call, at: datetime) -> AnyCarrierEvent | None:
        """What it tells of the callee's leg; None if it is nothing we follow."""

    def caller_hangup(self, form: Form, call: Call, began_at: datetime, at: datetime) -> Hangup:
        """The end of the caller's leg. A call that was never answered lasts 0 seconds, whatever it says.

        Args:
            began_at: when the call reached us; the carrier's time of its end counts only between that and `at`.
        """

    def recording_completed(self, form: Form, call: Call, at: datetime) -> RecordingCompleted:
        """The recording of a conversation, ready to be fetched."""

    def answer(self, decision: Decision, urls: CallUrls) -> str:
        """What it is to do with a call, as a document of `content_type`.

        A caller who is to hear audio before it is connected hears that, and then the carrier asks at `urls.connect`.
        """

    def greeting(self, play_url: str) -> str:
        """What the callee hears before it is connected; nothing when `play_url` is empty."""

    def farewell(self, words: str) -> str:
        """Say something, and end the call."""

    def hang_up(self) -> str:
        """End the call."""

    @property
    def content_type(self) -> str:
        """What the answers are."""


class Orders(Protocol):
    """What a carrier does when it is asked. Each method asks once, within seconds.

    Every method raises `CarrierRefused` (and `CredentialsRefused`, which is one) and `CarrierUnavailable`; those
    that do something, also `OutcomeUnknown`. See masking/carriers/errors.py.
    """

    async def place(self, order: CallOrder) -> str:
        """Call somebody. Returns its id of the call."""

    async def hang_up(self, call_uuid: str) -> None:
        """End a call; one that has ended already is fine."""

    async def speak(self, call_uuid: str, text: str) -> None:
        """Say words to both parties of a call; one that has ended is fine."""

    async def transfer(self, call_uuid: str, url: str) -> bool:
        """Have both legs of a call ask this URL what to do, instead of going on. Whether the call was still there."""

    async def find_call(self, call_uuid: str) -> CallDetails | None:
        """Its record of a leg, by the leg's own id; None where it has none."""

    async def legs_of(self, call_uuid: str) -> tuple[CallDetails, ...]:
        """The legs that were dialled for a call, 20 at most."""

    async def recordings_of(self, call_uuid: str) -> tuple[RecordingDetails, ...]:
        """The recordings of a call, 20 at most."""

    def audio(self, url: str) -> AbstractAsyncContextManager[Audio]:
        """A recording's audio, from where the carrier said that it is. What is cut short raises `CarrierUnavailable`.

        Raises:
            CarrierRefused: also where there is no such recording any more.
        """

    async def delete_recording(self, recording_id: str) -> None:
        """Delete a recording at the carrier; one that is gone already is fine."""

    async def account(self) -> CarrierAccount:
        """Our account, as the credentials see it."""

    async def numbers(self) -> Mapping[str, str | None]:
        """The numbers that we have there, E.164, and the URL that is asked when each is called, if any."""
