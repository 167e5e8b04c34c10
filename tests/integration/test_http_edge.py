"""What comes before a request reaches a handler: compressed bodies, and what is no request at all."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import httpx
import pytest
from aiohttp import web

from masking.carriers.signature import signed_headers
from masking.gateway.login_limit import FAILURES
from masking.gateway.protocol import GatewayRunner
from masking.ports import serving
from masking.privacy.keyring import Keyring
from masking.storage.accounts import TOKEN_LENGTH, ensure_token
from tests.conftest import ACCOUNT, TOKEN
from tests.integration.conftest import CARRIER_TOKEN, System, free_port
from tests.integration.test_sessions_api import PARTIES, error_of

pytestmark = pytest.mark.anyio

SECRET = "2025550101"
JSON = {"Content-Type": "application/json"}


async def posted(system: System, content: bytes, encoding: str) -> httpx.Response:
    return await system.http.post(f"{system.api}/", content=content, headers=JSON | {"Content-Encoding": encoding})


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_body_may_be_compressed_and_must_be_what_it_says(
    system: System, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    body = compress(json.dumps(PARTIES).encode())

    assert (await posted(system, body, encoding)).status_code == 201
    wrong = (400, "The request body is not what its Content-Encoding says.")
    for content in (b"garbage", b"x" * 60_000, body[:-5], body + b"more"):
        assert error_of(await posted(system, content, encoding)) == wrong
    bomb = compress(b"0" * 10_000_000)
    assert error_of(await posted(system, bomb, encoding)) == (413, "the request body is too large")
    empty = await posted(system, b"", encoding)
    assert error_of(empty) == (400, "Mandatory parameter missing. first_party must be present.")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x" * 2000])
async def test_a_body_compressed_in_another_way_is_refused_with_those_that_are_taken(
    system: System, encoding: str
) -> None:
    refused = await posted(system, b"{}", encoding)

    assert error_of(refused) == (415, "The request body may be compressed with gzip, deflate only.")
    assert refused.headers["Accept-Encoding"] == "gzip, deflate"


async def test_a_carriers_webhook_may_be_compressed_and_its_path_is_taken_as_it_is(
    system: System,
) -> None:
    form = {"CallUUID": "none of ours", "Duration": "1"}
    for path, status in (("/carrier/voice/hangup", 200), ("/carrier/voice//hangup", 404)):
        url = f"{system.settings.base_url}{path}"
        headers = signed_headers("POST", url, form, [CARRIER_TOKEN])
        headers |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}
        content = gzip.compress(urlencode(form).encode())
        assert (await system.http.post(url, content=content, headers=headers)).status_code == status


async def test_a_body_that_is_ignored_may_be_anything(system: System) -> None:
    uuid = (await system.http.post(f"{system.api}/", json=PARTIES)).json()["session_uuid"]
    ended = await system.http.request(
        "DELETE", f"{system.api}/{uuid}/", content=b"garbage", headers=JSON | {"Content-Encoding": "gzip"}
    )
    assert ended.status_code == 200


TOO_LONG = "The request's address and each of its headers should be under 8190 bytes."
NO_HTTP = "The request is not valid HTTP."
NO_EXPECTATION = "this expectation cannot be met"
SESSIONS = "/v1/Account/MA/Masking/Session/"
LONG, HOST = SECRET * 1000, " HTTP/1.1\r\nHost: x\r\n"
WRONG = {
    "a long value": (f"GET {SESSIONS}?first_party={LONG}{HOST}\r\n", 400, TOO_LONG),
    "a long key": (f"GET {SESSIONS}?{LONG}=x{HOST}\r\n", 400, TOO_LONG),
    "a long path": (f"GET /{LONG}{HOST}\r\n", 400, TOO_LONG),
    "a long header": (f"POST {SESSIONS}{HOST}Idempotency-Key: {LONG}\r\n\r\n", 400, TOO_LONG),
    "a NUL": (f"GET {SESSIONS}\0{SECRET}{HOST}\r\n", 400, NO_HTTP),
    "a wrong address": (f"GET http://{SECRET}:99999/{HOST}\r\n", 400, NO_HTTP),
    "no method": (f"{SECRET}\r\n\r\n", 400, NO_HTTP),
    "a wrong length": (f"POST {SESSIONS}{HOST}Content-Length: -{SECRET}\r\n\r\n", 400, NO_HTTP),
    "a wrong chunk": (f"POST {SESSIONS}{HOST}Transfer-Encoding: chunked\r\n\r\nzz{SECRET}\r\n", 400, NO_HTTP),
    "an unknown expectation": (f"GET {SESSIONS}{HOST}Expect: {SECRET}\r\n\r\n", 417, NO_EXPECTATION),
    "one where nothing is": (f"GET /nowhere{HOST}Expect: {SECRET}\r\n\r\n", 417, NO_EXPECTATION),
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_is_no_request_is_answered_in_json_and_neither_echoed_nor_logged(
    system: System, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    sent, status, sentence = WRONG[what]
    head, body = await answer_to(sent, system.settings.port)

    assert head.startswith((f"HTTP/1.0 {status} ", f"HTTP/1.1 {status} "))
    assert "Content-Type: application/json" in head
    assert set(json.loads(body)) == {"api_id", "error"}
    assert json.loads(body)["error"] == sentence
    assert SECRET not in head + body + caplog.text


async def test_what_fails_outside_our_handlers_is_told_by_its_type_only(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(request: web.Request) -> web.StreamResponse:
        raise RuntimeError(SECRET)

    async def forgets(request: web.Request) -> web.StreamResponse:
        return SECRET  # type: ignore[return-value]

    app = web.Application()
    app.router.add_get("/fails", fails)
    app.router.add_get("/forgets", forgets)
    async with served(app) as port:
        head, body = await answer_to(f"GET /fails{HOST}\r\n", port)
        assert head.startswith("HTTP/1.1 500 ")
        assert json.loads(body)["error"] == "Internal server error."
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"http://127.0.0.1:{port}/forgets")).status_code == 500
    assert "RuntimeError" in caplog.text
    assert SECRET not in caplog.text


async def answer_to(sent: str, port: int) -> tuple[str, str]:
    """The head and the body that come back for these very bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent.encode())
        head, _, body = (await reader.readuntil(b"}")).decode().partition("\r\n\r\n")
    finally:
        writer.close()
    return head, body


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[int]:
    port = free_port()
    async with serving(GatewayRunner(app), port):
        yield port


