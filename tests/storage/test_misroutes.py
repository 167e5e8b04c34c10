"""A reduced `python -m benchmarks.misroutes`: nobody reaches the wrong person, whatever the order and the time."""

from __future__ import annotations

import random
from datetime import datetime

import pytest
from rich.console import Console
from rich.progress import Progress

from benchmarks import misroutes
from masking.domain.routing import CallPolicy, Decision, Guesses, Route, decide

pytestmark = [pytest.mark.anyio, pytest.mark.long]


async def run(url: str, steps: int, seed: int) -> misroutes.World:
    with Progress(console=Console(quiet=True)) as progress:
        return await misroutes.run(url, steps, seed, progress)


async def test_nobody_ever_reaches_the_wrong_person(clocked_url: str) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    world = await run(clocked_url, 800, seed)

    assert world.misroutes == 0
    assert world.done["connected"] > 50
    assert world.done["not connected"] > 50


async def test_the_run_would_see_a_misroute(clocked_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets_expiry(called: str, route: Route, guesses: Guesses, now: datetime, policy: CallPolicy) -> Decision:
        return decide(called, route, guesses, datetime.min.replace(tzinfo=now.tzinfo), policy)

    monkeypatch.setattr(misroutes, "decide", forgets_expiry)
    assert (await run(clocked_url, 500, 7)).misroutes > 10
