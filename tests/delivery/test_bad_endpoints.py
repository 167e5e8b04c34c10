"""However an endpoint fails, the try ends in time, its outcome and answer are kept, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from masking.delivery.sender import Patience
from masking.privacy.keyring import Keyring
from masking.storage.callback_records import Attempt, show
from masking.storage.database import Database
from tests.delivery.bad_endpoint import (
    BadEndpoint,
    Behaviour,
    answers,
    gigabyte,
    hint,
    read_request,
    reset,
    self_signed,
    speak_at_once,
    stall,
)
from tests.delivery.test_sender import Customer, Queue, sending, until
from tests.integration.conftest import free_port

pytestmark = pytest.mark.anyio

ONE_TRY = Patience(timedelta(0), timedelta(seconds=1))
DRIP = [b"HTTP/1.1 200 OK\r\n", *(b"X-%d: a\r\n" % n for n in range(1000))]


@pytest.fixture
def queue(database: Database, keyring: Keyring) -> Queue:
    return Queue(database, keyring)


async def tries(queue: Queue, callback_id: str) -> list[Attempt]:
    async with queue.database.transaction() as connection:
        shown = await show(connection, queue.keyring, callback_id, None)
    assert shown is not None
    return list(shown.attempts)


async def only_tries(queue: Queue, urls: Mapping[str, str]) -> dict[str, Attempt]:
    """What came of the only try of a callback to each of these addresses, by their names. All at once."""
    ids = {}
    for name, url in urls.items():
        session = await queue.session()
        await queue.put(session, url, 1)
        ids[name] = f"{session.session_uuid}:session:1"
    found: dict[str, Attempt] = {}
    async with sending(queue.database, queue.keyring, ONE_TRY), asyncio.timeout(60):
        while len(found) < len(ids):
            await asyncio.sleep(0.05)
            found = {name: each[0] for name, callback_id in ids.items() if (each := await tries(queue, callback_id))}
    for name, callback_id in ids.items():
        status = found[name].status
        taken = status is not None and 200 <= status < 300
        (record,) = await queue.records(callback_id)
        assert record.state == ("delivered" if taken else "dead"), name
        assert (record.attempts, record.last_outcome) == (1, found[name].outcome), name
    return found


async def one_try(queue: Queue, url: str) -> Attempt:
    return (await only_tries(queue, {"it": url}))["it"]


def head(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


WAYS_TO_FAIL: dict[str, tuple[Behaviour, str, int | None, str | None]] = {
    "stalls": (stall, "no answer in time", None, None),
    "resets": (reset, "no proper answer", None, None),
    "closes": (answers(), "no proper answer", None, None),
    "is no HTTP": (answers(b"SSH-2.0-nothing\r\n"), "no proper answer", None, None),
    "stops in the status line": (answers(b"HTTP/1.1 200"), "no proper answer", None, None),
    "has an endless header": (answers(head("200 OK", "X: " + "x" * 100_000)), "no proper answer", None, None),
    "has headers without end": (answers(head("200 OK", *["X: y"] * 100_000)), "no proper answer", None, None),
    "hints without end": (hint, "no proper answer", None, None),
    "hints and answers": (
        answers(head("103 Early Hints", "Link: </x>") * 3 + head("200 OK", "Content-Length: 2") + b"ok"), "HTTP 200",
        200, "ok",
    ),
    "has a reason": (answers(head("500 Oh", "Content-Length: 11"), b"no such row"), "HTTP 500", 500, "no such row"),
    "answers less than it said": (answers(head("404 No", "Content-Length: 9"), b"<p>"), "HTTP 404", 404, "<p>"),
    "answers much": (answers(head("400 No", "Content-Length: 6000"), b"<p>" * 2000), "HTTP 400", 400, "<p>" * 85 + "<"),
    "redirects": (
        answers(head("302 Go", "Location: http://169.254.169.254/", "Content-Length: 0")), "HTTP 302", 302, None,
    ),
    "chunks": (
        answers(head("200 OK", "Transfer-Encoding: chunked"), b"2\r\nok\r\n0\r\n\r\n"), "HTTP 200", 200, "ok",
    ),
    "drips": (answers(head("200 OK", "Content-Length: 100") + b"a", *[b"a"] * 49, pause_s=0.05), "HTTP 200", 200, "a"),
    "answers no text": (
        answers(head("503 No", "Content-Length: 3"), b"\xff\x00\xe9"), "HTTP 503", 503, "\\xff\x00\\xe9",
    ),
    "answers a gigabyte": (gigabyte, "HTTP 200", 200, "x" * 256),
}  # fmt: skip


async def test_each_way_to_fail_ends_in_time_and_is_kept(queue: Queue) -> None:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with AsyncExitStack() as stack:
        urls = {
            name: await stack.enter_async_context(BadEndpoint(behaviour).listening())
            for name, (behaviour, *_) in WAYS_TO_FAIL.items()
        }
        found = await only_tries(queue, urls)
    assert {name: (each.outcome, each.status) for name, each in found.items()} == {
        name: (told, status) for name, (_, told, status, _) in WAYS_TO_FAIL.items()
    }
    # How much of what drips comes in the time that it gets, varies.
    dripped = found["drips"].answer
    assert dripped is not None
    assert 1 <= len(dripped) < 50
    assert {name: each.answer for name, each in found.items()} == {
        name: dripped if name == "drips" else answer for name, (_, _, _, answer) in WAYS_TO_FAIL.items()
    }
    assert max(each.duration_ms for each in found.values()) < 15_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 64 * 1024, "KiB"


async def test_an_endpoint_that_goes_on_answering_is_not_listened_to(queue: Queue) -> None:
    """The connection stays for the next callback: what comes meanwhile would be kept."""
    sent, ended = 0, asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        answer = head("200 OK", "Content-Length: 0")
        writer.write(answer)
        await asyncio.sleep(0.3)
        try:
            while True:
                writer.write(answer * 1000)
                await writer.drain()
                sent += 1000 * len(answer)
        finally:
            ended.set()

    session = await queue.session()
    async with BadEndpoint(flood).listening() as url:
        await queue.put(session, url, 1)
        async with sending(queue.database, queue.keyring), asyncio.timeout(60):
            await ended.wait()
    assert sent < 10_000_000
    assert [state for _, state, _, _ in await queue.states()] == ["delivered"]


async def test_headers_that_drip_do_not_hold_a_try_longer_than_it_may_take(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes within the read time-out; all of them never do."""
    monkeypatch.setattr("masking.delivery.request.AT_MOST_S", 2.0)
    async with BadEndpoint(answers(*DRIP, pause_s=0.1)).listening() as url:
        attempt = await one_try(queue, url)
    assert attempt.outcome == "no answer in time"
    assert 1900 <= attempt.duration_ms < 15_000, "all bytes would take 100 s"


