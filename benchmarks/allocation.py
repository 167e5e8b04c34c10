"""What choosing a number costs: `python -m benchmarks.allocation`.

Opens sessions on a real PostgreSQL of its own with 1,000 numbers and 100,000 live sessions, and
again after as many past sessions have piled up. Prints the median and the 99th percentile of
one opening (choice, routes and row in one transaction), and their ratio to an empty
transaction on the same server in the same run, since machines differ.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from psycopg import AsyncConnection
from rich.console import Console
from rich.progress import track

from benchmarks.measured import Limits, Measured, report
from benchmarks.system import ACCOUNT, KEYRING, TOKEN, own_postgres
from masking.domain.bill.money import Rate
from masking.domain.lifecycle import requested
from masking.domain.session import Session
from masking.domain.terms import SessionRequest, Terms
from masking.storage.accounts import ensure_account, ensure_numbers
from masking.storage.database import Database
from masking.storage.opening import Opening, open_session
from masking.storage.routes import identity_hash

LIMITS = Limits(p99=5.0)
CALLERS = 40_000
EMPTY = b"\0"
WARM_UP = 100


def party(n: int) -> str:
    """One of 40,000 parties, so that each has some five live sessions."""
    return f"+1202{5_000_000 + n % CALLERS}"


def asked_for(n: int) -> Session:
    """A session of two parties."""
    request = SessionRequest(
        session_uuid=str(UUID(int=random.getrandbits(128), version=4)),
        account_id=ACCOUNT,
        terms=Terms(first_party=party(n), second_party=party(n * 31 + 7), call_time_limit=3600, ring_timeout=120),
        session_expiry=3600,
        rate=Rate(per_minute="0.0085"),
    )
    return requested(request, datetime.now(UTC))


async def fill(url: str, numbers: list[str], sessions: int, *, past: bool) -> None:
    """Store sessions and their routes by COPY: live ones, or such that have ended long ago.

    Past ones leave routes only where a live one has none: a number and caller have one row.
    """
    now = datetime.now(UTC)
    ends = now - timedelta(days=1) if past else now + timedelta(hours=1)
    hashes = [identity_hash(KEYRING, "number", party(n)) for n in range(CALLERS)]
    async with await AsyncConnection.connect(url) as connection, connection.cursor() as cursor:
        await cursor.execute("CREATE TEMP TABLE staged (LIKE routes INCLUDING DEFAULTS)")
        async with cursor.copy(
            "COPY staged (virtual_number, caller_hash, session_uuid, side, expires_at, held_until) FROM STDIN"
        ) as copy:
            for _ in range(sessions):
                number, uuid = random.choice(numbers), str(UUID(int=random.getrandbits(128), version=4))
                for side in ("first", "second"):
                    await copy.write_row((number, random.choice(hashes), uuid, side, ends, ends))
        await cursor.execute("INSERT INTO routes SELECT * FROM staged ON CONFLICT DO NOTHING")
        async with cursor.copy(
            "COPY sessions (session_uuid, account_id, virtual_number, phase, status, created_at, modified_at,"
            " expires_at, rests_until, duration, key_id, wrapped_key, sealed_terms, sealed_session, version) FROM STDIN"
        ) as copy:
            for _ in range(sessions):
                uuid = str(UUID(int=random.getrandbits(128), version=4))
                rests = ends + timedelta(minutes=10) if random.random() < 0.2 else None
                await copy.write_row(
                    (uuid, ACCOUNT, random.choice(numbers), "settled" if past else "active",
                     "expired" if past else "active", now, now, ends, rests, 3600, "k1", EMPTY, EMPTY, EMPTY, 1)
                )  # fmt: skip
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("VACUUM ANALYZE")
        # What filling left to be written to the disk is not what an opening costs.
        await connection.execute("CHECKPOINT")


async def timed(database: Database, name: str, times: int, console: Console) -> Measured:
    """Open sessions one after the other, each undone so that all meet the same pool."""
    taken = []
    for n in track(range(times + WARM_UP), name, console=console):
        session = asked_for(random.randrange(CALLERS))
        async with database.transaction() as connection, connection.transaction(force_rollback=True):
            began = time.perf_counter()
            opening = await open_session(connection, KEYRING, session, "US")
            if n >= WARM_UP:
                taken.append((time.perf_counter() - began) * 1000)
            if not isinstance(opening, Opening):
                raise SystemExit("the pool is exhausted")
    return Measured.of(name, taken)


async def nothing(database: Database, times: int) -> Measured:
    """An empty transaction with one statement."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        async with database.transaction() as connection:
            await connection.execute("SELECT 1")
        taken.append((time.perf_counter() - began) * 1000)
    return Measured.of("SELECT 1", taken)


async def main(pool: int, sessions: int, times: int, *, as_json: bool) -> int:
    """Run all of it. 0 when the 99th percentile stays under the limit, else 1."""
    console = Console(stderr=as_json)
    random.seed(7)
    numbers = [f"+1202555{n:04}" for n in range(pool)]
    with tempfile.TemporaryDirectory() as folder, own_postgres(Path(folder)) as url:
        async with Database(url) as database:
            async with database.transaction() as connection:
                await ensure_account(connection, KEYRING, ACCOUNT, TOKEN)
                await ensure_numbers(connection, ACCOUNT, [(number, "US") for number in numbers])
            base, results = await nothing(database, times), []
            await fill(url, numbers, sessions, past=False)
            results.append(await timed(database, f"{sessions} live", times, console))
            for round_ in (1, 2):
                await fill(url, numbers, sessions, past=True)
                name = f"{sessions} live, {round_ * sessions} past"
                results.append(await timed(database, name, times, console))
    title = f"opening a session, {pool} numbers"
    return report(console, base, results, LIMITS, title=title, about={"numbers": pool}, as_json=as_json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, default=1000, help="numbers in the pool (default 1000)")
    parser.add_argument("--sessions", type=int, default=100_000, help="live sessions (default 100000)")
    parser.add_argument("--times", type=int, default=1000, help="openings of each kind (default 1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.numbers, given.sessions, given.times, as_json=given.json)))
