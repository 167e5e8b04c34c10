"""The telephone bench, for tests that make calls: the simulator on a fast clock, reached over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from masking.carriers.simulator.application import ApplicationClient
from masking.carriers.simulator.applications import voice_application
from masking.carriers.simulator.client import SimulatorClient
from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.network import Network
from masking.carriers.simulator.phones import PhoneView, State
from masking.carriers.simulator.recordings import Recordings
from masking.carriers.simulator.records import CallRecord
from masking.carriers.simulator.server import build_app
from masking.carriers.voice.setup import wanted_for
from masking.ports import serving
from tests.conftest import POOL
from tests.integration.conftest import CARRIER_TOKEN, Receiver, System

SPEED = 20.0


class Phones(SimulatorClient):
    """The telephone bench for whoever has time: on a busy machine everything takes its own."""

    def __init__(self, address: str) -> None:
        super().__init__(address, timeout=30)

    async def wait_for(self, number: str, state: State, *, timeout: float = 60.0) -> PhoneView:
        return await super().wait_for(number, state, timeout=timeout)


@dataclass
class Telephone:
    """The running network, its phones, and where its recordings are kept."""

    phones: Phones
    recordings: Recordings

    async def call(self, number: str, to: str) -> CallRecord:
        """Have a phone call a number; the call once it is over."""
        return await self.over(await self.phones.dial(number, to))

    async def over(self, call_uuid: str) -> CallRecord:
        """A call once it is over and the gateway knows."""
        async with asyncio.timeout(60):
            while not (record := await self.phones.call(call_uuid)).reported:  # noqa: ASYNC110 it is across HTTP
                await asyncio.sleep(0.05)
        return record


@pytest.fixture
def speed() -> float:
    """Simulated seconds per real second."""
    return SPEED


@pytest.fixture
async def telephone(system: System, tmp_path: Path, simulator_port: int, speed: float) -> AsyncIterator[Telephone]:
    recordings, address = tmp_path / "recordings", f"http://127.0.0.1:{simulator_port}"
    async with ApplicationClient(CARRIER_TOKEN) as client, Phones(address) as phones:
        network = Network(client, SimulatedClock(speed), recordings, f"{address}/media")
        _, *urls = wanted_for(system.settings.base_url)
        for number, _ in POOL:
            network.inventory.bind(number, voice_application(*urls))
        async with serving(build_app(network), simulator_port):
            yield Telephone(phones, network.recordings)
            await network.close()


async def heard(receiver: Receiver, name: str, times: int = 1) -> dict[str, str]:
    """Wait until the customer was told of an event so many times; the last of them."""
    async with asyncio.timeout(60):
        while receiver.names.count(name) < times:  # noqa: ASYNC110 it comes over HTTP
            await asyncio.sleep(0.02)
    return [request for request in receiver.requests if request["EventName"] == name][times - 1]


async def all_delivered(system: System, uuid: str) -> None:
    """Wait until none of its callbacks is left to send."""
    async with asyncio.timeout(60):
        while True:
            async with system.database.transaction() as connection:
                found = await connection.execute(
                    "SELECT FROM callbacks WHERE session_uuid = %s AND state = 'pending' LIMIT 1", (uuid,)
                )
                if await found.fetchone() is None:
                    return
            await asyncio.sleep(0.05)


async def story_of(system: System, session: dict[str, Any], part: str) -> str:
    """A session's history in words, once it tells something."""
    async with asyncio.timeout(60):
        while part not in (story := await system.sessions.story(session["session_uuid"])):  # noqa: ASYNC110 across Temporal
            await asyncio.sleep(0.05)
    return story


def heard_on(record: CallRecord, leg: str) -> list[str]:
    """What a leg of a call heard and pressed, in order."""
    return [line.detail for line in record.transcript if line.leg == leg and line.what in ("heard", "pressed")]
