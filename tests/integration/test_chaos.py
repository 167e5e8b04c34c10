"""Hundreds of calls over a network that loses, repeats, delays and reorders what it reports; `make chaos` for 1,000.

The network's own records say what truly happened on each call. What a session's bill,
interactions and callbacks must be follows from them, chaos or not. Sessions are of five kinds:
pairs, some of them recorded; with PINs, called by their parties and by guests who may guess;
with a single party, called by whoever; with a first call that we place; and with a last call
that is in progress when the session is ended, after which late callers come.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from masking.carriers.simulator.application import ApplicationClient
from masking.carriers.simulator.applications import voice_application
from masking.carriers.simulator.chaos import ChaosSwitches
from masking.carriers.simulator.clock import SimulatedClock
from masking.carriers.simulator.network import Network
from masking.carriers.simulator.phones import Behaviour
from masking.carriers.simulator.records import CallRecord
from masking.carriers.simulator.server import build_app
from masking.carriers.voice.setup import wanted_for
from masking.contract import TASK_QUEUE
from masking.domain.bill.charges import Bill
from masking.health import is_polling
from masking.ports import serving
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from masking.storage.accounts import ensure_numbers
from masking.storage.database import Database
from tests.conftest import ACCOUNT, KEYS, POOL
from tests.integration.conftest import CARRIER_TOKEN, Receiver, System, namespace_of_its_own

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900), pytest.mark.long]

WORKER = Path(__file__).parent.parent.parent / "worker.py"
SPEED = 100.0
CALLS = int(os.environ.get("CHAOS_CALLS", "88"))
PRICE = Decimal("0.0085")
PROMPT = "https://x.example/pin.mp3"
EVERYTHING = ChaosSwitches(drop=0.15, duplicate=0.1, delay=0.1, reorder=0.3, late_by=20)
KINDS = ("pin", "single", "placed", "ended", "pair")
MORE_NUMBERS = [(f"+1202555{n:04}", "US") for n in range(1000, 1060)]
"""A session that is open to anyone needs a number without others of its kind and without PINs."""


@dataclass
class Ride:
    """A session, its phones, and the calls they made as the network recorded them.

    Attributes:
        pins: the outcomes of PINs that must be told, each with its retry counter.
        asking: of the sessions with PINs on the number the one that asks: it hears of what is wrong.
        last_caller: whom the single party reaches; empty when nobody can be.
    """

    kind: str
    uuid: str
    number: str
    first: str
    second: str
    guests: tuple[str, ...]
    recorded: bool
    right_pins: dict[str, str]
    calls: list[CallRecord] = field(default_factory=list)
    pins: Counter[tuple[str, str]] = field(default_factory=Counter)
    asking: Ride | None = None
    last_caller: str = ""


@pytest.fixture
def task_queue() -> str:
    return TASK_QUEUE


@pytest.fixture
async def temporal(temporal: Client, keyring: Keyring) -> Client:
    """The worker's process serves the queue of this name, whosever sessions are there."""
    return await namespace_of_its_own(temporal, keyring)


@pytest.fixture
def more_settings() -> dict[str, Any]:
    """So many wrong PINs as here are many."""
    return {"pin_failures_per_caller": 10_000, "pin_failures_per_number": 1_000_000}


@pytest.fixture
async def worker(migrated_url: str, temporal: Client, settings: Settings, database: Database) -> AsyncIterator[None]:
    """A worker in a process of its own, so that both cores have work."""
    del database  # emptied before anybody uses it
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MASKING_", "TEMPORAL_"))}
    environment |= {
        "DATABASE_URL": migrated_url,
        "TEMPORAL_ADDRESS": temporal.service_client.config.target_host,
        "TEMPORAL_NAMESPACE": temporal.namespace,
        "MASKING_KEYS": KEYS,
        "MASKING_CARRIER_API_URL": settings.carrier_api_url or "",
        "MASKING_CARRIER_AUTH_TOKEN": CARRIER_TOKEN,
        "MASKING_PORT": str(settings.port),
        "MASKING_CALLBACK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "MASKING_RECORDING_WAIT": str(settings.recording_wait),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, WORKER, env=environment)
    try:
        # A create waits less long than a worker takes to start on a busy machine.
        async with asyncio.timeout(60):
            while not await is_polling(temporal, f"{process.pid}@{socket.gethostname()}"):  # noqa: ASYNC110 a process
                await asyncio.sleep(0.1)
        yield
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 60)


