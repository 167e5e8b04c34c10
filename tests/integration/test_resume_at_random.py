"""Sessions whose workflows are terminated and resumed again and again, at any moment of a call."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress

import pytest
from temporalio.service import RPCError

from masking.client import SessionAlreadyExpired, SessionError
from masking.operate.resuming import Resumer
from masking.privacy.keyring import Keyring
from tests.integration.conftest import Receiver, System
from tests.integration.reported_calls import rest_of_call
from tests.integration.test_resume import Ended, Operator, begun_by, operator, resumer, terminated, undisturbed

__all__ = ["operator"]

SESSIONS, SEED = int(os.environ.get("RESUMED_SESSIONS", "0")), int(os.environ.get("SEED", str(random.randrange(1000))))

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not SESSIONS, reason="two minutes for its 200 sessions: `make chaos` runs them"),
    pytest.mark.timeout(1800),
]

AT_ONCE = 20


class Disturbed:
    """A session with one call, and an operator who lets it not rest. Moments are those of a generator of its own."""

    def __init__(self, system: System, receiver: Receiver, resumer: Resumer, number: int) -> None:
        self._system, self._receiver, self._resumer = system, receiver, resumer
        self._parties = f"1202555{3000 + 2 * number}", f"1202555{3001 + 2 * number}"
        self._chance = random.Random(SEED * 1000 + number)
        self.uuid = ""
        self.resumed = 0

    async def _pause(self, longest: float) -> None:
        await asyncio.sleep(self._chance.random() * longest)

    async def _resume(self) -> str:
        outcomes = await asyncio.gather(*(self._resumer.resume(self.uuid) for _ in range(self._chance.choice((1, 2)))))
        self.resumed += sum(each.state == "resumed" for each in outcomes)
        return outcomes[0].reason

    async def _terminate(self) -> None:
        with suppress(RPCError):
            await terminated(self._system.client, self.uuid)

    async def _bother(self) -> None:
        for _ in range(self._chance.randint(1, 4)):
            await self._pause(0.6)
            await self._terminate()
            await self._pause(0.3)
            await self._resume()

    async def live(self) -> bool:
        """Whether it ended with a result; one that is terminated once its bill is closed has none."""
        session, call_uuid, document = await begun_by(self._system, self._receiver, *self._parties)
        self.uuid = session["session_uuid"]
        bothering = asyncio.create_task(self._bother())
        await self._pause(0.5)
        await rest_of_call(self._system, document, call_uuid)
        await bothering
        while True:
            try:
                await self._system.sessions.expire(self.uuid)
                break
            except SessionAlreadyExpired:
                break
            except SessionError:
                await asyncio.sleep(0.3)
        if self._chance.random() < 0.3:
            await self._terminate()
        while True:
            try:
                await self._system.sessions.final_bill(self.uuid)
            except SessionError:
                if (await self._resume()).startswith("its bill is closed"):
                    return False
            else:
                return True


async def test_whatever_is_terminated_whenever_ends_as_if_nothing_had_been_and_proves_it(
    system: System, receiver: Receiver, operator: Operator, keyring: Keyring, task_queue: str
) -> None:
    expected = await undisturbed(system, receiver)
    names = Counter(each["EventName"] for each in expected.callbacks)
    resumed = compared = 0
    for first in range(0, SESSIONS, AT_ONCE):
        async with system.database.transaction() as connection:
            await connection.execute("DELETE FROM routes")
        some = [
            Disturbed(system, receiver, resumer(system, keyring, task_queue), number)
            for number in range(first, min(first + AT_ONCE, SESSIONS))
        ]
        ended = await asyncio.gather(*(each.live() for each in some))
        resumed += sum(each.resumed for each in some)
        for each in (each for each, whole in zip(some, ended, strict=True) if whole):
            compared += 1
            is_now = await Ended.of(system, receiver, each.uuid)
            assert (is_now.bill, is_now.entries) == (expected.bill, expected.entries), f"{each.uuid}, seed {SEED}"
            assert Counter(told["EventName"] for told in is_now.callbacks) == names, f"{each.uuid}, seed {SEED}"
            assert set((await operator.verified(each.uuid)).values()) == {"proven"}, f"{each.uuid}, seed {SEED}"
    assert resumed > SESSIONS
    assert compared > SESSIONS / 2
