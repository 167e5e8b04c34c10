"""Who may have payloads decoded, in the Temporal Web UI or at the command line; nobody else may, and no other page."""

from __future__ import annotations

import asyncio
import base64
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from google.protobuf import json_format
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client

from masking.contract import session_workflow_id
from masking.errors import StartupError
from masking.gateway import codec_endpoint
from masking.gateway.codec_endpoint import codec_served
from masking.gateway.login_limit import FAILURES
from masking.privacy.keyring import Keyring
from masking.privacy.payload_codec import EncryptingCodec
from masking.settings import Settings
from masking.storage.database import Database
from masking.storage.looks import looks
from tests.integration.conftest import System, free_port

pytestmark = pytest.mark.anyio

UI_ORIGIN = "http://127.0.0.1:8233"
ALICE, UI = "a-token-of-alice-0123456789", "a-token-of-the-ui-987654321"
SESSION = "2e0e0c2e-0000-4000-8000-000000000001"
PLAIN = Payload(
    metadata={"encoding": b"json/plain"}, data=f'{{"session_uuid":"{SESSION}","to":"+12025550101"}}'.encode()
)


@dataclass
class Endpoint:
    url: str
    http: httpx.AsyncClient
    database: Database

    async def decode(
        self, content: str, token: str | None = None, *, path: str = "", origin: str | None = None, **headers: str
    ) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        if origin is not None:
            sent["Origin"] = origin
        return await self.http.post(f"{self.url}{path}/decode", content=content, headers=sent)

    async def looks(self) -> list[tuple[object, ...]]:
        async with self.database.transaction() as connection:
            return [each[1:] for each in await looks(connection, limit=100)]


def settings_of(**more: Any) -> Settings:
    tokens = SecretStr(f"alice:{ALICE},temporal-ui:{UI}")
    given: dict[str, Any] = {"codec_port": free_port(), "codec_tokens": tokens, "ui_origin": UI_ORIGIN}
    return Settings(**given | more)


@pytest.fixture
async def endpoint(database: Database, keyring: Keyring) -> AsyncIterator[Endpoint]:
    settings = settings_of()
    async with codec_served(database, keyring, settings), httpx.AsyncClient(timeout=10, trust_env=False) as http:
        yield Endpoint(settings.codec_url, http, database)


async def sealed(keyring: Keyring, *payloads: Payload) -> str:
    text = json_format.MessageToJson(Payloads(payloads=await EncryptingCodec(keyring).encode(payloads or [PLAIN])))
    assert "12025550101" not in text
    return text


async def test_who_has_a_token_has_payloads_encoded_which_is_no_look(endpoint: Endpoint) -> None:
    plain = json_format.MessageToJson(Payloads(payloads=[PLAIN]))
    headers = {"Authorization": f"Bearer {ALICE}"}
    encoded = await endpoint.http.post(f"{endpoint.url}/encode", content=plain, headers=headers)
    by_path = await endpoint.http.post(f"{endpoint.url}/{UI}/encode", content=plain)
    stranger = await endpoint.http.post(f"{endpoint.url}/encode", content=plain)
    nonsense = await endpoint.http.post(f"{endpoint.url}/encode", content="no payloads", headers=headers)

    assert (encoded.status_code, by_path.status_code) == (200, 200)
    assert (stranger.status_code, nonsense.status_code) == (401, 400)
    assert "12025550101" not in encoded.text
    assert await endpoint.looks() == []
    decoded = await endpoint.decode(encoded.text, ALICE)
    assert json_format.Parse(decoded.text, Payloads()).payloads[0] == PLAIN


async def test_the_ui_reads_what_was_encrypted_and_that_it_did_is_noted(endpoint: Endpoint, keyring: Keyring) -> None:
    preflight = await endpoint.http.options(f"{endpoint.url}/{UI}/decode", headers={"Origin": UI_ORIGIN})
    response = await endpoint.decode(
        await sealed(keyring), path=f"/{UI}", origin=UI_ORIGIN, X_Namespace="default", Content_Type="application/json"
    )

    assert (preflight.status_code, preflight.headers["Access-Control-Allow-Origin"]) == (200, UI_ORIGIN)
    assert preflight.headers["Access-Control-Allow-Headers"] == "content-type, x-namespace, authorization"
    assert response.headers["Access-Control-Allow-Origin"] == UI_ORIGIN
    assert response.headers["Cache-Control"] == "no-store"
    assert list(json_format.Parse(response.text, Payloads()).payloads) == [PLAIN]
    assert await endpoint.looks() == [("temporal-ui", "decoded payloads", SESSION, 1, "namespace default")]


async def test_each_request_is_one_entry_with_who_and_how_many(endpoint: Endpoint, keyring: Keyring) -> None:
    other = Payload(metadata=PLAIN.metadata, data=PLAIN.data.replace(b"0001", b"0002"))
    response = await endpoint.decode(await sealed(keyring, PLAIN, other, PLAIN), ALICE, X_Namespace="+12025550101")
    assert response.status_code == 200
    readable = json_format.MessageToJson(Payloads(payloads=[PLAIN]))
    assert (await endpoint.decode(readable, ALICE)).status_code == 200
    assert await endpoint.looks() == [("alice", "decoded payloads", None, 3, None)]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", f"{UI_ORIGIN}.evil.example"])
