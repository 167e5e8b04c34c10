"""Temporal over TLS, with client certificates and with API keys, as its standard settings and any client have them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.service import TLSConfig

from masking.client import MaskingClient, NewSession, SessionRefused
from masking.errors import StartupError
from masking.privacy.keyring import Keyring
from masking.temporal import connect, masking_plugin
from tests.conftest import ACCOUNT
from tests.domain.conversation import FIRST, SECOND
from tests.integration.conftest import System
from tests.tls_end import Authority, TlsEnd, tls

pytestmark = pytest.mark.anyio

KEY = "an-api-key-of-temporal-cloud"


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    """Who signed the server's certificate, and those of clients."""
    return Authority(tmp_path, "ours")


@asynccontextmanager
async def end_of(
    temporal: Client, authority: Authority, *, clients: bool = False, keys: set[str] | None = None
) -> AsyncIterator[TlsEnd]:
    context = tls(authority.issues("server"), authority.file if clients else None)
    async with TlsEnd(temporal.service_client.config.target_host, context, keys).listening() as end:
        yield end


async def is_used(client: Client, system: System, task_queue: str) -> None:
    """See that a session is started, extended, ended and settled through this client."""
    sessions = MaskingClient(client, task_queue=task_queue)
    key = f"ride-{uuid4()}"
    session = await sessions.start(
        NewSession(account_id=ACCOUNT, first_party=FIRST, second_party=SECOND, idempotency_key=key)
    )
    assert (await sessions.extend(session.session_uuid, 7200)).virtual_number == session.virtual_number
    await sessions.expire(session.session_uuid)
    bill = await sessions.final_bill(session.session_uuid, timeout=timedelta(seconds=30))
    assert bill == await system.sessions.final_bill(session.session_uuid)


async def test_tls_by_the_standard_settings(
    system: System, temporal: Client, ours: Authority, keyring: Keyring, task_queue: str
) -> None:
    async with end_of(temporal, ours) as end:
        settings = {"TEMPORAL_ADDRESS": end.address, "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(ours.file)}
        await is_used(await connect(keyring, environment=settings), system, task_queue)
        content = {"TEMPORAL_ADDRESS": end.address, "TEMPORAL_TLS_SERVER_CA_CERT_DATA": ours.file.read_text()}
        await connect(keyring, environment=content)
    assert set(end.authorizations) == {None}
    assert "/temporal.api.workflowservice.v1.WorkflowService/ExecuteMultiOperation" in end.paths, "it went through it"


async def test_client_certificates_by_the_standard_settings(
    system: System, temporal: Client, ours: Authority, keyring: Keyring, task_queue: str
) -> None:
    certificate, key = ours.issues("a-service")
    async with end_of(temporal, ours, clients=True) as end:
        settings = {
            "TEMPORAL_ADDRESS": end.address,
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(ours.file),
            "TEMPORAL_TLS_CLIENT_CERT_PATH": str(certificate),
            "TEMPORAL_TLS_CLIENT_KEY_PATH": str(key),
        }
        await is_used(await connect(keyring, environment=settings), system, task_queue)


async def test_an_api_key_by_the_standard_settings_switches_tls_on_and_reaches_the_server(
    system: System, temporal: Client, ours: Authority, keyring: Keyring, task_queue: str
) -> None:
    async with end_of(temporal, ours, keys={KEY}) as end:
        settings = {
            "TEMPORAL_ADDRESS": end.address,
            "TEMPORAL_API_KEY": KEY,
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(ours.file),
        }
        await is_used(await connect(keyring, environment=settings), system, task_queue)
    assert len(end.authorizations) > 5
    assert set(end.authorizations) == {f"Bearer {KEY}"}


async def test_any_client_with_tls_a_certificate_and_an_api_key_does(
    system: System, temporal: Client, ours: Authority, keyring: Keyring, task_queue: str
) -> None:
    certificate, key = ours.issues("a-service")
    config = TLSConfig(
        server_root_ca_cert=ours.file.read_bytes(), client_cert=certificate.read_bytes(),
        client_private_key=key.read_bytes(),
    )  # fmt: skip
    async with end_of(temporal, ours, clients=True, keys={KEY}) as end:
        client = await Client.connect(end.address, tls=config, api_key=KEY, plugins=[masking_plugin(keyring)])
        await is_used(client, system, task_queue)
    assert set(end.authorizations) == {f"Bearer {KEY}"}


async def test_a_wrong_certificate_is_told_with_what_to_do(
    temporal: Client, ours: Authority, keyring: Keyring, tmp_path: Path
) -> None:
    others = Authority(tmp_path, "others")
    certificate, key = others.issues("a-service")
    async with end_of(temporal, ours, clients=True) as end:
        address = {"TEMPORAL_ADDRESS": end.address}
        trusting = {**address, "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(ours.file)}
        untrusted = {**address, "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(others.file)}
        with pytest.raises(StartupError) as told:
            await connect(keyring, environment=untrusted)
        assert str(told.value) == (
            f"TEMPORAL_TLS_SERVER_CA_CERT_PATH: the certificate of the Temporal server at {end.address} is not one that"
            " we trust under this name; name the file of its authority, or its name by TEMPORAL_TLS_SERVER_NAME"
        )
        theirs = {"TEMPORAL_TLS_CLIENT_CERT_PATH": str(certificate), "TEMPORAL_TLS_CLIENT_KEY_PATH": str(key)}
        for more in ({}, theirs):
            with pytest.raises(StartupError) as told:
                await connect(keyring, environment={**trusting, **more})
            assert str(told.value) == (
                f"TEMPORAL_TLS_CLIENT_CERT_PATH: the Temporal server at {end.address} ends the TLS connection at once,"
                " as one does that wants another client certificate"
            )
        # A server that speaks TLS, asked without.
        with pytest.raises(StartupError, match="TEMPORAL_ADDRESS: no Temporal server answers at"):
            await connect(keyring, environment=address)
        with pytest.raises(StartupError, match="TEMPORAL_\\*: the settings cannot be read"):
            await connect(keyring, environment={**trusting, "TEMPORAL_TLS_CLIENT_CERT_PATH": str(tmp_path / "none")})


async def test_a_wrong_api_key_is_told_at_the_start_and_later(
    system: System, temporal: Client, ours: Authority, keyring: Keyring, task_queue: str
) -> None:
    async with end_of(temporal, ours, keys={KEY}) as end:
        settings = {
            "TEMPORAL_ADDRESS": end.address,
            "TEMPORAL_API_KEY": "wrong",
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(ours.file),
        }
        with pytest.raises(StartupError) as told:
            await connect(keyring, environment=settings)
        assert str(told.value) == (
            f"TEMPORAL_API_KEY: the Temporal server at {end.address} does not let us into the namespace"
        )
        sessions = MaskingClient(
            await connect(keyring, environment={**settings, "TEMPORAL_API_KEY": KEY}), task_queue=task_queue
        )
        end.keys = {"the next one"}
        wanted = NewSession(account_id=ACCOUNT, first_party=FIRST, second_party=SECOND)
        with pytest.raises(SessionRefused, match="does not let this client into the namespace; check its API key"):
            await asyncio.wait_for(sessions.start(wanted), 30)
        with pytest.raises(SessionRefused, match="check its API key or certificate"):
            await sessions.snapshot(str(uuid4()))
