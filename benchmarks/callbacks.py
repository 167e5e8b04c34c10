"""How fast callbacks reach customers: `python -m benchmarks.callbacks`.

On a real PostgreSQL and Temporal server of its own, with our worker, our gateway and the customers' endpoints as
processes. First, on an idle system: from a carrier's webhook to the customer's endpoint, one call at a time. Then a
burst: callbacks of many sessions, all due at once, to ten endpoints that take everything; and the same with one of ten
dead, which takes connections and never answers. Beside it the same forms, posted by a bare HTTP client that reads no
database and writes nothing down.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import aiohttp
from aiohttp import web
from rich.console import Console
from rich.table import Table

from benchmarks.customers import customers
from benchmarks.real_system import RealSystem, child, free_ports, our_worker, real_system, until
from benchmarks.system import CARRIER_TOKEN, KEYRING
from benchmarks.told_call import request
from masking.carriers.signature import signed_headers
from masking.client import MaskingClient
from masking.delivery.sender import SESSIONS_AT_ONCE
from masking.domain.callbacks import Callback, addressed, timeout_notice
from masking.domain.lifecycle import opened, requested
from masking.domain.session import Session
from masking.ports import serving
from masking.process import end
from masking.storage.accounts import ensure_account, ensure_numbers
from masking.storage.opening import Opening, open_session
from masking.storage.sessions import record_session

NUMBERS = [(f"+1202555020{n}", "US") for n in range(10)]
ENDPOINTS = 10
APART_S = 0.3
WARM_UP = 5
WITHIN_S = 300.0
LIMIT_MS = 100.0


class FirstTry(NamedTuple):
    """From the carrier's webhook to the customer's endpoint, in milliseconds."""

    median: float
    p99: float


class Told:
    """A customer's endpoint that knows when it was first told of a session."""

    def __init__(self) -> None:
        self._first: dict[str, asyncio.Future[float]] = {}

    def of(self, session_uuid: str) -> asyncio.Future[float]:
        """When, by the performance counter."""
        return self._first.setdefault(session_uuid, asyncio.get_running_loop().create_future())

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its address."""
        async with serving(web.ServerRunner(web.Server(self._take))) as url:
            yield f"{url}/events"

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        arrived, form = time.perf_counter(), await request.post()
        first = self.of(str(form["SessionUUID"]))
        if not first.done():
            first.set_result(arrived)
        return web.Response()


@asynccontextmanager
async def our_gateway(system: RealSystem) -> AsyncIterator[str]:
    """The gateway as a process; its base URL."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    mine = {
        "MASKING_PORT": str(port),
        "MASKING_PUBLIC_URL": url,
        "MASKING_METRICS_PORT": "0",
        "MASKING_CARRIER_AUTH_TOKEN": CARRIER_TOKEN,
    }

    async def is_up() -> bool:
        try:
            async with aiohttp.request("GET", f"{url}/healthz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async with child([sys.executable, "-m", "masking.gateway"], {**system.environment, **mine}):
        await until(is_up)
        yield url


async def first_tries(system: RealSystem, times: int) -> FirstTry:
    """A call to each of so many sessions, one after the other."""
    sessions, told, taken = MaskingClient(system.client), Told(), []
    async with our_gateway(system) as gateway, told.listening() as endpoint, aiohttp.ClientSession() as http:
        for n in range(WARM_UP + times):
            asked = request(n, endpoint, pins=False)
            number = (await sessions.start(asked)).virtual_number
            await asyncio.sleep(APART_S)
            url = f"{gateway}/carrier/voice/answer"
            form = {
                "CallUUID": str(uuid4()), "From": asked.terms.first_party[1:], "To": number[1:],
                "Direction": "inbound", "Event": "StartApp",
            }  # fmt: skip
            headers, began = signed_headers("POST", url, form, [CARRIER_TOKEN]), time.perf_counter()
            async with http.post(url, data=form, headers=headers) as answer:
                answer.raise_for_status()
            arrived = await asyncio.wait_for(told.of(asked.session_uuid), WITHIN_S)
            if n >= WARM_UP:
                taken.append((arrived - began) * 1000)
    return FirstTry(statistics.median(taken), statistics.quantiles(taken, n=100)[98])


async def prepare(system: RealSystem) -> list[str]:
    """An account for each endpoint, with a number of its own."""
    accounts = [f"MACUSTOMER{n:010}" for n in range(ENDPOINTS)]
    async with system.database.transaction() as connection:
        for n, account in enumerate(accounts):
            await ensure_account(connection, KEYRING, account, f"token-of-{n}")
            await ensure_numbers(connection, account, [(f"+1202555030{n}", "US")])
    return accounts


class Burst:
    """Callbacks of many sessions that become due at once."""

    def __init__(self, system: RealSystem, accounts: Sequence[str], sessions: int, each: int) -> None:
        self._system, self._accounts, self._sessions, self._each = system, accounts, sessions, each
        self._numbered = itertools.count(100_000)

    async def per_second(self, urls: Sequence[str], dead: str | None = None) -> float:
        """How many are delivered a second: of those whose endpoint lives, from being due to being written down.

        Args:
            urls: of each account's endpoint.
            dead: the one whose callbacks are not waited for.
        """
        living = [callback for callback in await self._queued(urls) if callback.url != dead]
        began = time.monotonic()
        async with self._system.database.transaction() as connection:
            await connection.execute("UPDATE callbacks SET due_at = now() WHERE due_at = 'infinity'")
        left = "SELECT FROM callbacks WHERE callback_id = ANY(%s) AND state <> 'delivered' LIMIT 1"
        ids = [callback.callback_id for callback in living]

        async def all_delivered() -> bool:
            async with self._system.database.transaction() as connection:
                return await (await connection.execute(left, (ids,))).fetchone() is None

        async with asyncio.timeout(WITHIN_S):
            while not await all_delivered():  # noqa: ASYNC110 other processes set no event
                await asyncio.sleep(0.05)
        taken = time.monotonic() - began
        async with self._system.database.transaction() as connection:
            # The dead one's are not to disturb the next burst.
            await connection.execute("UPDATE callbacks SET state = 'dead' WHERE state = 'pending'")
        return len(living) / taken

    async def _queued(self, urls: Sequence[str]) -> list[Callback]:
        queued = []
        for n in range(self._sessions):
            now, account = datetime.now(UTC), n % len(urls)
            asked = request(next(self._numbered), urls[account], pins=False)
            asking = requested(asked.model_copy(update={"account_id": self._accounts[account]}), now)
            async with self._system.database.transaction() as connection:
                opening = await open_session(connection, KEYRING, asking, None)
                if not isinstance(opening, Opening):
                    raise SystemExit("no number is free")
                session = opened(asking, opening.virtual_number).session
                told = [callback_of(session, sequence) for sequence in range(1, self._each + 1)]
                await record_session(connection, KEYRING, session, told)
                await connection.execute(
                    "UPDATE callbacks SET due_at = 'infinity' WHERE session_uuid = %s", (session.session_uuid,)
                )
            queued += told
        return queued


def callback_of(session: Session, sequence: int) -> Callback:
    """The session's callback with that number, as long as one is."""
    named = session.model_copy(update={"session_sequence": sequence - 1})
    _, callback = addressed(named, timeout_notice(session.created_at))
    if callback is None:
        raise SystemExit("the session has no address for callbacks")
    return callback


async def bare_per_second(urls: Sequence[str], sessions: int, each: int) -> float:
    """The same number of forms posted by a bare client: as many sessions at once, each one's one after the other."""
    body = {"EventName": "SessionTimeout", "EventTimestamp": "2026-11-26 10:00:00", "SessionUUID": str(uuid4()),
            "VirtualNumber": "12025550100", "SequenceNumber": "1"}  # fmt: skip
    waiting = iter(range(sessions))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def post_some() -> None:
            for n in waiting:
                for _ in range(each):
                    async with http.post(urls[n % len(urls)], data=body) as answer:
                        await answer.read()

        began = time.monotonic()
        await asyncio.gather(*(post_some() for _ in range(SESSIONS_AT_ONCE)))
        return sessions * each / (time.monotonic() - began)


class Rates(NamedTuple):
    """Callbacks a second."""

    bare: float
    all_alive: float
    one_dead: float


async def bursts(system: RealSystem, sessions: int, each: int) -> Rates:
    """The bare client, ours with all endpoints alive, and with one of ten dead."""
    async with customers(ENDPOINTS) as endpoints:
        burst = Burst(system, await prepare(system), sessions, each)
        await burst.per_second(endpoints.fast)
        return Rates(
            bare=await bare_per_second(endpoints.fast, sessions, each),
            all_alive=await burst.per_second(endpoints.fast),
            one_dead=await burst.per_second([*endpoints.fast[:-1], endpoints.dead], dead=endpoints.dead),
        )


def show(first: FirstTry, rates: Rates, console: Console) -> None:
    """For people."""
    console.print(f"first try, idle: median {first.median:.0f} ms (limit {LIMIT_MS:.0f}), p99 {first.p99:.0f} ms")
    table = Table("burst", "callbacks a second", "to the bare client")
    for name, rate in zip(("bare client", "all endpoints alive", "one of ten dead"), rates, strict=True):
        table.add_row(name, f"{rate:.0f}", f"{rate / rates.bare:.2f}")
    console.print(table)


async def main(times: int, sessions: int, each: int, *, as_json: bool) -> int:
    """Run all of it. 0 when the median of the first tries stays under the limit, else 1."""
    console = Console(stderr=as_json)
    with tempfile.TemporaryDirectory() as folder, console.status("measuring") as status:
        async with real_system(Path(folder), NUMBERS) as system, our_worker(system):
            status.update(f"{times} calls, one after the other")
            first = await first_tries(system, times)
            status.update(f"three bursts of {sessions * each} callbacks")
            rates = await bursts(system, sessions, each)
    if as_json:
        print(json.dumps({"first_try_ms": first._asdict(), "per_second": rates._asdict()}))
    else:
        show(first, rates, console)
    return 0 if first.median < LIMIT_MS else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=100, help="calls to an idle system (default 100)")
    parser.add_argument("--sessions", type=int, default=1000, help="sessions of a burst (default 1000)")
    parser.add_argument("--each", type=int, default=4, help="callbacks of each of them (default 4)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    end(asyncio.run(main(given.times, given.sessions, given.each, as_json=given.json)))
