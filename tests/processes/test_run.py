"""`masking run` as a person starts, kills and stops it: real processes, real ports."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.privacy.key_files import ensure_keys_file
from masking.process import OURS as LOGGERS
from tests.integration.conftest import free_port

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]

MASKING = [sys.executable, "-m", "masking"]
OURS = ("MASKING_", "TEMPORAL_", "DATABASE_URL")
FIRST, SECOND = "+12025550101", "+12025550102"


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


def until(condition: Callable[[], object], within: float = 30.0) -> None:
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

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.process = subprocess.Popen(
            [*MASKING, "run", "--json"],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate(timeout=10)[1])
        self.ready: dict[str, Any] = json.loads(line)
        self.http = httpx.Client(auth=(self.ready["auth_id"], self.ready["auth_token"]), timeout=10, trust_env=False)
        self.api = f"{self.ready['api_url']}/v1/Account/{self.ready['auth_id']}/Masking/Session"

    def tree(self) -> list[psutil.Process]:
        children: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return children

    def named(self, part: str) -> psutil.Process:
        return next(process for process in self.tree() if part in command_of(process))

    def create(self, **arguments: Any) -> dict[str, Any]:
        response = self.http.post(f"{self.api}/", json={"first_party": FIRST, "second_party": SECOND} | arguments)
        assert response.status_code == 201, response.text
        session: dict[str, Any] = response.json()["session"]
        return session

    def get(self, uuid: str) -> dict[str, Any]:
        response = self.http.get(f"{self.api}/{uuid}/")
        assert response.status_code == 200, response.text
        session: dict[str, Any] = response.json()["response"]
        return session

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

    def stop(self) -> tuple[int, str]:
        """Ctrl-C. The exit code and what was said."""
        self.http.close()
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()

    def kill(self) -> None:
        """Whatever state a test left it in, leave nothing behind."""
        left = self.tree() if self.process.poll() is None else []
        self.http.close()
        for process in (*left, self.process):
            # It may be on its way out already.
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.communicate(timeout=10)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(data: Path) -> Iterator[Run]:
    with Run(environment(data)) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A system for the tests that leave it whole."""
    with Run(environment(tmp_path_factory.mktemp("shared") / "data")) as running:
        yield running


def gone(processes: list[psutil.Process]) -> bool:
    return all(not p.is_running() or _is_dead(p) for p in processes)


