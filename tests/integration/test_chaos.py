"""Hundreds of calls over a network that loses, repeats, delays and reorders what it reports; `make chaos` for 1,000.

The network's own records say what truly happened on each call. What a session's bill,
interactions and callbacks must be follows from them, chaos or not.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from masking.carriers.simulator.application import ApplicationClient, VoiceApplication
from masking.carriers.simulator.chaos import ChaosSwitches
from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.network import Network
from masking.carriers.simulator.phones import Behaviour
from masking.carriers.simulator.records import CallRecord
from masking.contract import TASK_QUEUE
from masking.domain.session import Bill
from masking.settings import Settings
from masking.storage.database import Database
from tests.conftest import LOOKUP_KEY, MASTER_KEY, POOL
from tests.integration.conftest import CARRIER_TOKEN, Receiver, System

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

WORKER = Path(__file__).parent.parent.parent / "worker.py"
SPEED = 100.0
CALLS = int(os.environ.get("CHAOS_CALLS", "160"))
PRICE = Decimal("0.0085")
EVERYTHING = ChaosSwitches(drop=0.15, duplicate=0.1, delay=0.1, reorder=0.3, late_by=20)


@dataclass
class Pair:
    """A session, its two phones, and the calls they made as the network recorded them."""

    uuid: str
    number: str
    first: str
    second: str
    recorded: bool
    calls: list[CallRecord] = field(default_factory=list)


@pytest.fixture
def task_queue() -> str:
    return TASK_QUEUE


@pytest.fixture
async def worker(migrated_url: str, temporal: Client, settings: Settings, database: Database) -> AsyncIterator[None]:
    """A worker in a process of its own, so that both cores have work."""
    del database  # emptied before anybody uses it
    keys = {"current": "k1", "master": {"k1": b64(MASTER_KEY)}, "lookup": b64(LOOKUP_KEY)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MASKING_", "TEMPORAL_"))}
    environment |= {
        "DATABASE_URL": migrated_url,
        "TEMPORAL_ADDRESS": temporal.service_client.config.target_host,
        "MASKING_KEYS": json.dumps(keys),
        "MASKING_CARRIER_AUTH_TOKEN": CARRIER_TOKEN,
        "MASKING_PORT": str(settings.port),
        "MASKING_RECORDING_WAIT": str(settings.recording_wait),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, WORKER, env=environment)
    try:
        yield
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 60)


def b64(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.fixture
async def network(system: System, tmp_path: Path) -> AsyncIterator[Network]:
    async with ApplicationClient(CARRIER_TOKEN) as client:
        network = Network(client, SimulatedClock(SPEED), tmp_path / "recordings", "http://carrier.example/media")
        base = f"{system.settings.base_url}/carrier/voice"
        for number, _ in POOL:
            network.applications[number] = VoiceApplication(f"{base}/answer", f"{base}/hangup")
        yield network
        await network.close()


async def create(system: System, receiver: Receiver, n: int) -> Pair:
    first, second, recorded = f"+1202556{n:04}", f"+1202557{n:04}", n % 10 == 0
    body = {
        "first_party": first, "second_party": second, "record": recorded, "ring_timeout": 10,
        "callback_url": receiver.url, "recording_callback_url": receiver.url, "session_expiry": 86400,
    }  # fmt: skip
    response = await system.http.post(f"{system.api}/", json=body, timeout=60)
    assert response.status_code == 201, response.text
    answer = response.json()
    return Pair(answer["session_uuid"], answer["virtual_number"], first, second, recorded)


async def ended(system: System, pair: Pair, gate: asyncio.Semaphore) -> Bill:
    """Expire a session, and wait for its bill; on a busy machine the outcome may take a second question."""
    async with gate:
        for _ in range(10):
            response = await system.http.delete(f"{system.api}/{pair.uuid}/")
            if response.status_code != 503:
                break
        assert response.status_code == 200 or response.json()["error"] == "Session already expired"
        return await asyncio.wait_for(system.sessions.final_bill(pair.uuid), 60)


def behaviour(chance: random.Random, recorded: bool) -> Behaviour:
    talk = chance.uniform(1, 3) if recorded else chance.uniform(1, 130)
    kind = chance.choices(["answer", "busy", "reject", "ignore"], [6, 1, 1, 1])[0]
    return Behaviour.model_validate(
        {"on_ring": kind, "answers_after": chance.uniform(0, 8), "hangs_up_after": talk, "hidden": False}
    )


async def call_on(network: Network, pair: Pair, times: int, chance: random.Random) -> None:
    """One call after the other, from either end; each once the gateway has heard the end of the one before."""
    for _ in range(times):
        caller, callee = chance.sample([pair.first, pair.second], 2)
        network.phone(caller).behaviour = behaviour(chance, pair.recorded)
        network.phone(callee).behaviour = behaviour(chance, pair.recorded)
        record = network.dial(caller, pair.number)
        while not record.reported:  # noqa: ASYNC110 the network has no event for it
            await asyncio.sleep(0.005)
        pair.calls.append(record)


def truth(pair: Pair) -> tuple[Counter[str], list[tuple[int, int]], Decimal]:
    """The callbacks, each conversation's seconds and billed seconds, and the price, from the network's records."""
    names: Counter[str] = Counter({"SessionTimeout": 1})
    conversations, price = [], Decimal(0)
    for record in pair.calls:
        assert len(record.callees) == 1, record
        legs = [record.caller, record.callees[0]]
        names.update(["SessionFirstPartyAnswer", "SessionSecondPartyRing", "SessionSecondPartyHangup"])
        names.update(["SessionFirstPartyHangup", "SessionPartiesHangup"])
        if legs[1].answered_at is not None:
            names.update(["SessionSecondPartyAnswer"])
        if legs[1].connected and pair.recorded:
            names.update(["SessionRecordingInitiated", "SessionRecordingCompleted"])
        billed = [leg.bill_duration for leg in legs]
        conversations.append((sum(leg.duration for leg in legs), sum(billed)))
        price += sum(billed) * PRICE / 60
    return names, conversations, price


async def check(system: System, receiver: Receiver, pair: Pair, final: Bill) -> None:
    names, conversations, price = truth(pair)
    shown: dict[str, Any] = (await system.http.get(f"{system.api}/{pair.uuid}/")).json()["response"]
    told: dict[str, dict[str, str]] = {
        headers["X-Masking-Callback-Id"]: request
        for headers, request in zip(receiver.headers, receiver.requests, strict=True)
        if request["SessionUUID"] == pair.uuid
    }

    assert Counter(request["EventName"] for request in told.values()) == names
    numbers = {kind: sorted(int(r["SequenceNumber"]) for r in told.values() if ("Recording" in r["EventName"]) is kind)
               for kind in (True, False)}  # fmt: skip
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    interactions = [(int(i["duration"]), i["call_billed_duration"]) for i in shown["interaction"]]
    assert sorted(interactions) == sorted(conversations)
    assert final.calls.amount == price
    assert final.calls.call_count == 2 * len(pair.calls)
    assert shown["total_call_amount"] == float(price)


@pytest.mark.parametrize(
    ("switches", "sessions", "calls"),
    [(ChaosSwitches(), 10, 4), (EVERYTHING, CALLS // 8, 8)],
    ids=["without chaos", "with chaos"],
)
async def test_bills_interactions_and_callbacks_follow_from_what_truly_happened(
    system: System, receiver: Receiver, network: Network, switches: ChaosSwitches, sessions: int, calls: int
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    network.chaos = switches.model_copy(update={"seed": seed})
    gate = asyncio.Semaphore(8)
    pairs = [await create(system, receiver, n) for n in range(sessions)]

    await asyncio.gather(*(call_on(network, pair, calls, random.Random(f"{seed}-{pair.first}")) for pair in pairs))
    bills = await asyncio.gather(*(ended(system, pair, gate) for pair in pairs))

    for pair, final in zip(pairs, bills, strict=True):
        await check(system, receiver, pair, final)
