"""Retrieve and list with 100,000 stored sessions: `python -m benchmarks.reads`.

Over HTTP, through the gateway's application, on a real PostgreSQL of its own. Prints the
median and the 99th percentile of each kind of read, and their ratio to the cheapest request
that the same server answers in the same run (`GET /healthz`), since machines differ.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import aiohttp
from psycopg import AsyncConnection
from rich.console import Console
from rich.progress import track

from benchmarks.measured import Limits, Measured, report
from benchmarks.system import ACCOUNT, KEYRING, SESSION_COLUMNS, TOKEN, gateway_app, own_postgres, served, session_row
from masking.domain.bill.money import Rate
from masking.domain.lifecycle import expired, opened, requested
from masking.domain.session import Phase, Session
from masking.domain.terms import SessionRequest, Terms
from masking.storage.accounts import ensure_account, ensure_numbers
from masking.storage.database import Database

LIMITS = Limits(median=20.0, p99=100.0)
NUMBERS = [(f"+120255502{n:02}", "US") for n in range(50)]
BUSY_NUMBER = NUMBERS[0][0]
BUSINESS = "+12025551000"
"""A party of two in five sessions."""
SUBACCOUNT = "SABENCHMARK000000000"
DAYS = 40


def party(n: int) -> str:
    """One of 20,000 numbers, so that a party has some ten sessions."""
    return f"+1202{5_000_000 + n % 20_000}"


def stored_session(n: int, count: int, now: datetime) -> Session:
    """The n-th of `count` sessions, the last of them made a moment ago; nine of ten have ended.

    Of five, two are the business's, one is the subaccount's, and one has the busy number, whichever they are.
    """
    made = now - timedelta(days=DAYS) * ((count - n) / count)
    request = SessionRequest(
        session_uuid=str(UUID(int=random.getrandbits(128), version=4)),
        account_id=ACCOUNT,
        subaccount_id=SUBACCOUNT if random.random() < 0.2 else None,
        terms=Terms(
            first_party=BUSINESS if random.random() < 0.4 else party(n),
            second_party=party(n * 7 + 1),
            call_time_limit=3600,
            ring_timeout=120,
        ),
        session_expiry=60 + n % 86_000,
        rate=Rate(per_minute="0.0085"),
        resource_base_url=f"http://localhost/v1/Account/{ACCOUNT}",
    )
    number = BUSY_NUMBER if random.random() < 0.2 else NUMBERS[n % len(NUMBERS)][0]
    session = opened(requested(request, made), number).session
    if n % 10 and session.expires_at > now:
        session = expired(session, now).session
    if session.expires_at <= now:
        session = session.model_copy(update={"phase": Phase.SETTLED, "settled_at": session.expires_at})
    return session


async def fill(url: str, count: int, console: Console) -> list[str]:
    """Store the sessions, by COPY; their ids."""
    random.seed(7)
    now, ids = datetime.now(UTC), []
    statement = f"COPY sessions ({SESSION_COLUMNS}) FROM STDIN"
    async with (
        await AsyncConnection.connect(url) as connection,
        connection.cursor() as cursor,
        cursor.copy(statement) as copy,
    ):
        for n in track(range(count), "Storing sessions", console=console):
            session = stored_session(n, count, now)
            ids.append(session.session_uuid)
            await copy.write_row(session_row(session))
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("VACUUM ANALYZE sessions")
    return ids


def reads(ids: list[str], count: int) -> dict[str, Callable[[], str]]:
    """The address of each kind of read, another at every call."""
    now = datetime.now(UTC)

    def moment(days: float) -> str:
        return (now - timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S")

    def somebody() -> str:
        return party(random.randrange(20_000))

    def far(share: float = 1.0) -> str:
        """An offset anywhere among the sessions of 30 days, of which a list shows a share."""
        return f"offset={random.randrange(int(count * 30 / DAYS * share))}"

    month = f"created_time__gte={moment(29.9)}"
    week_of_expiry = f"expiry_time__gte={moment(30)}&expiry_time__lt={moment(23)}"
    month_of_expiry = f"expiry_time__gte={moment(29.9)}"
    business, busy = f"first_party={BUSINESS[1:]}", f"virtual_number={BUSY_NUMBER[1:]}"
    of_subaccount = f"subaccount={SUBACCOUNT}"
    return {
        "retrieve": lambda: f"{random.choice(ids)}/",
        "list": lambda: "",
        "list, a far page": lambda: f"?offset={random.randrange(int(count * 7 / DAYS))}",
        "list, 30 days": lambda: f"?{month}",
        "list, 30 days, a far page": lambda: f"?{month}&{far()}",
        "list, active, 30 days": lambda: f"?status=active&{month}",
        "list, expired, 30 days, a far page": lambda: f"?status=expired&{month}&{far(0.95)}",
        "list, in-progress, 30 days": lambda: f"?status=in-progress&{month}",
        "list, first party": lambda: f"?first_party={somebody()[1:]}",
        "list, second party, 30 days": lambda: f"?second_party={somebody()[1:]}&{month}",
        "list, both parties": lambda: f"?first_party={somebody()[1:]}&second_party={somebody()[1:]}",
        "list, busy party, 30 days": lambda: f"?{business}&{month}",
        "list, busy party, 30 days, a far page": lambda: f"?{business}&{month}&{far(0.39)}",
        "list, virtual number": lambda: f"?virtual_number={random.choice(NUMBERS)[0][1:]}",
        "list, busy number, 30 days, a far page": lambda: f"?{busy}&{month}&{far(0.21)}",
        "list, subaccount, 30 days, a far page": lambda: f"?{of_subaccount}&{month}&{far(0.19)}",
        "list, busy party and number, a far page": lambda: f"?{business}&{busy}&{month}&{far(0.08)}",
        "list, busy party, number, subaccount": lambda: f"?{business}&{busy}&{of_subaccount}&{month}",
        "list, busy party and anybody": lambda: f"?{business}&second_party={somebody()[1:]}&{month}",
        "list, busy party, expired, a far page": lambda: f"?{business}&status=expired&{month}&{far(0.37)}",
        "list, created within an hour": lambda: f"?created_time__gte={moment(3.04)}&created_time__lt={moment(3)}",
        "list, expiry within an hour": lambda: f"?expiry_time__gte={moment(3.04)}&expiry_time__lt={moment(3)}",
        "list, expiry in an old week, a far page": lambda: f"?{week_of_expiry}&{far(7 / 30)}",
        "list, expiry in 30 days, a far page": lambda: f"?{month_of_expiry}&{far()}",
        "list, busy party, expiry in 30 days, far": lambda: f"?{business}&{month_of_expiry}&{far(0.39)}",
        "list, duration": lambda: f"?duration__gte={random.randrange(80_000)}",
        "list, one duration, 30 days": lambda: f"?duration={random.randrange(60, 86_000)}&{month}",
        "list, durations, 30 days, a far page": lambda: f"?duration__gte=20000&{month}&{far(0.7)}",
    }


async def measure(http: aiohttp.ClientSession, name: str, address: Callable[[], str], times: int) -> Measured:
    """Time one kind of read, one request after the other."""
    taken = []
    for n in range(times + 5):
        url = address()
        began = time.perf_counter()
        async with http.get(url) as response:
            await response.read()
            if response.status != 200:
                raise SystemExit(f"{name}: {url} answered {response.status}")
        if n >= 5:
            taken.append((time.perf_counter() - began) * 1000)
    return Measured.of(name, taken)


async def main(count: int, times: int, *, as_json: bool) -> int:
    """Run all of it. 0 when every read stays under the limits, else 1."""
    console = Console(stderr=as_json)
    with tempfile.TemporaryDirectory() as folder, own_postgres(Path(folder)) as url:
        async with Database(url) as database:
            async with database.transaction() as connection:
                await ensure_account(connection, KEYRING, ACCOUNT, TOKEN)
                await ensure_numbers(connection, ACCOUNT, NUMBERS)
                await connection.execute(
                    "INSERT INTO accounts (auth_id, parent_id) VALUES (%s, %s)", (SUBACCOUNT, ACCOUNT)
                )
            ids = await fill(url, count, console)
            async with (
                gateway_app(database, url) as app,
                served(app) as base,
                aiohttp.ClientSession(headers={"Authorization": aiohttp.encode_basic_auth(ACCOUNT, TOKEN)}) as http,
            ):
                health = await measure(http, "health", lambda: f"{base}/healthz", times)
                results = []
                for name, tail in track(list(reads(ids, count).items()), "Measuring", console=console):
                    address = f"{base}/v1/Account/{ACCOUNT}/Masking/Session/"
                    results.append(await measure(http, name, lambda: address + tail(), times))  # noqa: B023 used at once
    title = f"{count} sessions stored"
    return report(console, health, results, LIMITS, title=title, about={"sessions": count}, as_json=as_json)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000, help="how many are stored (default 100000)")
    parser.add_argument("--times", type=int, default=200, help="how often each read is made (default 200)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.sessions, given.times, as_json=given.json)))