async def test_no_other_page_has_anything_decoded_whatever_it_knows(
    endpoint: Endpoint, keyring: Keyring, origin: str
) -> None:
    for response in (
        await endpoint.http.options(f"{endpoint.url}/{UI}/decode", headers={"Origin": origin}),
        await endpoint.decode(await sealed(keyring), path=f"/{UI}", origin=origin),
        await endpoint.decode(await sealed(keyring), ALICE, origin=origin),
    ):
        assert response.status_code == 403
        assert "Access-Control-Allow-Origin" not in response.headers
    assert await endpoint.looks() == []


@pytest.mark.parametrize("origin", [UI_ORIGIN, None])
async def test_nobody_without_a_token_has(endpoint: Endpoint, keyring: Keyring, origin: str | None) -> None:
    content = await sealed(keyring)
    for response in (
        await endpoint.decode(content, origin=origin),
        await endpoint.decode(content, "alice", origin=origin),
        await endpoint.decode(content, ALICE + "x", origin=origin),
        await endpoint.decode(content, origin=origin, Authorization="Bearer"),
        await endpoint.decode(content, path="/x", origin=origin),
        await endpoint.decode(content, origin=origin, Authorization=f"Basic {base64.b64encode(b'alice:x').decode()}"),
    ):
        assert response.status_code == 401
        assert "12025550101" not in response.text
    assert await endpoint.looks() == []


async def test_who_guesses_has_to_wait_and_who_knows_goes_on(endpoint: Endpoint, keyring: Keyring) -> None:
    content = await sealed(keyring)
    assert (await endpoint.decode(content, ALICE)).status_code == 200
    answers = [await endpoint.decode(content, f"guess {n}") for n in range(FAILURES + 1)]
    assert [answer.status_code for answer in answers] == [401] * FAILURES + [429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert (await endpoint.decode(content, UI)).status_code == 429
    assert (await endpoint.decode(content, ALICE)).status_code == 200


async def test_what_cannot_be_noted_is_not_decoded(
    endpoint: Endpoint, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise psycopg.OperationalError

    monkeypatch.setattr(codec_endpoint, "note_look", fails)
    response = await endpoint.decode(await sealed(keyring), ALICE)
    assert response.status_code == 503
    assert "12025550101" not in response.text


async def test_what_was_altered_or_is_nonsense_is_a_clear_error(endpoint: Endpoint, keyring: Keyring) -> None:
    (payload,) = await EncryptingCodec(keyring).encode([PLAIN])
    payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    altered = json_format.MessageToJson(Payloads(payloads=[payload]))

    for content in (altered, "{", "words"):
        assert (await endpoint.decode(content, ALICE)).status_code == 400
    assert await endpoint.looks() == []


async def test_it_is_served_for_somebody_or_not_at_all(database: Database, keyring: Keyring) -> None:
    with pytest.raises(StartupError, match="MASKING_UI_ORIGIN is set, and MASKING_CODEC_TOKENS is not"):
        async with codec_served(database, keyring, settings_of(codec_tokens=None)):
            pass
    settings = settings_of(codec_tokens=None, ui_origin=None)
    async with codec_served(database, keyring, settings), httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.ConnectError):
            await http.post(f"{settings.codec_url}/decode")


async def test_the_gateways_own_port_decodes_nothing(system: System, keyring: Keyring) -> None:
    for path in ("decode", "codec/decode", f"{ALICE}/decode"):
        response = await system.http.post(f"{system.settings.base_url}/{path}", content=await sealed(keyring))
        assert response.status_code == 404


async def test_temporals_command_line_reads_a_session_with_a_token(
    endpoint: Endpoint, system: System, temporal: Client
) -> None:
    created = await system.http.post(
        f"{system.api}/", json={"first_party": "+12025550101", "second_party": "+12025550102"}
    )
    uuid = created.json()["session"]["session_uuid"]
    binary = Path(sys.executable).parent / "temporal"
    command = [str(binary), "workflow", "show", "--workflow-id", session_workflow_id(uuid), "--output", "json"]
    address = ("--address", temporal.service_client.config.target_host)

    def shown(*more: str) -> str:
        done = subprocess.run([*command, *address, *more], capture_output=True, text=True, timeout=30, check=False)
        return b"".join(base64.b64decode(data) for data in re.findall('"data": "([^"]+)"', done.stdout)).decode(
            "latin1"
        )

    told = await asyncio.to_thread(shown)
    assert len(told) > 100
    assert "12025550101" not in told
    codec = ("--codec-endpoint", endpoint.url, "--codec-auth", f"Bearer {ALICE}")
    assert "12025550101" in await asyncio.to_thread(shown, *codec)
    noted = await endpoint.looks()
    assert {look[:2] for look in noted} == {("alice", "decoded payloads")}
    assert uuid in {look[2] for look in noted}
