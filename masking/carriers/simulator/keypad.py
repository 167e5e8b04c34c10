"""A caller who is asked for digits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.elements import GetDigits, Play, Speak
from masking.carriers.simulator.phones import Phone
from masking.carriers.simulator.sounds import PROMPT_S

FIRST_KEY_S = 1.0
"""How soon a phone presses what its behaviour says."""


class Keypad:
    """Collects what a phone presses, question after question."""

    def __init__(self, phone: Phone, clock: SimulatedClock, hear: Callable[[str], None]) -> None:
        self._phone, self._clock, self._hear = phone, clock, hear
        self._asked = 0

    async def collect(self, asked: GetDigits) -> str:
        """The digits, without the key that ends them; empty when none came in time."""
        by_itself = self._phone.behaviour.presses
        planned = by_itself[self._asked] if self._asked < len(by_itself) else ""
        self._asked += 1
        for _ in range(asked.times):
            digits = await self._listen(asked, planned)
            if digits:
                return digits
            planned = ""
        return ""

    async def _listen(self, asked: GetDigits, planned: str) -> str:
        for prompt in asked.prompts:
            for _ in range(prompt.times or 1):
                self._hear(_words(prompt))
        if planned:
            # Before patience begins to run out: on a busy machine the two may be due at the same moment.
            await self._clock.sleep(FIRST_KEY_S)
            self._phone.press(planned)
        endless = any(prompt.times == 0 for prompt in asked.prompts)
        patience = math.inf if endless else PROMPT_S * sum(prompt.times for prompt in asked.prompts) + asked.seconds
        digits = ""
        while len(digits) < asked.most:
            try:
                async with asyncio.timeout(patience / self._clock.speed):
                    key = await self._phone.pressed()
            except TimeoutError:
                break
            if key == asked.finish_on:
                break
            if key in asked.valid:
                digits += key
            patience = asked.between_seconds
        return digits


def _words(prompt: Play | Speak) -> str:
    return prompt.url if isinstance(prompt, Play) else prompt.text
