"""What a leg hears, and how long it takes."""

from __future__ import annotations

import itertools

from masking.carriers.simulator.call_parts import OngoingCall
from masking.carriers.simulator.elements import Play, Speak, Wait

PROMPT_S = 2.0
"""How long any prompt takes."""


async def listen(call: OngoingCall, leg: str, sound: Play | Speak | Wait) -> None:
    """Let a leg hear something, to its end."""
    match sound:
        case Play(what, times) | Speak(what, times):
            for _ in range(times) if times else itertools.count():
                call.note(leg, "heard", what)
                await call.network.clock.sleep(PROMPT_S)
        case Wait(seconds):
            await call.network.clock.sleep(seconds)