@pytest.fixture
async def network(system: System, tmp_path: Path, simulator_port: int) -> AsyncIterator[Network]:
    async with system.database.transaction() as connection:
        await ensure_numbers(connection, ACCOUNT, MORE_NUMBERS)
    async with ApplicationClient(CARRIER_TOKEN) as client:
        recordings = tmp_path / "recordings"
        network = Network(client, SimulatedClock(SPEED), recordings, "http://carrier.example/media")
        _, *urls = wanted_for(system.settings.base_url)
        for number, _ in POOL + MORE_NUMBERS:
            network.inventory.bind(number, voice_application(*urls))
        async with serving(build_app(network), simulator_port):
            yield network
            await network.close()


async def create(system: System, receiver: Receiver, network: Network, n: int, chance: random.Random) -> Ride:
    kind, recorded = KINDS[n % len(KINDS)], n % 10 == KINDS.index("pair")
    first, second = f"+1202556{n:04}", f"+1202557{n:04}"
    first_pin, second_pin = f"{10_000 + n}", f"{50_000 + n}"
    body: dict[str, Any] = {
        "first_party": first, "second_party": second, "record": recorded, "ring_timeout": 10,
        "callback_url": receiver.url, "recording_callback_url": receiver.url, "session_expiry": 86400,
    }  # fmt: skip
    if kind == "pin":
        body |= {
            "is_pin_authentication_required": True, "pin_prompt_play": PROMPT,
            "first_party_pin": first_pin, "second_party_pin": second_pin, "pin_retry": 2,
        }  # fmt: skip
    elif kind == "single":
        body |= {"second_party": "", "create_session_with_single_party": True}
    elif kind == "placed":
        body |= {"initiate_call_to_first_party": True}
        for phone in (first, second):
            network.phone(phone).behaviour = behaviour(chance, recorded)
    response = await system.http.post(f"{system.api}/", json=body, timeout=60)
    assert response.status_code == 201, response.text
    answer = response.json()
    return Ride(
        kind=kind, uuid=answer["session_uuid"], number=answer["virtual_number"], first=first, second=second,
        guests=tuple(f"+1202558{n:03}{guest}" for guest in range(3)), recorded=recorded,
        right_pins={first: first_pin, second: second_pin},
    )  # fmt: skip


async def ended(system: System, ride: Ride, gate: asyncio.Semaphore) -> Bill:
    """Expire a session, and wait for its bill."""
    async with gate:
        await expire(system, ride)
        return await asyncio.wait_for(system.sessions.final_bill(ride.uuid), 60)


async def expire(system: System, ride: Ride) -> None:
    """On a busy machine the outcome may take a second question."""
    for _ in range(10):
        response = await system.http.delete(f"{system.api}/{ride.uuid}/")
        if response.status_code != 503:
            break
    assert response.status_code == 200 or response.json()["error"] == "Session already expired"


