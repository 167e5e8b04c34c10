"""`masking run` as a person starts, kills and stops it, and what each of its ends leaves.

It is one system, and all of this happens to it in this order: a SIGTERM to its parts, a `kill -9` of them, a stop,
another start, and at last a `kill -9` of the whole.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.processes.running import FIRST, MASKING, SECOND, Run, command_of, environment, gone, masking, until
from tests.systems.sigterm import (
    SlowCustomer,
    attempts,
    customers,
    settled,
    the_gateway_answers_every_request_that_it_accepted,
    the_worker_finishes_what_it_began,
)

pytestmark = [pytest.mark.anyio, pytest.mark.processes, pytest.mark.long, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Run(environment(tmp_path_factory.mktemp("run") / "data", MASKING_REQUEST_LIMIT="0")) as running:
        yield running


def data_of(run: Run) -> Path:
    return Path(run.env["MASKING_DATA"])


def test_it_comes_up_and_answers(run: Run) -> None:
    assert run.http.get(f"{run.ready['api_url']}/healthz").status_code == 200
    assert re.fullmatch(r"MA[A-Z0-9]{18}", run.ready["auth_id"])
    assert run.http.get(run.ready["temporal_ui_url"]).status_code == 200
    assert run.masking("health", "gateway").exit_code == 0
    its_temporal = {"TEMPORAL_ADDRESS": f"127.0.0.1:{run.env['MASKING_TEMPORAL_PORT']}"}
    beside = run.env | its_temporal | {"MASKING_KEYS_FILE": f"{run.env['MASKING_DATA']}/keys.json"}
    assert masking(beside, "health", "worker").exit_code == 0
    assert len(run.tree()) >= 5


async def test_what_a_sigterm_interrupts_is_finished_and_done_once(run: Run) -> None:
    customer = SlowCustomer()
    async with customers(run) as http, customer.serving() as url:
        await the_gateway_answers_every_request_that_it_accepted(run, http)
        uuids = await the_worker_finishes_what_it_began(run, http, customer, url)
        async with asyncio.timeout(100):
            while not await settled(data_of(run), len(uuids)):  # noqa: ASYNC110 it is another process
                await asyncio.sleep(0.3)

    assert customer.took == {f"{uuid}:session:1": 1 for uuid in uuids}
    assert await attempts(run) == {1}
    assert "gateway ended (exit code 0)" in run.said()
    assert "worker ended (exit code 0)" in run.said()
    assert "Traceback" not in (data_of(run) / "logs" / "worker.log").read_text()


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

    processes, token = run.tree(), run.ready["auth_token"]
    code, said = run.stop()
    assert code == 0
    assert "Stopped." in said
    assert "Traceback" not in said
    assert "Traceback" not in (data_of(run) / "logs" / "worker.log").read_text()
    assert gone(processes)
    run.start()
    kept = run.get(session["session_uuid"])
    assert kept["status"] == "active"
    assert kept["total_call_count"] == 2
    assert run.ready["auth_token"] == token

    run.phone("POST", f"{SECOND}/dial", {"to": number})
    until(lambda: run.phone("GET", FIRST)["state"] == "talking")
    run.phone("POST", f"{SECOND}/hangup")
    until(lambda: run.get(session["session_uuid"])["total_call_count"] == 4)
    run.expire(session["session_uuid"])
    assert run.get(session["session_uuid"])["status"] == "expired"


def _has(run: Run, part: str) -> bool:
    return any(part in command_of(process) for process in run.tree())


STRANGERS = (f"+1202558{n:04}" for n in count())
"""Phones that have no session yet."""


def created(run: Run) -> dict[str, Any]:
    """A session of a customer who tries again while a part that was killed is not back yet."""
    made: list[dict[str, Any]] = []
    parties = {"first_party": next(STRANGERS), "second_party": next(STRANGERS)}

    def create() -> bool:
        with suppress(AssertionError, httpx.TransportError):
            made.append(run.create(**parties))
        return bool(made)

    until(create)
    return made[0]


@pytest.mark.parametrize("part", ["masking.gateway", "postgres -D", "server start-dev"])
def test_any_killed_service_comes_back_and_keeps_the_sessions(run: Run, part: str) -> None:
    session = created(run)
    victim = next(p for p in run.tree() if part in command_of(p) and "masking.embedded.guard" not in command_of(p))
    victim.kill()
    until(lambda: gone([victim]))

    def extended() -> bool:
        try:
            answer = run.http.post(f"{run.api}/{session['session_uuid']}/", json={"session_expiry": 7200})
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    until(extended, within=60)
    assert run.get(session["session_uuid"])["duration"] >= 7200


def test_its_sessions_are_found_and_ended_by_a_query_and_other_namespaces_find_the_service(run: Run) -> None:
    session = created(run)["session_uuid"]
    query = f"WorkflowId = 'session-{session}' AND MaskingStatus = 'active'"
    until(lambda: run.told("sessions", "expire", "--query", query, "--dry-run")["would_expire"] == [session])

    ended = run.told("sessions", "expire", "--account", run.ready["auth_id"], "--query", query, "--yes")

    assert ended == {"expired": [session], "over_already": [], "failed": {}}
    assert run.get(session)["status"] == "expired"
    address = f"127.0.0.1:{run.env['MASKING_TEMPORAL_PORT']}"
    command = ["operator", "nexus", "endpoint", "get", "--name", "masking", "--address", address, "--output", "json"]
    told = subprocess.run(
        [str(Path(sys.executable).parent / "temporal"), *command],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert json.loads(told.stdout)["spec"]["target"]["worker"] == {"namespace": "default", "taskQueue": "masking"}


def test_it_uses_the_services_it_is_given(run: Run, tmp_path: Path, postgres_url: str) -> None:
    """Another system on the same machine, with a PostgreSQL and a Temporal that exist already."""
    address = f"127.0.0.1:{run.env['MASKING_TEMPORAL_PORT']}"
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


def test_the_demo_exits_with_1_when_a_step_does_not_happen(run: Run) -> None:
    # In a process of its own, since the official SDK leaves connections open.
    env = run.env | {"MASKING_DEMO_AUTH_TOKEN": "not the token"}
    done = subprocess.run(
        [*MASKING, "demo", "--json"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert "create_masking_session failed" in report["failure"]


def test_a_second_run_on_the_same_data_is_refused(run: Run) -> None:
    done = masking(environment(Path(run.env["MASKING_DATA"])), "run")
    assert (done.exit_code, done.stdout) == (2, "masking is starting\n")
    assert re.fullmatch("masking: another `masking run` uses .*\n", done.stderr)


def test_when_it_is_killed_no_process_is_left(run: Run) -> None:
    processes = run.tree()
    assert len(processes) >= 5
    run.kill()
    until(lambda: gone(processes))
