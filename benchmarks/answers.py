"""How fast a call is decided with 100,000 live routes: `python -m benchmarks.answers`.

A carrier's signed answer webhook over HTTP, through the gateway's application, on a real
PostgreSQL of its own, with Temporal stopped. Each call belongs to another session, so that each is connected and
written down. Prints the median and the 99th percentile, and their ratio to the cheapest
request that the same server answers in the same run (`GET /healthz`), since machines differ.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
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
from rich.table import Table

from benchmarks.system import ACCOUNT, CARRIER_TOKEN, TOKEN, gateway_app, own_postgres, served
from masking.carriers.signature import signed_headers
from masking.domain.lifecycle import opened, requested
from masking.domain.money import Rate
from masking.domain.terms import PinTerms, SessionRequest, Terms
from masking.privacy.keyring import Keyring
from masking.privacy.session_cipher import new_wrapped_key, unwrapped
from masking.storage.accounts import ensure_account, ensure_numbers
from masking.storage.database import Database
from masking.storage.routes import identity_hash, leases_of

P99_MS = 10.0
PORT = 18080
NUMBERS = [(f"+120255502{n:02}", "US") for n in range(50)]


class Measured(NamedTuple):
    """One kind of webhook: milliseconds."""

    name: str
    median: float
    p99: float


class Pair(NamedTuple):
    """Two parties and their number; digits."""

    first: str
    second: str
    number: str


async def fill(url: str, keyring: Keyring, sessions: int, console: Console) -> list[Pair]:
    """Store live sessions, by COPY. Every 101st asks strangers for a PIN."""
    random.seed(7)
    now, pairs, rows, routes = datetime.now(UTC), [], [], []
    for n in track(range(sessions), "Storing sessions", console=console):
        pair = Pair(f"1202{5_000_000 + 2 * n}", f"1202{5_000_001 + 2 * n}", NUMBERS[n % len(NUMBERS)][0][1:])
        pairs.append(pair)
        pin = PinTerms(
            first_party=f"{n:09}", second_party=f"{n + 500_000_000:09}", prompt_play="https://x.example/pin.mp3"
        )
        request = SessionRequest(
            session_uuid=str(UUID(int=random.getrandbits(128), version=4)),
            account_id=ACCOUNT,
            terms=Terms(
                first_party=f"+{pair.first}", second_party=f"+{pair.second}", call_time_limit=3600, ring_timeout=120,
                record=True, pin=pin if n % 101 == 0 else None,
            ),
            session_expiry=86400,
            rate=Rate(per_minute="0.0085"),
        )  # fmt: skip
        session = opened(requested(request, now), f"+{pair.number}").session
        key_id, wrapped = new_wrapped_key(keyring)
        cipher = unwrapped(keyring, session.session_uuid, key_id, wrapped)
        rows.append(
            (
                session.session_uuid, ACCOUNT, session.virtual_number, session.phase, session.status, now, now,
                session.expires_at, session.duration, identity_hash(keyring, "number", session.terms.first_party),
                identity_hash(keyring, "number", session.terms.second_party), key_id, wrapped,
                cipher.seal(session.terms), cipher.seal(session), session.version,
            )
        )  # fmt: skip
        routes += [
            (session.virtual_number, lease.caller_hash, session.session_uuid, lease.kind, lease.side,
             session.expires_at, session.expires_at)
            for lease in leases_of(session.session_uuid, session.terms, keyring)
        ]  # fmt: skip
    async with await AsyncConnection.connect(url) as connection, connection.cursor() as cursor:
        async with cursor.copy(
            "COPY sessions (session_uuid, account_id, virtual_number, phase, status, created_at, modified_at,"
            " expires_at, duration, first_party_hash, second_party_hash, key_id, wrapped_key, sealed_terms,"
            " sealed_session, version) FROM STDIN"
        ) as copy:
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
    """Posts what a carrier would when a call reaches a number."""

    def __init__(self, http: aiohttp.ClientSession, base: str) -> None:
        self._http, self._base = http, base

    async def ask(self, caller: str, number: str) -> str:
        """The XML that the gateway answers with."""
        url = f"{self._base}/carrier/voice/answer"
        form = {"CallUUID": str(uuid4()), "From": caller, "To": number, "Direction": "inbound", "Event": "StartApp"}
        async with self._http.post(url, data=form, headers=signed_headers("POST", url, form, [CARRIER_TOKEN])) as got:
            return await got.text()

    async def health(self) -> str:
        """The cheapest request."""
        async with self._http.get(f"{self._base}/healthz") as got:
            return await got.text()


async def timed(name: str, asked: list[tuple[str, str]], caller: Caller, expected: str, console: Console) -> Measured:
    """Ask once for each caller and number, one after the other."""
    taken = []
    for number, (phone, virtual) in enumerate(track(asked, name, console=console)):
        began = time.perf_counter()
        document = await caller.ask(phone, virtual)
        if number >= 20:
            taken.append((time.perf_counter() - began) * 1000)
        if expected not in document:
            raise SystemExit(f"{name}: expected {expected} in {document}")
    return Measured(name, statistics.median(taken), statistics.quantiles(taken, n=100)[98])


async def main(sessions: int, times: int, *, as_json: bool) -> int:
    """Run all of it. 0 when the 99th percentile stays under the limit, else 1."""
    console = Console(stderr=as_json)
    keyring = Keyring({"k1": b"1" * 32}, "k1", b"2" * 32)
    with tempfile.TemporaryDirectory() as folder, own_postgres(Path(folder)) as url:
        async with Database(url) as database:
            async with database.transaction() as connection:
                await ensure_account(connection, keyring, ACCOUNT, TOKEN)
                await ensure_numbers(connection, ACCOUNT, NUMBERS)
            pairs = await fill(url, keyring, sessions, console)
            async with (
                gateway_app(database, url, keyring, port=PORT) as app,
                served(app, PORT) as base,
                aiohttp.ClientSession() as http,
            ):
                caller = Caller(http, base)
                healths = []
                for _ in range(500):
                    began = time.perf_counter()
                    await caller.health()
                    healths.append((time.perf_counter() - began) * 1000)
                health = Measured("health", statistics.median(healths), statistics.quantiles(healths, n=100)[98])
                sample = random.sample(pairs, times)
                results = [
                    await timed(
                        "a party is connected", [(p.first, p.number) for p in sample], caller, "<Dial", console
                    ),
                    await timed(
                        "a second call gets busy", [(p.second, p.number) for p in sample], caller, "busy", console
                    ),
                    await timed(
                        "a stranger is asked for a PIN", [("12025999999", p.number) for p in sample], caller,
                        "<GetDigits", console,
                    ),
                ]  # fmt: skip
    return report(console, sessions, health, results, as_json=as_json)


def report(console: Console, sessions: int, health: Measured, results: list[Measured], *, as_json: bool) -> int:
    """Show the figures."""
    ok = all(each.p99 < P99_MS for each in results)
    if as_json:
        told = [each._asdict() | {"median_to_health": each.median / health.median} for each in results]
        print(json.dumps({"live_routes": 2 * sessions, "ok": ok, "health": health._asdict(), "answers": told}))
        return 0 if ok else 1
    table = Table("webhook", "median ms", "p99 ms", "median : health", title=f"{2 * sessions} live routes")
    for each in (health, *results):
        table.add_row(each.name, f"{each.median:.1f}", f"{each.p99:.1f}", f"{each.median / health.median:.1f}")
    console.print(table)
    console.print(f"p99 < {P99_MS:g} ms everywhere: {'yes' if ok else 'NO'}")
    return 0 if ok else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=50_000, help="live sessions, two routes each (default 50000)")
    parser.add_argument("--times", type=int, default=2000, help="how many calls of each kind (default 2000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.sessions, given.times, as_json=given.json)))
