"""Phones: what they do when they ring, and what a person could see on them."""

from __future__ import annotations

import asyncio
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal["idle", "dialling", "ringing", "talking"]


class Behaviour(BaseModel):
    """What a phone does by itself.

    Attributes:
        on_ring: `answer`, `busy`, `reject`, `ignore`, or `manual`, which leaves it to the API.
        answers_after: simulated seconds of ringing before it answers or rejects.
        hangs_up_after: simulated seconds of talking before it hangs up; never when not set.
        hidden: whether its number is withheld when it calls.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_ring: Literal["answer", "busy", "reject", "ignore", "manual"] = "answer"
    answers_after: float = Field(default=2.0, ge=0, le=3600)
    hangs_up_after: float | None = Field(default=None, ge=0, le=86400)
    hidden: bool = False


class PhoneView(BaseModel):
    """A phone as a person sees it.

    Attributes:
        number: its real number, E.164.
        screen: the number its display shows, E.164; None when there is none to show.
        call_uuid: the call it takes part in.
    """

    number: str
    state: State
    screen: str | None
    call_uuid: str | None
    behaviour: Behaviour


class WrongState(Exception):
    """The phone cannot do that now; the message says why."""


class Phone:
    """A phone with a number (E.164)."""

    def __init__(self, number: str) -> None:
        self.number = number
        self.behaviour = Behaviour()
        self.state: State = "idle"
        self.screen: str | None = None
        self.call_uuid: str | None = None
        self._picked_up = asyncio.Event()
        self._rejected = asyncio.Event()
        self._hung_up = asyncio.Event()

    def occupy(self, state: State, call_uuid: str, screen: str | None) -> None:
        """Take part in a call."""
        self.state, self.call_uuid, self.screen = state, call_uuid, screen
        for event in (self._picked_up, self._rejected, self._hung_up):
            event.clear()

    def talk(self) -> None:
        """Be connected."""
        self.state = "talking"

    def release(self) -> None:
        """Be free again."""
        self.state, self.call_uuid, self.screen = "idle", None, None

    def answer(self) -> None:
        """Pick up. Raises `WrongState`."""
        self._need("ringing", "it does not ring")
        self._picked_up.set()

    def reject(self) -> None:
        """Decline the call. Raises `WrongState`."""
        self._need("ringing", "it does not ring")
        self._rejected.set()

    def hang_up(self) -> None:
        """End the call it takes part in. Raises `WrongState`."""
        if self.state == "idle":
            raise WrongState("it takes part in no call")
        (self._rejected if self.state == "ringing" else self._hung_up).set()

    async def picked_up(self) -> None:
        """Return when somebody picks up."""
        await self._picked_up.wait()

    async def rejected(self) -> None:
        """Return when somebody declines."""
        await self._rejected.wait()

    async def hung_up(self) -> None:
        """Return when somebody hangs up."""
        await self._hung_up.wait()

    def view(self) -> PhoneView:
        """What a person sees."""
        return PhoneView(
            number=self.number,
            state=self.state,
            screen=self.screen,
            call_uuid=self.call_uuid,
            behaviour=self.behaviour,
        )

    def _need(self, state: State, otherwise: str) -> None:
        if self.state != state:
            raise WrongState(otherwise)