async def test_a_certificate_that_nobody_vouches_for_gets_nothing(queue: Queue, tmp_path: Path) -> None:
    endpoint = BadEndpoint(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), self_signed(tmp_path))
    async with endpoint.listening() as url:
        attempt = await one_try(queue, url)
    assert attempt.outcome == "no trusted TLS"
    assert endpoint.connections == 0, "nothing got through the handshake"


async def test_tls_where_there_is_none(queue: Queue) -> None:
    async with BadEndpoint(speak_at_once).listening() as url:
        attempt = await one_try(queue, url.replace("http:", "https:"))
    assert attempt.outcome == "no trusted TLS"


async def test_each_try_is_kept_until_one_is_taken(queue: Queue) -> None:
    customer = Customer()
    customer.statuses = [500, 503]
    began = time.time()
    async with customer.listening():
        session = await queue.session()
        await queue.put(session, customer.url(), 1)
        async with sending(queue.database, queue.keyring):
            await until(lambda: len(customer.taken) == 3)
    found = await tries(queue, f"{session.session_uuid}:session:1")
    assert [(each.outcome, each.status) for each in found] == [("HTTP 500", 500), ("HTTP 503", 503), ("HTTP 200", 200)]
    times = [each.began_at.timestamp() for each in found]
    assert times == sorted(times)
    assert began <= times[0]
    assert times[1] - times[0] >= 1, "a pause lies between"
    assert times[-1] <= time.time()


async def test_what_was_never_connected_is_kept_too(queue: Queue) -> None:
    attempt = await one_try(queue, f"http://127.0.0.1:{free_port()}/events")
    assert (attempt.outcome, attempt.status, attempt.answer) == ("no connection", None, None)