async def test_every_answer_tells_browsers_to_frame_sniff_and_keep_nothing(system: System) -> None:
    base = system.settings.base_url
    for url in (f"{system.api}/", f"{base}/healthz", f"{base}/docs", f"{base}/nothing", f"{base}/v1/Account/x/y"):
        headers = (await system.http.get(url)).headers
        assert headers["X-Content-Type-Options"] == "nosniff", url
        assert headers["Referrer-Policy"] == "no-referrer", url
        assert headers["Cache-Control"] == "no-store", url
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], url
        assert "default-src 'none'" in headers["Content-Security-Policy"], url


async def test_whoever_guesses_has_to_wait_and_who_was_let_in_before_does_not(system: System) -> None:
    url = f"{system.api}/"
    assert (await system.http.get(url)).status_code == 200
    async with httpx.AsyncClient(auth=(ACCOUNT, "a guess")) as stranger:
        statuses = [(await stranger.get(url)).status_code for _ in range(FAILURES + 2)]
        assert statuses == [401] * FAILURES + [429] * 2
        refused = await stranger.get(url)
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.json()["error"] == "Too many failed logins. Wait and try again."
    assert (await system.http.get(url)).status_code == 200


async def test_whoever_guesses_keeps_nobody_out_who_was_not_there_lately(system: System) -> None:
    """Behind a proxy both have its address. A gateway that was just started knows nobody."""
    url = f"{system.api}/"
    async with httpx.AsyncClient(auth=(ACCOUNT, "a guess")) as stranger:
        assert {(await stranger.get(url)).status_code for _ in range(FAILURES)} == {401}
        assert (await stranger.get(url)).status_code == 429
    async with httpx.AsyncClient(auth=(ACCOUNT, "g" * len(TOKEN))) as stranger:
        assert {(await stranger.get(url)).status_code for _ in range(FAILURES)} == {429}
    assert len(TOKEN) == TOKEN_LENGTH
    assert (await system.http.get(url)).status_code == 200


async def test_a_short_token_waits_even_if_it_is_right(system: System, keyring: Keyring) -> None:
    async with system.database.transaction() as connection:
        await ensure_token(connection, keyring, ACCOUNT, "of-a-demo")
    url = f"{system.api}/"
    async with httpx.AsyncClient(auth=(ACCOUNT, "a guess")) as stranger:
        assert {(await stranger.get(url)).status_code for _ in range(FAILURES)} == {401}
    assert (await system.http.get(url, auth=(ACCOUNT, "of-a-demo"))).status_code == 429


@pytest.mark.parametrize(
    "path", ["/carrier/voice/answer", "/carrier/plivo/sessions/a/b", SESSIONS.replace("MA", ACCOUNT)]
)
async def test_a_body_that_never_comes_holds_nothing_for_ever(
    system: System, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masking.gateway.slow_bodies.BODY_WITHIN_S", 0.5)
    login = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    sent = (
        f"POST {path}{HOST}Authorization: Basic {login}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n1"
    )
    async with asyncio.timeout(60):
        head, body = await answer_to(sent, system.settings.port)
    assert head.startswith("HTTP/1.1 408 ")
    assert json.loads(body)["error"] == "The request body should come within 0.5 seconds."


async def test_a_stranger_who_goes_in_the_middle_of_a_body_is_no_error_of_ours(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", system.settings.port)
        writer.write(f"POST /carrier/voice/answer{HOST}Content-Length: 9\r\n\r\n1".encode())
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(0.2)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
