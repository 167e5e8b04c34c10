"""Callbacks as they leave pass the checks of Plivo's official SDKs, while two tokens are valid too."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import plivo.utils
import pytest
from aiohttp import web

from masking.domain.callbacks import Callback, addressed, timeout_notice
from masking.domain.terms import Method
from masking.ports import serving
from masking.privacy.keyring import Keyring
from masking.storage import accounts
from masking.storage.database import Database
from masking.storage.sessions import record_session
from tests.conformance.test_node_sdk import installed
from tests.conftest import ACCOUNT, TOKEN
from tests.delivery.test_sender import Queue, sending, until

__all__ = ["installed"]

pytestmark = pytest.mark.anyio

SIGNATURES = ("X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3")


class Arrived(NamedTuple):
    """A request as a customer's web framework sees it."""

    method: str
    url: str
    params: dict[str, str]
    headers: dict[str, str]


@asynccontextmanager
async def customer(arrived: list[Arrived]) -> AsyncIterator[str]:
    async def take(request: web.BaseRequest) -> web.StreamResponse:
        params = {key: str(value) for key, value in (await request.post()).items()}
        url = f"http://{request.headers['Host']}{request.raw_path}"
        arrived.append(Arrived(request.method, url, params, dict(request.headers)))
        return web.Response()

    async with serving(web.ServerRunner(web.Server(take))) as url:
        yield url


async def told(database: Database, keyring: Keyring, urls: dict[str, Method]) -> None:
    """A session for each address, with one callback there; the plus and the blanks of its time among the rest."""
    queue = Queue(database, keyring)
    for url, method in urls.items():
        session = await queue.session()
        terms = session.terms.model_copy(update={"callback_url": url, "callback_method": method})
        _, callback = addressed(session.model_copy(update={"terms": terms}), timeout_notice(session.created_at))
        assert isinstance(callback, Callback)
        async with database.transaction() as connection:
            await record_session(connection, keyring, session, [callback])


@pytest.fixture
async def callbacks(database: Database, keyring: Keyring) -> tuple[list[Arrived], str]:
    """Callbacks to several addresses with both methods, and the token that is new beside the old one."""
    async with database.transaction() as connection:
        new = await accounts.rotate_token(connection, keyring, ACCOUNT, timedelta(hours=1))
    arrived: list[Arrived] = []
    async with customer(arrived) as base, sending(database, keyring):
        methods: tuple[Method, ...] = ("GET", "POST")
        with_password = base.replace("//", "//customer:a%40b@")
        paths = (f"{base}/events", f"{base}/events?ride=7&a=%20b", f"{base}/a/b/?x=1", f"{with_password}/events")
        urls = {f"{path}&m={m}" if "?" in path else f"{path}?m={m}": m for path in paths for m in methods}
        await told(database, keyring, urls | {base: "POST", f"{base}?a=1#rc=3": "POST", f"{base}/?b=2": "GET"})
        await until(lambda: len(arrived) == len(urls) + 3)
    return arrived, new.auth_token


async def test_the_official_python_sdk_accepts_them_with_either_token(callbacks: tuple[list[Arrived], str]) -> None:
    arrived, new = callbacks
    assert {each.method for each in arrived} == {"GET", "POST"}
    for each in arrived:
        nonce = each.headers["X-Plivo-Signature-V3-Nonce"]
        for header in SIGNATURES:
            for token, accepted in ((TOKEN, True), (new, True), (TOKEN + "x", False)):
                valid = plivo.utils.validate_v3_signature(
                    each.method, each.url, nonce, token, each.headers[header], each.params
                )
                assert valid == accepted, (each.method, each.url, header)


async def test_the_official_node_sdk_accepts_them_with_either_token(
    callbacks: tuple[list[Arrived], str], installed: Path
) -> None:
    arrived, new = callbacks
    asked = [
        {"method": each.method, "url": each.url, "nonce": each.headers["X-Plivo-Signature-V3-Nonce"], "token": token,
         "signature": each.headers[header], "params": each.params}
        for each in arrived for header in SIGNATURES for token in (TOKEN, new, TOKEN + "x")
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        "node", "signatures.js", cwd=installed, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(json.dumps(asked).encode()), 60)
    assert process.returncode == 0, errors.decode()
    assert json.loads(output) == [True, True, False] * (len(asked) // 3)
