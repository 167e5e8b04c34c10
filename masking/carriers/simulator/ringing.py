"""A phone that rings until something comes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple

from masking.carriers import hangup_causes as causes
from masking.carriers.hangup_causes import HangupCause
from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.phones import Phone, WrongState


class Outcome(NamedTuple):
    """How dialling ended: the Dial's status, why the leg ended unless it was answered, and whether the phone rang."""

    status: str
    cause: HangupCause
    source: str
    rang: bool = True

    @property
    def answered(self) -> bool:
        """Whether somebody picked up."""
        return self.status == "completed"


ANSWERED = Outcome("completed", causes.NORMAL_HANGUP, "Callee")


def engaged(phone: Phone) -> Outcome | None:
    """What comes of calling a phone that cannot ring; None when it can."""
    if phone.state != "idle" or phone.behaviour.on_ring == "busy":
        return Outcome("busy", causes.BUSY_LINE, "Callee", rang=False)
    return None


async def ring(phone: Phone, seconds: float, clock: SimulatedClock) -> Outcome:
    """Let a phone ring for so many simulated seconds at most.

    One that acts by itself within that time does so also on a busy machine, where both may be due at the same moment.
    """
    behaviour = phone.behaviour
    by_itself = {"answer": phone.answer, "reject": phone.reject}.get(behaviour.on_ring)
    acting = asyncio.create_task(_act_after(clock, behaviour.answers_after, by_itself))
    picked_up, rejected = asyncio.create_task(phone.picked_up()), asyncio.create_task(phone.rejected())
    tasks = (acting, picked_up, rejected)
    try:
        acts = by_itself is not None and behaviour.answers_after < seconds
        timeout = None if acts else seconds / clock.speed
        await asyncio.wait((picked_up, rejected), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if picked_up.done():
            return ANSWERED
        if rejected.done():
            return Outcome("busy", causes.REJECTED, "Callee")
        return Outcome("no-answer", causes.RING_TIMEOUT, "Plivo")
    finally:
        for task in tasks:
            task.cancel()


async def _act_after(clock: SimulatedClock, seconds: float, action: Callable[[], None] | None) -> None:
    await clock.sleep(seconds)
    if action is not None:
        action()


async def leave_after(phone: Phone, clock: SimulatedClock) -> None:
    """Hang up as a talking phone's behaviour says."""
    if phone.behaviour.hangs_up_after is not None:
        await clock.sleep(phone.behaviour.hangs_up_after)
        with contextlib.suppress(WrongState):
            phone.hang_up()