def _is_dead(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_it_comes_up_and_answers(shared: Run) -> None:
    assert shared.http.get(f"{shared.ready['api_url']}/healthz").status_code == 200
    assert re.fullmatch(r"MA[A-Z0-9]{18}", shared.ready["auth_id"])
    assert shared.http.get(shared.ready["temporal_ui_url"]).status_code == 200
    assert shared.masking("health", "gateway").exit_code == 0
    its_temporal = {"TEMPORAL_ADDRESS": f"127.0.0.1:{shared.env['MASKING_TEMPORAL_PORT']}"}
    beside = shared.env | its_temporal | {"MASKING_KEYS_FILE": f"{shared.env['MASKING_DATA']}/keys.json"}
    assert masking(beside, "health", "worker").exit_code == 0
    assert len(shared.tree()) >= 5


def test_sessions_survive_a_killed_worker_in_mid_call_and_a_full_restart_and_no_process_is_left(run: Run) -> None:
    session = run.create(record=True, session_expiry=600)
    number = f"+{session['virtual_number']}"
    run.phone("PUT", SECOND, {"on_ring": "answer", "answers_after": 0.2})
    run.phone("POST", f"{FIRST}/dial", {"to": number})
    until(lambda: run.phone("GET", SECOND)["state"] == "talking")

    worker = run.named("worker.py")
    worker.kill()
    run.phone("POST", f"{FIRST}/hangup")
    until(lambda: run.named("worker.py").pid != worker.pid if gone([worker]) and _has(run, "worker.py") else False)
    until(lambda: run.get(session["session_uuid"])["total_call_count"] == 2)
    until(lambda: "recording_resource_url" in run.get(session["session_uuid"])["interaction"][0])

    processes = run.tree()
    code, said = run.stop()
    assert code == 0
    assert "Stopped." in said
    assert "Traceback" not in said
    assert gone(processes)
    with Run(run.env) as again:
        kept = again.get(session["session_uuid"])
        assert kept["status"] == "active"
        assert kept["total_call_count"] == 2
        assert again.ready["auth_token"] == run.ready["auth_token"]

        again.phone("POST", f"{SECOND}/dial", {"to": number})
        until(lambda: again.phone("GET", FIRST)["state"] == "talking")
        again.phone("POST", f"{SECOND}/hangup")
        until(lambda: again.get(session["session_uuid"])["total_call_count"] == 4)
        assert again.http.delete(f"{again.api}/{session['session_uuid']}/").status_code == 200
        assert again.get(session["session_uuid"])["status"] == "expired"

        # Nor when it is killed.
        processes = again.tree()
        assert len(processes) >= 5
        again.http.close()
        again.process.kill()
        again.process.communicate(timeout=10)
        until(lambda: gone(processes))


def _has(run: Run, part: str) -> bool:
    return any(part in command_of(process) for process in run.tree())


def created(run: Run) -> dict[str, Any]:
    """A session of a customer who tries again while a part that was killed is not back yet."""
    made: list[dict[str, Any]] = []

    def create() -> bool:
        with suppress(AssertionError, httpx.TransportError):
            made.append(run.create())
        return bool(made)

    until(create)
    return made[0]


@pytest.mark.parametrize("part", ["masking.gateway", "postgres -D", "server start-dev"])
def test_any_killed_service_comes_back_and_keeps_the_sessions(shared: Run, part: str) -> None:
    session = created(shared)
    victim = next(p for p in shared.tree() if part in command_of(p) and "masking.embedded.guard" not in command_of(p))
    victim.kill()
    until(lambda: gone([victim]))

    def extended() -> bool:
        try:
            answer = shared.http.post(f"{shared.api}/{session['session_uuid']}/", json={"session_expiry": 7200})
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    until(extended, within=60)
    assert shared.get(session["session_uuid"])["duration"] >= 7200


def test_its_sessions_are_found_and_ended_by_a_query_and_other_namespaces_find_the_service(shared: Run) -> None:
    session = created(shared)["session_uuid"]
    query = f"WorkflowId = 'session-{session}' AND MaskingStatus = 'active'"
    until(lambda: shared.told("sessions", "expire", "--query", query, "--dry-run")["would_expire"] == [session])

    ended = shared.told("sessions", "expire", "--account", shared.ready["auth_id"], "--query", query, "--yes")

    assert ended == {"expired": [session], "over_already": [], "failed": {}}
    assert shared.get(session)["status"] == "expired"
    address = f"127.0.0.1:{shared.env['MASKING_TEMPORAL_PORT']}"
    command = ["operator", "nexus", "endpoint", "get", "--name", "masking", "--address", address, "--output", "json"]
    told = subprocess.run(
        [str(Path(sys.executable).parent / "temporal"), *command],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert json.loads(told.stdout)["spec"]["target"]["worker"] == {"namespace": "default", "taskQueue": "masking"}


def test_it_uses_the_services_it_is_given(shared: Run, tmp_path: Path, postgres_url: str) -> None:
    """Another system on the same machine, with a PostgreSQL and a Temporal that exist already."""
    address = f"127.0.0.1:{shared.env['MASKING_TEMPORAL_PORT']}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE given")
    given = postgres_url.replace("/postgres?", "/given?")
    with Run(environment(tmp_path / "other", DATABASE_URL=given, TEMPORAL_ADDRESS=address)) as other:
        assert other.ready["temporal_ui_url"] is None
        started = {command_of(process) for process in other.tree()}
        assert not any("server start-dev" in command or "postgres -D" in command for command in started)
        assert other.stop()[0] == 0
    with psycopg.connect(given) as connection:
        assert connection.execute("SELECT count(*) FROM accounts").fetchall() == [(1,)]


def test_the_demo_exits_with_1_when_a_step_does_not_happen(shared: Run) -> None:
    # In a process of its own, since the official SDK leaves connections open.
    env = shared.env | {"MASKING_DEMO_AUTH_TOKEN": "not the token"}
    done = subprocess.run(
        [*MASKING, "demo", "--json"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert "create_masking_session failed" in report["failure"]


def refusal(env: dict[str, str], *arguments: str) -> str:
    """The one line with which a command refuses to start."""
    done = masking(env, *(arguments or ("run",)))
    assert done.exit_code == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("masking: ")
    return line


def test_a_second_run_on_the_same_data_is_refused(shared: Run) -> None:
    done = masking(environment(Path(shared.env["MASKING_DATA"])), "run")
    assert (done.exit_code, done.stdout) == (2, "masking is starting\n")
    assert re.fullmatch("masking: another `masking run` uses .*\n", done.stderr)


def test_a_port_in_use_is_named(data: Path) -> None:
    env = environment(data)
    with free_listener(int(env["MASKING_TEMPORAL_UI_PORT"])):
        line = refusal(env)
    assert env["MASKING_TEMPORAL_UI_PORT"] in line
    assert "MASKING_TEMPORAL_UI_PORT" in line


class free_listener:
    def __init__(self, port: int) -> None:
        import socket

        self._socket = socket.create_server(("127.0.0.1", port))

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("MASKING_PORT", "eighty", "MASKING_PORT"),
        ("MASKING_HOST", "nowhere.invalid", "MASKING_HOST"),
        ("MASKING_DATA", "/proc", "MASKING_DATA"),
        ("MASKING_DEMO_AUTH_ID", "MAshort", "MA followed by 18 characters"),
        ("MASKING_LOG_LEVEL", "loud", "MASKING_LOG_LEVEL"),
        ("MASKING_DEMO_NUMBERS", "12345", "MASKING_DEMO_NUMBERS"),
        ("MASKING_KEYS", "{}", "MASKING_KEYS is no key ring"),
        ("MASKING_KEYS_FILE", "/nonexistent/keys.json", "MASKING_KEYS_FILE: cannot read"),
        ("MASKING_TEMPORAL_BINARY", "/nonexistent/temporal", "no `temporal` binary"),
        ("DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none", "DATABASE_URL: PostgreSQL does not answer"),
        ("DATABASE_URL", "host=here password=very secret", "DATABASE_URL: must be a URL"),
        ("TEMPORAL_ADDRESS", "127.0.0.1:1", "TEMPORAL_ADDRESS: no Temporal server answers"),
        ("TEMPORAL_CONFIG_FILE", "/nonexistent/temporal.toml", "TEMPORAL_CONFIG_FILE: there is no file"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(data: Path, variable: str, value: str, words: str) -> None:
    line = refusal(environment(data, **{variable: value}))
    assert words in line
    if variable not in ("TEMPORAL_ADDRESS", "MASKING_HOST", "MASKING_DATA"):
        assert value == "{}" or "nonexistent" in value or value not in line


@pytest.mark.parametrize("command", ["gateway", "worker", "simulator", "migrate"])
def test_a_single_process_says_what_it_lacks(data: Path, command: str) -> None:
    assert re.search(r"MASKING_KEYS|DATABASE_URL|MASKING_CARRIER_AUTH_TOKEN", refusal(environment(data), command))


def test_a_gateway_whose_database_is_away_says_so_and_no_more(data: Path) -> None:
    keys = data.with_name("keys.json")
    ensure_keys_file(keys)
    away = environment(
        data,
        MASKING_KEYS_FILE=str(keys),
        MASKING_CARRIER_AUTH_TOKEN="a-token",
        DATABASE_URL="postgresql://nobody:secret@127.0.0.1:1/none",
    )
    assert refusal(away, "gateway") == "masking: DATABASE_URL: PostgreSQL does not answer there or refuses the login"


def test_help_and_version_help() -> None:
    done = subprocess.run([*MASKING, "--help"], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip()
    for arguments in (["run", "--help"], ["demo", "--help"], ["--version"]):
        shown = masking({}, *arguments)
        assert shown.exit_code == 0
        assert shown.stdout.strip()
