"""What a document of Voice XML can ask for, as the rest of the network sees it (plivo-wire.md §7.3).

A new element is a class here, a reader in `voice_xml.py`, and what comes of it in `interpreter.py`.
"""

from __future__ import annotations

from typing import NamedTuple

from masking.carriers.simulator.application import Webhook

LONGEST_CALL_S = 86_400
"""After so long a call ends, whatever longer limit it was given."""


class Play(NamedTuple):
    """Play the audio at a URL so many times; 0 is until the call ends."""

    url: str
    times: int = 1


class Speak(NamedTuple):
    """Say words so many times; 0 is until the call ends."""

    text: str
    times: int = 1


class Wait(NamedTuple):
    """Say nothing for some seconds."""

    seconds: int


class Redirect(NamedTuple):
    """Go on with the document at a URL instead of this one."""

    webhook: Webhook


class Hangup(NamedTuple):
    """End the call, at once or in some seconds; one that is not answered yet is `rejected` or `busy`."""

    reason: str
    seconds: int = 0


class Record(NamedTuple):
    """Record the conversation that a following Dial makes, from its answer."""

    callback: Webhook
    file_format: str
    max_seconds: int


class Dial(NamedTuple):
    """Call a number (digits) and bridge.

    Attributes:
        caller_id: digits; empty to show the caller's own.
        greeting: asked for what the callee hears before it is connected; empty for nothing.
        follows_action: whether the action's answer is the document to go on with.
    """

    number: str
    caller_id: str
    ring_seconds: int
    limit_seconds: int
    action: Webhook
    follows_action: bool
    callback: Webhook
    greeting: Webhook


class GetDigits(NamedTuple):
    """Have the caller press keys.

    Attributes:
        prompts: what it hears meanwhile, `Play` and `Speak`.
        seconds, between_seconds: until the first key, and from one to the next.
        times: how often the prompts are played while nothing is pressed.
        logged: whether the carrier may write the digits down.
    """

    prompts: tuple[Play | Speak, ...]
    action: Webhook
    follows_action: bool
    seconds: int
    between_seconds: int
    most: int
    finish_on: str
    times: int
    valid: str
    logged: bool


Instruction = Play | Speak | Wait | Redirect | Hangup | Record | Dial | GetDigits
