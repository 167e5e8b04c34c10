"""PostgreSQL that takes no writes: read-only, and with a full disk. Clear errors, and nothing acknowledged is lost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import httpx
import psycopg
import pytest

from masking.carriers.signature import signed_headers
from masking.embedded.postgres import running_database_url
from masking.privacy.key_files import load_keyring
from masking.settings import Settings
from tests.processes.running import FIRST, SECOND, Run, environment, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

REFUSAL = "The service cannot reach its storage at the moment. Try again."
ENOUGH_REFUSED = 5
MOST_CREATES = 400
CLAIMS_END_AFTER_S = 120.0
"""Callbacks whose outcome could not be written down are sent again when their claim has ended, after 90 s."""


class Customer:
    """A customer's endpoint, in a thread: the callbacks that came, each once."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, str]] = {}
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                told[self.headers["X-Masking-Callback-Id"]] = {name: values[0] for name, values in form.items()}
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def names(self, session_uuid: str) -> Counter[str]:
        return Counter(each["EventName"] for each in self.told.values() if each["SessionUUID"] == session_uuid)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def customer() -> Iterator[Customer]:
    customer = Customer()
    yield customer
    customer.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose PostgreSQL has 120 MB, where a file system of a limited size can be mounted."""
    data = tmp_path_factory.mktemp("disk") / "data"
    folder = data / "postgres"
    folder.mkdir(parents=True)
    mount = ("mount", "-t", "tmpfs", "-o", "size=120m", "masking-test", str(folder))
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, timeout=10, check=False).returncode == 0
    try:
        yield data
    finally:
        if mounted:
            subprocess.run(("umount", "-l", str(folder)), timeout=10, check=True)


@pytest.fixture(scope="module")
def run(data: Path) -> Iterator[Run]:
    with Run(environment(data, MASKING_SIMULATOR_SPEED="10", MASKING_REQUEST_LIMIT="0")) as running:
        yield running


class Asked:
    """Creates of a customer who repeats each with its key, of four digits, until it is answered."""

    def __init__(self, run: Run, customer: Customer) -> None:
        self._run, self._customer = run, customer
        self.acknowledged: dict[str, str] = {}
        self.refused: dict[str, httpx.Response] = {}

    def create(self, key: str) -> httpx.Response | None:
        body = {"first_party": f"+1202556{key}", "second_party": f"+1202557{key}"}
        urls = {"callback_url": self._customer.url}
        with suppress(httpx.TransportError):
            answer = self._run.http.post(f"{self._run.api}/", json=body | urls, headers={"Idempotency-Key": key})
            if answer.status_code == 201:
                self.acknowledged[key] = answer.json()["session_uuid"]
            else:
                self.refused[key] = answer
            return answer
        return None


def tables(data: Path) -> psycopg.Connection[tuple[Any, ...]]:
    url = running_database_url(data / "postgres")
    assert url is not None
    return psycopg.connect(url, autocommit=True)


def log(data: Path, name: str) -> str:
    return (data / "logs" / f"{name}.log").read_text()


def others_must_connect_anew(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )


@contextmanager
def read_only(data: Path) -> Iterator[None]:
    with tables(data) as connection:
        connection.execute("ALTER DATABASE masking SET default_transaction_read_only = on")
        others_must_connect_anew(connection)
        try:
            yield
        finally:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER DATABASE masking RESET default_transaction_read_only")
            others_must_connect_anew(connection)


def incoming_call(run: Run, data: Path, number: str) -> httpx.Response:
    """What a carrier asks when a call reaches a number."""
    token = load_keyring(Settings(keys_file=data / "keys.json")).derived_token("carrier")
    url = f"{run.ready['api_url']}/carrier/voice/answer"
    form = {"CallUUID": str(uuid4()), "From": FIRST.removeprefix("+"), "To": number.removeprefix("+")}
    return run.http.post(url, data=form, headers=signed_headers("POST", url, form, [token]))


def settled(data: Path, sessions: int) -> bool:
    with suppress(psycopg.OperationalError), tables(data) as connection:
        (row,) = connection.execute(
            "SELECT (SELECT count(*) FROM settlements), (SELECT count(*) FROM inbox WHERE forwarded_at IS NULL),"
            " (SELECT count(*) FROM callbacks WHERE state <> 'delivered')"
        ).fetchall()
        return row == (sessions, 0, 0)
    return False


def eventually(act: Callable[[], httpx.Response | None], *statuses: int) -> httpx.Response:
    """Ask until one of these is the answer."""
    deadline = time.monotonic() + 90
    while True:
        with suppress(httpx.TransportError):
            answer = act()
            if answer is not None and answer.status_code in statuses:
                return answer
        assert time.monotonic() < deadline, "it was not answered"
        time.sleep(0.3)


def expire(run: Run, uuid: str) -> None:
    """End a session; that it was ended may be all that is learnt of a try that was not answered in time."""
    answer = eventually(lambda: run.http.delete(f"{run.api}/{uuid}/"), 200, 400)
    assert answer.status_code == 200 or answer.json()["error"] == "Session already expired"


def test_while_the_database_is_read_only_errors_are_clear_and_afterwards_nothing_is_missing(
    run: Run, data: Path, customer: Customer
) -> None:
    session = run.create(callback_url=customer.url)
    number, address = f"+{session['virtual_number']}", f"{run.api}/{session['session_uuid']}/"
    run.phone("PUT", SECOND, {"on_ring": "answer", "answers_after": 1})
    run.phone("POST", f"{FIRST}/dial", {"to": number})
    until(lambda: run.phone("GET", SECOND)["state"] == "talking")
    asked = Asked(run, customer)

    with read_only(data):
        for _ in range(10):
            answer = asked.create("1000")
            assert answer is not None
            assert answer.status_code == 503
            assert answer.json() == {"api_id": answer.json()["api_id"], "error": REFUSAL}
            assert answer.headers["Retry-After"] == "1"
        assert incoming_call(run, data, number).status_code == 503
        run.phone("POST", f"{FIRST}/hangup")
        time.sleep(3)
        assert run.get(session["session_uuid"])["total_call_count"] == 0

    eventually(lambda: asked.create("1000"), 201)
    until(lambda: run.get(session["session_uuid"])["total_call_count"] == 2, within=60)
    for uuid in (session["session_uuid"], asked.acknowledged["1000"]):
        expire(run, uuid)
    until(lambda: settled(data, 2), within=CLAIMS_END_AFTER_S)

    final = run.http.get(address).json()["response"]
    assert final["status"] == "expired"
    assert [each["total_call_count"] for each in final["interaction"]] == [2]
    assert customer.names(session["session_uuid"]) == {
        "SessionFirstPartyAnswer": 1,
        "SessionSecondPartyRing": 1,
        "SessionSecondPartyAnswer": 1,
        "SessionSecondPartyHangup": 1,
        "SessionFirstPartyHangup": 1,
        "SessionPartiesHangup": 1,
        "SessionTimeout": 1,
    }
    for name in ("gateway", "worker"):
        assert "Traceback" not in log(data, name)
        lines = [line for line in log(data, name).splitlines() if "WARNING" in line or "ERROR" in line]
        assert len(lines) < 20, lines
        told = Counter(re.sub(r"^\S+ \S+ ", "", line) for line in lines)
        assert set(told.values()) <= {1}, told
    assert log(data, "gateway").count("PostgreSQL is read-only: requests are answered with 503") == 1


def sessions_of(run: Run) -> int:
    """How many the account has."""
    listed = eventually(lambda: run.http.get(f"{run.api}/?limit=1"), 200).json()
    count: int = listed["response"]["meta"]["total_count"]
    return count


def fill(folder: Path) -> Path:
    """Leave nothing of a disk."""
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(64 * 1024))
    return ballast


def test_a_full_disk_refuses_clearly_and_loses_nothing_that_was_acknowledged(
    run: Run, data: Path, customer: Customer
) -> None:
    if not os.path.ismount(data / "postgres"):
        pytest.skip("a file system of a limited size cannot be mounted here: it takes root and CAP_SYS_ADMIN")
    before = sessions_of(run)
    asked = Asked(run, customer)
    for n in range(5):
        asked.create(str(2000 + n))
    first = asked.acknowledged["2000"]
    number = f"+{run.get(first)['virtual_number']}"
    run.phone("PUT", "+12025572000", {"on_ring": "answer", "answers_after": 1})
    run.phone("POST", "+12025562000/dial", {"to": number})
    until(lambda: run.phone("GET", "+12025572000")["state"] == "talking")

    ballast = fill(data / "postgres")
    n = 5
    while len(asked.refused) < ENOUGH_REFUSED and n < MOST_CREATES:
        asked.create(str(2000 + n))
        n += 1
    refused = dict(asked.refused)
    run.phone("POST", "+12025562000/hangup")
    time.sleep(3)
    ballast.unlink()

    assert len(refused) == ENOUGH_REFUSED, "the disk was never full"
    assert {answer.status_code for answer in refused.values()} == {503}
    for key in refused:
        eventually(lambda: asked.create(key), 201)  # noqa: B023 it is asked at once
    sessions = set(asked.acknowledged.values())
    assert len(sessions) == n
    for uuid in sessions:
        eventually(lambda: run.http.get(f"{run.api}/{uuid}/"), 200)  # noqa: B023
    assert sessions_of(run) == before + n
    until(lambda: run.get(first)["total_call_count"] == 2, within=90)

    for uuid in sessions:
        expire(run, uuid)
    until(lambda: settled(data, before + n), within=CLAIMS_END_AFTER_S)
    assert customer.names(first)["SessionPartiesHangup"] == 1
    assert sum(each["EventName"] == "SessionTimeout" for each in customer.told.values()) == n
    print(json.dumps({"sessions": n, "refused": [a.json()["error"] for a in refused.values()]}))  # noqa: T201
    for name in ("gateway", "worker"):
        assert "Traceback" not in log(data, name)
    assert log(data, "gateway").count("PostgreSQL's disk is full: requests are answered with 503") <= 1
