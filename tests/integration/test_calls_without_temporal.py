"""Calls while Temporal is stopped: they connect, and the session hears of them once it is back."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from masking.carriers.simulator.phones import Behaviour
from masking.privacy.keyring import Keyring
from masking.temporal import masking_plugin
from tests.integration.conftest import Receiver, System, free_port
from tests.integration.telephone import Telephone, heard, speed, telephone
from tests.integration.test_switchboard import FIRST, SECOND, conversations, create, expire
from tests.servers import STARTED_WITHIN

__all__ = ["speed", "telephone"]
pytestmark = pytest.mark.anyio


class Server:
    """A Temporal server of the test's own, which remembers when it is stopped."""

    def __init__(self, file: Path) -> None:
        self._file, self._port = file, free_port()
        self._environment: WorkflowEnvironment | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        binary = shutil.which("temporal", path=str(Path(sys.executable).parent))
        self._environment = await WorkflowEnvironment.start_local(
            port=self._port,
            dev_server_existing_path=binary,
            dev_server_database_filename=str(self._file),
            dev_server_startup_timeout=STARTED_WITHIN,
        )

    async def stop(self) -> None:
        if self._environment is not None:
            await self._environment.shutdown()
            self._environment = None


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path / "temporal.db")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def temporal(server: Server, keyring: Keyring) -> Client:
    return await Client.connect(server.address, plugins=[masking_plugin(keyring)])


async def test_calls_connect_while_temporal_is_stopped_and_are_told_once_afterwards(
    system: System, telephone: Telephone, receiver: Receiver, server: Server
) -> None:
    session = await create(system, receiver)
    await telephone.phones.behave(SECOND, Behaviour(hangs_up_after=5))
    await server.stop()

    calls = [await telephone.call(FIRST, session["number"]) for _ in range(2)]
    assert all(call.callee is not None and call.callee.connected for call in calls)
    assert receiver.requests == []
    async with system.database.transaction() as connection:
        waiting = await connection.execute("SELECT count(*) FROM inbox WHERE forwarded_at IS NULL")
        assert await waiting.fetchall() == [(10,)]

    await server.start()
    await heard(receiver, "SessionPartiesHangup", 2)
    final = await expire(system, session)
    await asyncio.sleep(1.5)

    told = Counter(receiver.names)
    assert set(told.values()) == {1, 2}
    assert {name for name, times in told.items() if times == 1} == {"SessionTimeout"}
    assert final.calls.duration == sum(leg.duration for call in calls for leg in (call.caller, *call.callees))
    assert len(await conversations(system, session)) == 2
    async with system.database.transaction() as connection:
        left = await connection.execute("SELECT count(*) FROM inbox WHERE forwarded_at IS NULL OR late")
        assert await left.fetchall() == [(0,)]
