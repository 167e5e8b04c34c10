"""How fast a call is decided with 100,000 live routes: `python -m benchmarks.answers`.

A carrier's signed answer webhook over HTTP, and the one that brings a PIN, through the gateway's application, on a
real PostgreSQL of its own, with Temporal stopped. Each call belongs to another session, so that each is connected
and written down. Prints the median and the 99th percentile, and their ratio to the cheapest
request that the same server answers in the same run (`GET /healthz`), since machines differ.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import aiohttp
from psycopg import AsyncConnection
from rich.console import Console
from rich.progress import track

from benchmarks.measured import Limits, Measured, report
from benchmarks.system import (
    ACCOUNT,
    CARRIER_TOKEN,
    KEYRING,
    SESSION_COLUMNS,
    TOKEN,
    gateway_app,
    own_postgres,
    served,
    session_row,
)
from masking.carriers.signature import signed_headers
from masking.domain.bill.money import Rate
from masking.domain.lifecycle import opened, requested
from masking.domain.terms import PinTerms, SessionRequest, Terms
from masking.storage.accounts import ensure_account, ensure_numbers
from masking.storage.database import Database
from masking.storage.routes import leases_of

LIMITS = Limits(p99=10.0)
PORT = 18080
NUMBERS = [(f"+120255502{n:02}", "US") for n in range(50)]


class Pair(NamedTuple):
    """Two parties, their number, and the first one's PIN where they have PINs; digits."""

    first: str
    second: str
    number: str
    pin: str = ""


class Asked(NamedTuple):
    """A call, by its numbers, digits; with what was pressed when it is asked for a PIN."""

    caller: str
    number: str
    digits: str | None = None


async def fill(url: str, sessions: int, console: Console) -> list[Pair]:
    """Store live sessions, by COPY. Every 101st asks strangers for a PIN."""
    random.seed(7)
    now, pairs, rows, routes = datetime.now(UTC), [], [], []
    for n in track(range(sessions), "Storing sessions", console=console):
        pin = PinTerms(
            first_party=f"{n:09}", second_party=f"{n + 500_000_000:09}", prompt_play="https://x.example/pin.mp3"
        )
        pair = Pair(
            f"1202{5_000_000 + 2 * n}", f"1202{5_000_001 + 2 * n}", NUMBERS[n % len(NUMBERS)][0][1:],
            pin.first_party if n % 101 == 0 else "",
        )  # fmt: skip
        pairs.append(pair)
        request = SessionRequest(
            session_uuid=str(UUID(int=random.getrandbits(128), version=4)),
            account_id=ACCOUNT,
            terms=Terms(
                first_party=f"+{pair.first}", second_party=f"+{pair.second}", call_time_limit=3600, ring_timeout=120,
                record=True, pin=pin if pair.pin else None,
            ),
            session_expiry=86400,
            rate=Rate(per_minute="0.0085"),
        )  # fmt: skip
        session = opened(requested(request, now), f"+{pair.number}").session
        rows.append(session_row(session))
        routes += [
            (session.virtual_number, lease.caller_hash, session.session_uuid, lease.kind, lease.side,
             session.expires_at, session.expires_at)
            for lease in leases_of(session.session_uuid, session.terms, KEYRING)
        ]  # fmt: skip
    async with await AsyncConnection.connect(url) as connection, connection.cursor() as cursor:
        async with cursor.copy(f"COPY sessions ({SESSION_COLUMNS}) FROM STDIN") as copy:
            for row in rows:
                await copy.write_row(row)
        async with cursor.copy(
            "COPY routes (virtual_number, caller_hash, session_uuid, kind, side, expires_at, held_until) FROM STDIN"
        ) as copy:
            for route in routes:
                await copy.write_row(route)
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("VACUUM ANALYZE")
    return pairs


class Caller:
    """Posts what a carrier would when a call reaches a number, or its caller has entered a PIN."""

    def __init__(self, http: aiohttp.ClientSession, base: str) -> None:
        self._http, self._base = http, base

    async def ask(self, call: Asked) -> str:
        """The XML that the gateway answers with."""
        call_uuid = str(uuid4())
        form = {"CallUUID": call_uuid, "From": call.caller, "To": call.number, "Direction": "inbound"}
        if call.digits is None:
            url, form = f"{self._base}/carrier/voice/answer", form | {"Event": "StartApp"}
        else:
            url, form = f"{self._base}/carrier/voice/calls/{call_uuid}/pin?wrong=0", form | {"Digits": call.digits}
        async with self._http.post(url, data=form, headers=signed_headers("POST", url, form, [CARRIER_TOKEN])) as got:
            return await got.text()

    async def health(self) -> str:
        """The cheapest request."""
        async with self._http.get(f"{self._base}/healthz") as got:
            return await got.text()


async def timed(name: str, asked: list[Asked], caller: Caller, expected: str, console: Console) -> Measured:
    """Ask once for each call, one after the other."""
    taken = []
    for number, call in enumerate(track(asked, name, console=console)):
        began = time.perf_counter()
        document = await caller.ask(call)
        if number >= 20:
            taken.append((time.perf_counter() - began) * 1000)
        if expected not in document:
            raise SystemExit(f"{name}: expected {expected} in {document}")
    return Measured.of(name, taken)


async def main(sessions: int, times: int, *, as_json: bool) -> int:
    """Run all of it. 0 when the 99th percentile stays under the limit, else 1."""
    console = Console(stderr=as_json)
    with tempfile.TemporaryDirectory() as folder, own_postgres(Path(folder)) as url:
        async with Database(url) as database:
            async with database.transaction() as connection:
                await ensure_account(connection, KEYRING, ACCOUNT, TOKEN)
                await ensure_numbers(connection, ACCOUNT, NUMBERS)
            pairs = await fill(url, sessions, console)
            async with (
                gateway_app(database, url, port=PORT) as app,
                served(app, PORT) as base,
                aiohttp.ClientSession() as http,
            ):
                caller = Caller(http, base)
                healths = []
                for _ in range(500):
                    began = time.perf_counter()
                    await caller.health()
                    healths.append((time.perf_counter() - began) * 1000)
                health = Measured.of("health", healths)
                sample = random.sample([pair for pair in pairs if not pair.pin], times)
                strangers = [f"1202{4_000_000 + n}" for n in range(times)]
                guarded = [pair for pair in pairs if pair.pin][:times]
                kinds = {
                    "a party is connected": ([Asked(p.first, p.number) for p in sample], "<Dial"),
                    "a second call gets busy": ([Asked(p.second, p.number) for p in sample], "busy"),
                    "a stranger is asked for a PIN": (
                        [Asked(s, p.number) for s, p in zip(strangers, sample, strict=True)], "<GetDigits",
                    ),
                    "a wrong PIN is asked for again": (
                        [Asked(s, p.number, "123") for s, p in zip(strangers, sample, strict=True)], "<GetDigits",
                    ),
                    "a right PIN connects": (
                        [Asked(f"1203{n:07}", p.number, p.pin) for n, p in enumerate(guarded)], "<Dial",
                    ),
                }  # fmt: skip
                results = [
                    await timed(name, asked, caller, expected, console) for name, (asked, expected) in kinds.items()
                ]
    live = 2 * sessions
    return report(
        console, health, results, LIMITS, title=f"{live} live routes", about={"live_routes": live}, as_json=as_json
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=50_000, help="live sessions, two routes each (default 50000)")
    parser.add_argument("--times", type=int, default=2000, help="how many calls of each kind (default 2000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.sessions, given.times, as_json=given.json)))
