"""A process that the supervisor keeps alive."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from masking.errors import StartupError
from masking.lifeline import LIFELINE_VARIABLE
from masking.process import EXIT_CANNOT_START

READY_WITHIN_S = 60.0
STOP_GRACE_S = 25.0
FIRST_PAUSE_S, LAST_PAUSE_S = 0.2, 5.0
MANY_DEATHS, WITHIN_S = 5, 60.0
LOOK_EVERY_S = 0.1
LOG_BYTES = 5 * 1024 * 1024


@dataclass(frozen=True)
class Service:
    """What to run, and how to tell that it works.

    Attributes:
        is_ready: whether the process with this id does its work yet.
        environment: what it gets besides our own variables; None for one that it must not have.
        needs: the services without which it cannot start.
    """

    name: str
    command: list[str]
    is_ready: Callable[[int], Awaitable[bool]]
    environment: Mapping[str, str | None] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


class RunningService:
    """A service's process, started again whenever it dies.

    Args:
        lifeline: the read end of the pipe that tells the process when the supervisor is gone.
        logs: the folder of its log file.
        on_restart: called with a sentence each time it is started again.
        needs: what has to be up for it to start; while that is not, it dies of no fault of its own.
    """

    def __init__(
        self,
        service: Service,
        lifeline: int,
        logs: Path,
        on_restart: Callable[[str], None],
        needs: Sequence[RunningService] = (),
    ) -> None:
        self.service = service
        self._lifeline, self._on_restart, self._needs = lifeline, on_restart, needs
        self._log = logs / f"{service.name}.log"
        self._process: asyncio.subprocess.Process | None = None
        self._deaths: deque[float] = deque(maxlen=MANY_DEATHS)
        self._watching: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The process's id, while there is one."""
        return self._process.pid if self._process is not None else None

    async def is_up(self) -> bool:
        """Whether its process is there and does its work."""
        process = self._process
        return process is not None and process.returncode is None and await self.service.is_ready(process.pid)

    async def start(self) -> asyncio.Task[None]:
        """Start it and return once it is ready.

        Returns:
            A task that fails with `StartupError` should the service become hopeless.

        Raises:
            StartupError: it ended, or was not ready in time.
        """
        _shorten(self._log)
        process = await self._spawn()
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                while not await self.service.is_ready(process.pid):
                    self._must_live(process)
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise StartupError(
                f"{self.service.name} was not ready within {READY_WITHIN_S:g} s; see {self._log}"
            ) from None
        # If it has ended, it was another that answered in its place.
        self._must_live(process)
        self._watching = asyncio.create_task(self._keep_alive(process))
        return self._watching

    async def stop(self) -> None:
        """End it: SIGTERM first, SIGKILL after a grace."""
        self._stopping = True
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_GRACE_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    def _must_live(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is not None:
            raise StartupError(self._last_words(process.returncode))

    async def _spawn(self) -> asyncio.subprocess.Process:
        environment = {**os.environ, **self.service.environment, LIFELINE_VARIABLE: str(self._lifeline)}
        with os.fdopen(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.service.command,
                env={name: value for name, value in environment.items() if value is not None},
                pass_fds=(self._lifeline,),
                # Its own session: Ctrl-C reaches the supervisor alone, which ends its services in order.
                start_new_session=True,
                umask=0o077,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self._process

    async def _keep_alive(self, process: asyncio.subprocess.Process) -> None:
        pause = FIRST_PAUSE_S
        while True:
            started_at = time.monotonic()
            code = await process.wait()
            if self._stopping:
                return
            now = time.monotonic()
            if await self._has_what_it_needs():
                self._deaths.append(now)
            if len(self._deaths) == MANY_DEATHS and now - self._deaths[0] < WITHIN_S:
                raise StartupError(f"{self.service.name} keeps dying; {self._last_words(code)}")
            pause = FIRST_PAUSE_S if now - started_at > WITHIN_S else min(pause * 2, LAST_PAUSE_S)
            self._on_restart(f"{self.service.name} ended ({_told(code)}); starting it again")
            await asyncio.sleep(pause)
            while not await self._has_what_it_needs():  # noqa: ASYNC110 these are other processes
                await asyncio.sleep(LOOK_EVERY_S)
            process = await self._spawn()

    async def _has_what_it_needs(self) -> bool:
        return all([await each.is_up() for each in self._needs])

    def _last_words(self, code: int) -> str:
        """What the process said before it ended."""
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        if code == EXIT_CANNOT_START and lines:
            return lines[-1].removeprefix("masking: ")
        last = f": {lines[-1]}" if lines else ""
        return f"{self.service.name} ended ({_told(code)}); see {self._log}{last}"


def _told(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _shorten(log: Path) -> None:
    """Put a log that has grown large aside."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
