"""A system as a person starts, uses, stops and kills it: real processes, real ports."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.process import OURS as LOGGERS
from tests.integration.conftest import free_port

MASKING = [sys.executable, "-m", "masking"]
OURS = ("MASKING_", "TEMPORAL_", "DATABASE_URL")
FIRST, SECOND = "+12025550171", "+12025550172"
"""Phones that no story of ours picks: the demo's and the examples' are between 0110 and 0139."""


def environment(data: Path, **more: str) -> dict[str, str]:
    """A clean environment with free ports and a data folder of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    ports = tuple(f"MASKING_{of}PORT" for of in ("", "METRICS_", "CODEC_", "SIMULATOR_", "TEMPORAL_", "TEMPORAL_UI_"))
    # A killed worker's sessions are taken over soon: tests kill many, and have no bursts.
    ours = {"MASKING_DATA": str(data), "MASKING_STICKY_TIMEOUT": "2"}
    return clean | {name: str(free_port()) for name in ports} | ours | more


@contextmanager
def logging_of_its_own() -> Iterator[None]:
    """Let a process's settings of logging end with it: they also tell handlers what not to say twice."""
    root = logging.getLogger()
    handlers, levels = root.handlers, {name: logging.getLogger(name).level for name in ("", *LOGGERS)}
    root.handlers = []
    try:
        yield
    finally:
        root.handlers = handlers
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def masking(env: dict[str, str], *arguments: str) -> Result:
    """Run a command of ours with these variables, in this process: a new one would be busy importing for a second."""
    others = dict.fromkeys(name for name in os.environ if name.startswith(OURS) and name not in env)
    with logging_of_its_own():
        done = CliRunner().invoke(app, arguments, env={**others, **env})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def until(condition: Callable[[], object], within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def command_of(process: psutil.Process) -> str:
    """Its command line; empty for one that ended a moment ago."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class Run:
    """A running `masking run --json`."""

    command: Sequence[str] = (*MASKING, "run", "--json")

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 it ends with the block
        self.start()

    def start(self) -> None:
        """Start it; again, with the same settings and data, once it has ended."""
        self._output.seek(0)
        self._output.truncate()
        self.process = subprocess.Popen(
            self.command, env=self.env, stdout=self._output, stderr=self._output, start_new_session=True
        )
        try:
            until(lambda: self.process.poll() is not None or self._told(), within=90)
            told = self._told()
            assert told is not None, self.said()
        except AssertionError:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)
            self._output.close()
            raise
        self.ready = told
        self.http = httpx.Client(auth=(self.ready["auth_id"], self.ready["auth_token"]), timeout=10, trust_env=False)
        self.api = f"{self.ready['api_url']}/v1/Account/{self.ready['auth_id']}/Masking/Session"

    def said(self) -> str:
        """What it has said since it was started."""
        # Without moving the place at which it writes.
        return os.pread(self._output.fileno(), 1 << 20, 0).decode(errors="replace")

    def _told(self) -> dict[str, Any] | None:
        """What it told when it became ready; None until then."""
        for line in self.said().splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n"):
                told: dict[str, Any] = json.loads(line)
                return told
        return None

    def tree(self) -> list[psutil.Process]:
        children: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return children

    def named(self, part: str) -> psutil.Process:
        return next(process for process in self.tree() if part in command_of(process))

    def create(self, **arguments: Any) -> dict[str, Any]:
        """A session of a customer who asks again where the outcome is not known in time, as on a busy machine."""
        body = {"first_party": FIRST, "second_party": SECOND} | arguments
        key, deadline = {"Idempotency-Key": str(uuid4())}, time.monotonic() + 60
        while True:
            response = self.http.post(f"{self.api}/", json=body, headers=key)
            if response.status_code != 503 or time.monotonic() > deadline:
                break
            time.sleep(0.3)
        assert response.status_code == 201, response.text
        session: dict[str, Any] = response.json()["session"]
        return session

    def get(self, uuid: str) -> dict[str, Any]:
        response = self.http.get(f"{self.api}/{uuid}/")
        assert response.status_code == 200, response.text
        session: dict[str, Any] = response.json()["response"]
        return session

    def expire(self, uuid: str) -> None:
        """The same for its end."""
        deadline = time.monotonic() + 60
        while (response := self.http.delete(f"{self.api}/{uuid}/")).status_code == 503 and time.monotonic() < deadline:
            time.sleep(0.3)
        assert response.status_code == 200 or "already expired" in response.text, response.text

    def phone(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        response = self.http.request(method, f"{self.ready['simulator_url']}/v1/phones/{path}", json=body)
        assert response.is_success, response.text
        view: dict[str, Any] = response.json()
        return view

    def masking(self, *arguments: str) -> Result:
        """Run a command of ours beside the system."""
        return masking(self.env, *arguments)

    def told(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """What a command says with `--json`, once it exits with `code`."""
        done = self.masking(*arguments, "--json")
        assert done.exit_code == code, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def stop(self) -> tuple[int, str]:
        """Ctrl-C, and its end. The exit code and what was said."""
        self.http.close()
        self.interrupt()
        return self.process.wait(60), self.said()

    def kill(self) -> None:
        """Kill it alone; its parts have to see to themselves."""
        self.http.close()
        self.process.kill()
        self.process.wait(10)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever state a test left it in, leave nothing behind."""
        if self.process.poll() is None:
            for process in self.tree():
                # It may be on its way out already.
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self.kill()
        self._output.close()


def gone(processes: list[psutil.Process]) -> bool:
    return all(not p.is_running() or _is_dead(p) for p in processes)


def _is_dead(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
