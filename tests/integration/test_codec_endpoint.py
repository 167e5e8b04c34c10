"""The Temporal Web UI may have payloads decoded; no other page may."""

from __future__ import annotations

import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads

from masking.privacy.keyring import Keyring
from masking.privacy.payload_codec import EncryptingCodec
from tests.integration.conftest import UI_ORIGIN, System

pytestmark = pytest.mark.anyio

PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"+12025550101"')


async def sealed(keyring: Keyring) -> str:
    payloads = await EncryptingCodec(keyring).encode([PLAIN])
    text = json_format.MessageToJson(Payloads(payloads=payloads))
    assert "12025550101" not in text
    return text


async def test_the_ui_reads_what_was_encrypted(system: System, keyring: Keyring) -> None:
    url = f"{system.settings.base_url}/codec/decode"

    preflight = await system.http.options(url, headers={"Origin": UI_ORIGIN})
    response = await system.http.post(url, content=await sealed(keyring), headers={"Origin": UI_ORIGIN})

    assert preflight.headers["Access-Control-Allow-Origin"] == UI_ORIGIN
    assert response.headers["Access-Control-Allow-Origin"] == UI_ORIGIN
    assert list(json_format.Parse(response.text, Payloads()).payloads) == [PLAIN]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", f"{UI_ORIGIN}.evil.example"])
async def test_nobody_else_does(system: System, keyring: Keyring, origin: str) -> None:
    url = f"{system.settings.base_url}/codec/decode"

    for response in (
        await system.http.options(url, headers={"Origin": origin}),
        await system.http.post(url, content=await sealed(keyring), headers={"Origin": origin}),
    ):
        assert response.status_code == 403
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_what_was_altered_or_is_nonsense_is_a_clear_error(system: System, keyring: Keyring) -> None:
    url, headers = f"{system.settings.base_url}/codec/decode", {"Origin": UI_ORIGIN}
    (payload,) = await EncryptingCodec(keyring).encode([PLAIN])
    payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    altered = json_format.MessageToJson(Payloads(payloads=[payload]))

    for content in (altered, "{", "words"):
        assert (await system.http.post(url, content=content, headers=headers)).status_code == 400