def behaviour(chance: random.Random, recorded: bool) -> Behaviour:
    talk = chance.uniform(1, 3) if recorded else chance.uniform(1, 130)
    kind = chance.choices(["answer", "busy", "reject", "ignore"], [6, 1, 1, 1])[0]
    return Behaviour.model_validate(
        {"on_ring": kind, "answers_after": chance.uniform(0, 8), "hangs_up_after": talk, "hidden": False}
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 the network has no event for it
            await asyncio.sleep(0.05)


async def over(ride: Ride, record: CallRecord) -> CallRecord:
    """A call once the gateway has heard the end of it."""
    await until(lambda: record.reported)
    ride.calls.append(record)
    return record


async def call(network: Network, ride: Ride, caller: str, chance: random.Random, **acts: Any) -> CallRecord:
    """One call, its phones behaving as chance has it."""
    for number in (ride.first, ride.second, *ride.guests):
        network.phone(number).behaviour = behaviour(chance, ride.recorded)
    phone = network.phone(caller)
    phone.behaviour = phone.behaviour.model_copy(update=acts)
    return await over(ride, network.dial(caller, ride.number))


async def pair_calls(network: Network, ride: Ride, chance: random.Random) -> None:
    """Either party calls the other."""
    caller, callee = chance.sample([ride.first, ride.second], 2)
    record = await call(network, ride, caller, chance)
    assert [leg.number for leg in record.callees] == [callee]


async def guest_calls(network: Network, ride: Ride, chance: random.Random) -> None:
    """A guest enters a party's PIN, perhaps after some guesses, or never; or a party calls."""
    if chance.random() < 0.3:
        await pair_calls(network, ride, chance)
        ride.pins["AuthorizedCaller", "0"] += 1
        return
    guesses = chance.choices([0, 1, 2, 3], [4, 2, 1, 2])[0]
    party, callee = chance.sample([ride.first, ride.second], 2)
    keys = [chance.choice(["00000#", ""]) for _ in range(guesses)] + [f"{ride.right_pins[party]}#"]
    record = await call(network, ride, chance.choice(ride.guests), chance, presses=tuple(keys))
    # On a busy machine a key may come too late; how often it was asked tells how many tries there were.
    tries = sum(line.what == "heard" and line.detail == PROMPT for line in record.transcript)
    assert [leg.number for leg in record.callees] in ([], [callee])
    if record.callees:
        ride.pins["success", str(tries - 1)] += 1
    wrong = range(1, tries if record.callees else tries + 1)
    (ride.asking or ride).pins.update(("failed", str(counter)) for counter in wrong)


async def anyone_calls(network: Network, ride: Ride, chance: random.Random) -> None:
    """Somebody calls the single party, or it calls back."""
    if chance.random() < 0.4:
        record = await call(network, ride, ride.first, chance)
        assert [leg.number for leg in record.callees] == ([ride.last_caller] if ride.last_caller else [])
        return
    caller, hidden = chance.choice(ride.guests), chance.random() < 0.2
    record = await call(network, ride, caller, chance, hidden=hidden)
    assert [leg.number for leg in record.callees] == [ride.first]
    ride.last_caller = "" if hidden else caller


async def placed_call(network: Network, ride: Ride) -> None:
    """The call that the session makes to its first party."""
    await until(lambda: any(each.caller.number == ride.first for each in network.calls()))
    await over(ride, next(each for each in network.calls() if each.caller.number == ride.first))


async def last_calls(system: System, network: Network, ride: Ride, chance: random.Random) -> None:
    """One that finds the session's end in progress, and one that comes too late."""
    for number in (ride.first, ride.second):
        network.phone(number).behaviour = Behaviour(hangs_up_after=chance.uniform(200, 300))
    record = network.dial(ride.first, ride.number)
    # On a busy machine it may not be picked up in time.
    await until(lambda: network.phone(ride.second).state == "talking" or record.reported)
    await expire(system, ride)
    await over(ride, record)
    assert (await over(ride, network.dial(ride.second, ride.number))).callees == []


async def call_on(system: System, network: Network, ride: Ride, times: int, chance: random.Random) -> None:
    """One call after the other, each once the gateway has heard the end of the one before."""
    if ride.kind == "placed":
        await placed_call(network, ride)
    one = {"pin": guest_calls, "single": anyone_calls}.get(ride.kind, pair_calls)
    for _ in range(times - len(ride.calls) - (2 if ride.kind == "ended" else 0)):
        await one(network, ride, chance)
    if ride.kind == "ended":
        await last_calls(system, network, ride, chance)


def truth(ride: Ride) -> tuple[Counter[str], list[tuple[int, int]], Decimal]:
    """The callbacks, each conversation's seconds and billed seconds, and the price, from the network's records."""
    names: Counter[str] = Counter({"SessionTimeout": 1, "SessionPinAuthenticationStatus": ride.pins.total()})
    conversations, price = [], Decimal(0)
    for record in ride.calls:
        placed = ride.kind == "placed" and record is ride.calls[0]
        if not record.callees and not placed:
            continue
        legs = [record.caller, *record.callees]
        names.update(["SessionFirstPartyHangup", "SessionPartiesHangup"])
        if record.callees:
            names.update(["SessionFirstPartyAnswer", "SessionSecondPartyRing", "SessionSecondPartyHangup"])
            names.update(["SessionSecondPartyAnswer"] if record.callees[0].answered_at is not None else [])
        if ride.recorded and legs[-1].connected:
            names.update(["SessionRecordingInitiated", "SessionRecordingCompleted"])
        billed = [leg.bill_duration for leg in legs]
        conversations.append((sum(leg.duration for leg in legs), sum(billed)))
        price += sum(billed) * PRICE / 60
    return +names, conversations, price


def told_of(ride: Ride, receiver: Receiver) -> dict[str, dict[str, str]]:
    """What the customer was told of a session, each callback once."""
    sent = zip(receiver.headers, receiver.requests, strict=True)
    return {h["X-Masking-Callback-Id"]: request for h, request in sent if request["SessionUUID"] == ride.uuid}


async def check(system: System, receiver: Receiver, ride: Ride, final: Bill) -> None:
    names, conversations, price = truth(ride)
    with contextlib.suppress(TimeoutError):
        await until(lambda: len(told_of(ride, receiver)) >= names.total())
    told = told_of(ride, receiver)
    shown: dict[str, Any] = (await system.http.get(f"{system.api}/{ride.uuid}/")).json()["response"]

    assert Counter(request["EventName"] for request in told.values()) == names, ride.kind
    pins = [each for each in told.values() if "PinAuthenticationStatus" in each]
    assert Counter((each["PinAuthenticationStatus"], each["PinRetryCounter"]) for each in pins) == ride.pins
    numbers = {kind: sorted(int(r["SequenceNumber"]) for r in told.values() if ("Recording" in r["EventName"]) is kind)
               for kind in (True, False)}  # fmt: skip
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    interactions = [(int(i["duration"]), i["call_billed_duration"]) for i in shown["interaction"] or []]
    assert sorted(interactions) == sorted(conversations)
    assert final.calls.amount == price
    assert final.calls.call_count == names["SessionFirstPartyHangup"] + names["SessionSecondPartyHangup"]
    assert shown["total_call_amount"] == float(price)


@pytest.mark.parametrize(
    ("switches", "sessions", "calls"),
    [(ChaosSwitches(), 10, 3), (EVERYTHING, CALLS // 8, 8)],
    ids=["without chaos", "with chaos"],
)
async def test_bills_interactions_and_callbacks_follow_from_what_truly_happened(
    system: System, receiver: Receiver, network: Network, switches: ChaosSwitches, sessions: int, calls: int
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    network.chaos = switches.model_copy(update={"seed": seed})
    gate = asyncio.Semaphore(8)
    chances = [random.Random(f"{seed}-{n}") for n in range(sessions)]
    rides = [await create(system, receiver, network, n, chance) for n, chance in enumerate(chances)]

    askers = {ride.number: ride for ride in rides if ride.kind == "pin"}
    for ride in rides:
        # The last one made lives longest.
        ride.asking = askers.get(ride.number)
    calling = (call_on(system, network, ride, calls, chance) for ride, chance in zip(rides, chances, strict=True))
    await asyncio.gather(*calling)
    bills = await asyncio.gather(*(ended(system, ride, gate) for ride in rides))

    assert all(len(ride.calls) == calls for ride in rides)
    assert switches == ChaosSwitches() or any(ride.pins["success", "0"] for ride in rides)
    for ride, final in zip(rides, bills, strict=True):
        await check(system, receiver, ride, final)
