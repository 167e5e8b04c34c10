"""Phones: what they do when they ring, and what a person could see on them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

State = Literal["idle", "dialling", "ringing", "talking"]
Digits = Annotated[str, StringConstraints(pattern=r"^[0-9*#]{0,40}$")]


class Behaviour(BaseModel):
    """What a phone does by itself.

    Attributes:
        on_ring: `answer`, `busy`, `reject`, `ignore`, or `manual`, which leaves it to the API.
        answers_after: simulated seconds of ringing before it answers or rejects.
        hangs_up_after: simulated seconds of talking before it hangs up; never when not set.
        hidden: whether its number is withheld when it calls.
        presses: what it presses when it is asked for digits: one entry for each time it is asked, none after the last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_ring: Literal["answer", "busy", "reject", "ignore", "manual"] = "answer"
    answers_after: float = Field(default=2.0, ge=0, le=3600)
    hangs_up_after: float | None = Field(default=None, ge=0, le=86400)
    hidden: bool = False
    presses: tuple[Digits, ...] = Field(default=(), max_length=20)


MAGIC: Mapping[str, Behaviour] = {
    "80": Behaviour(on_ring="busy"),
    "81": Behaviour(on_ring="reject"),
    "82": Behaviour(on_ring="ignore"),
    "83": Behaviour(answers_after=15),
    "84": Behaviour(hangs_up_after=10),
    "85": Behaviour(hidden=True),
    "86": Behaviour(presses=("1234#",)),
    "87": Behaviour(presses=("0000#", "1234#")),
    "88": Behaviour(presses=("0000#",) * 6),
    "89": Behaviour(hangs_up_after=0),
}
"""What phones +1 … 555 01nn do, by nn, unless they are told otherwise."""

_MAGIC_NUMBER = re.compile(r"\+1[0-9]{3}55501([0-9]{2})")


def born_behaviour(number: str) -> Behaviour:
    """What a phone does that nobody has spoken of: magic numbers provoke outcomes, all others just answer."""
    magic = _MAGIC_NUMBER.fullmatch(number)
    return MAGIC.get(magic[1], Behaviour()) if magic else Behaviour()


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
        self.behaviour = born_behaviour(number)
        self.state: State = "idle"
        self.screen: str | None = None
        self.call_uuid: str | None = None
        self._picked_up = asyncio.Event()
        self._rejected = asyncio.Event()
        self._hung_up = asyncio.Event()
        self._pressed: asyncio.Queue[str] = asyncio.Queue()

    def occupy(self, state: State, call_uuid: str, screen: str | None) -> None:
        """Take part in a call."""
        self.state, self.call_uuid, self.screen = state, call_uuid, screen
        for event in (self._picked_up, self._rejected, self._hung_up):
            event.clear()
        self._pressed = asyncio.Queue()

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

    def press(self, digits: str) -> None:
        """Press keys. Raises `WrongState`."""
        if self.state not in ("dialling", "talking"):
            raise WrongState("it takes part in no call that could hear its keys")
        for digit in digits:
            self._pressed.put_nowait(digit)

    async def picked_up(self) -> None:
        """Return when somebody picks up."""
        await self._picked_up.wait()

    async def rejected(self) -> None:
        """Return when somebody declines."""
        await self._rejected.wait()

    async def hung_up(self) -> None:
        """Return when somebody hangs up."""
        await self._hung_up.wait()

    async def pressed(self) -> str:
        """The next key that somebody presses."""
        return await self._pressed.get()

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
