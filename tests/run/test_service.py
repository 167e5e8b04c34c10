"""A supervised process: ready in time, alive once it is, with the environment it is meant to have."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from masking.errors import StartupError
from masking.run import service
from masking.run.service import RunningService, Service

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(service: Service, logs: Path, needs: Sequence[RunningService] = ()) -> AsyncIterator[RunningService]:
    lifeline, write_end = os.pipe()
    process = RunningService(service, lifeline, logs, lambda said: None, needs)
    try:
        yield process
    finally:
        await process.stop()
        os.close(lifeline)
        os.close(write_end)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def never(pid: int) -> bool:
    return False


async def test_what_is_not_ready_in_time_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "READY_WITHIN_S", 0.3)
    async with running(Service("sleeper", python("import time; time.sleep(60)"), never), tmp_path) as sleeper:
        with pytest.raises(StartupError, match=r"sleeper was not ready within 0\.3 s; see .*sleeper\.log"):
            await sleeper.start()


async def test_a_process_that_has_ended_is_not_ready_whoever_answers_in_its_place(tmp_path: Path) -> None:
    async def another_answers(pid: int) -> bool:
        while psutil.pid_exists(pid):  # noqa: ASYNC110 it is another process
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        return True

    dead = Service("dead", python("print('no port for me', flush=True); raise SystemExit(2)"), another_answers)
    async with running(dead, tmp_path) as process:
        with pytest.raises(StartupError, match="no port for me"):
            await process.start()


async def test_it_is_asked_by_its_id_and_inherits_only_what_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "elsewhere")
    asked: list[int] = []

    async def has_written(pid: int) -> bool:
        asked.append(pid)
        return (tmp_path / "told.log").read_text().strip() != ""

    code = "import os, time; e = os.environ; print(e.get('TEMPORAL_NAMESPACE'), e['GIVEN'], flush=True); time.sleep(60)"
    told = Service("told", python(code), has_written, {"TEMPORAL_NAMESPACE": None, "GIVEN": "this"})
    async with running(told, tmp_path) as process:
        await process.start()
        assert set(asked) == {process.pid}
        assert (tmp_path / "told.log").read_text() == "None this\n"


async def test_it_waits_for_what_it_needs_and_does_not_give_up_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(service, "LAST_PAUSE_S", 0.001)
    there = True

    async def is_there(pid: int) -> bool:
        return there

    async def has_written(pid: int) -> bool:
        return "begins" in (tmp_path / "user.log").read_text()

    def begins() -> int:
        return (tmp_path / "user.log").read_text().count("begins")

    code = python("import time; print('begins', flush=True); time.sleep(60)")
    async with running(Service("used", python("import time; time.sleep(60)"), is_there), tmp_path) as used:
        await used.start()
        async with running(Service("user", code, has_written, needs=("used",)), tmp_path, [used]) as user:
            watching = await user.start()
            there = False
            assert user.pid is not None
            psutil.Process(user.pid).kill()
            await asyncio.sleep(0.5)
            assert begins() == 1

            there = True
            async with asyncio.timeout(30):
                while begins() < 2:  # noqa: ASYNC110 it is another process
                    await asyncio.sleep(0.01)
            assert not watching.done()
