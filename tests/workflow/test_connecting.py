"""Connecting to Temporal, and asking it whether a worker works."""

from __future__ import annotations

import asyncio
import gc
import socket
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from masking import temporal
from masking.client import MaskingClient, OutcomeUnknown, SessionAlreadyExpired
from masking.contract import TASK_QUEUE, session_workflow_id
from masking.errors import StartupError
from masking.health import is_polling
from masking.privacy.keyring import Keyring
from masking.temporal import connect
from tests.integration.conftest import another_namespace
from tests.workflow.conftest import Remembered
from tests.workflow.test_masking_session import fresh
from workflows.masking_session import MaskingSession

pytestmark = pytest.mark.anyio


@pytest.fixture
def address(client: Client) -> str:
    return client.service_client.config.target_host


async def test_a_namespace_that_is_not_there_is_told(address: str, keyring: Keyring) -> None:
    with pytest.raises(StartupError, match=f"TEMPORAL_NAMESPACE: the Temporal server at {address} has no such"):
        await connect(keyring, environment={"TEMPORAL_ADDRESS": address, "TEMPORAL_NAMESPACE": "nope"})


async def test_an_api_key_that_cannot_apply_is_told(address: str, keyring: Keyring) -> None:
    with pytest.raises(StartupError, match=r"TEMPORAL_ADDRESS: .* over TLS as TEMPORAL_API_KEY") as refused:
        await connect(keyring, environment={"TEMPORAL_ADDRESS": address, "TEMPORAL_API_KEY": "secret"})
    assert "secret" not in str(refused.value)


async def test_a_server_that_says_nothing_is_given_up(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal, "CONNECT_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(StartupError, match=f"TEMPORAL_ADDRESS: no Temporal server answers at {address}"):
            await connect(keyring, environment={"TEMPORAL_ADDRESS": address})


async def test_a_configuration_file_that_is_not_there_is_told(keyring: Keyring, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="TEMPORAL_CONFIG_FILE: there is no file"):
        await connect(keyring, lazy=True, environment={"TEMPORAL_CONFIG_FILE": str(tmp_path / "none.toml")})


async def test_a_worker_works_while_it_asks_for_work(client: Client, address: str) -> None:
    client = await another_namespace(client, f"own-{uuid4().hex[:8]}")
    its = await Client.connect(address, namespace=client.namespace, identity="12345@there")
    assert not await is_polling(client, "12345@there")
    async with Worker(its, task_queue=TASK_QUEUE, workflows=[MaskingSession], activities=Remembered().activities()):
        while not await is_polling(client, "12345@there"):  # noqa: ASYNC110 it is across the network
            await asyncio.sleep(0.05)
        assert await is_polling(client, "@there")
        assert not await is_polling(client, "@elsewhere")


async def test_a_start_that_fails_leaves_nothing_that_asyncio_complains_of(
    client: Client, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    """While Temporal is away, while no worker answers, and once the session has ended."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
    away = MaskingClient(await connect(keyring, lazy=True, environment={"TEMPORAL_ADDRESS": address}))
    with pytest.raises(OutcomeUnknown):
        await away.start(fresh())

    unserved = MaskingClient(client, task_queue="nobody-works-here", timeout=timedelta(seconds=3))
    asked = fresh()
    with pytest.raises(OutcomeUnknown):
        await unserved.start(asked)
    await client.get_workflow_handle(session_workflow_id(asked.session_uuid)).terminate()
    with pytest.raises(SessionAlreadyExpired):
        await unserved.start(asked)

    gc.collect()
    await asyncio.sleep(0)
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
