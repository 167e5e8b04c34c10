"""Looks for a misroute: `python -m benchmarks.misroutes`. The last line is the count.

Random sessions are created, extended, expired and called through on a real PostgreSQL of its
own, by the code that the worker and the gateway run, while time passes. A model of a few lines knows
who should reach whom. Repeats with its seed. Time is the database's, and a small function
in front of `now()` lets it pass: hours of traffic go by in minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg import sql
from rich.console import Console
from rich.progress import Progress

from benchmarks.system import ACCOUNT, KEYRING, TOKEN, own_postgres
from masking.domain.bill.money import Rate
from masking.domain.lifecycle import changed, expired, opened, requested
from masking.domain.routing import CallPolicy, Connect, Guesses, decide
from masking.domain.session import Session
from masking.domain.terms import Change, SessionRequest, Terms
from masking.storage.accounts import ensure_account, ensure_numbers
from masking.storage.call_routes import find_route
from masking.storage.database import Connection, Database
from masking.storage.opening import Opening, open_session
from masking.storage.sessions import record_session

CLOCK = """
CREATE SCHEMA sim;
CREATE TABLE sim.clock (now timestamptz NOT NULL);
INSERT INTO sim.clock VALUES ('2026-11-23 00:00:00+00');
CREATE FUNCTION sim.now() RETURNS timestamptz STABLE LANGUAGE sql AS 'SELECT now FROM sim.clock';
"""
PARTIES = [f"+1202555{n:04}" for n in range(100, 200)]
NUMBERS = [(f"+1202556{n:04}", "US") for n in range(100, 125)]
GRACE = 1800
POLICY, CALM = CallPolicy(), Guesses()


@dataclass
class World:
    """The model: every session there ever was, and the time."""

    now: datetime
    chance: random.Random
    sessions: list[Session] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    misroutes: int = 0

    @property
    def live(self) -> list[Session]:
        """Those that have not expired."""
        self.sessions = [s for s in self.sessions if s.expires_at > self.now - timedelta(seconds=2 * GRACE)]
        return [s for s in self.sessions if s.expires_at > self.now]

    def partner(self, caller: str, number: str) -> str | None:
        """Whom the caller should reach on the number."""
        for session in self.live:
            parties = session.terms.parties.values()
            if session.virtual_number == number and caller in parties:
                return next(party for party in parties if party != caller)
        return None


def with_clock(url: str) -> str:
    """The database, with a clock of its own in front of PostgreSQL's."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(CLOCK)
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET search_path = sim, public, pg_catalog").format(name))
    return url


async def create(world: World, connection: Connection) -> None:
    """A session of two random parties, if the pool has a number for them."""
    first, second = world.chance.sample(PARTIES, 2)
    request = SessionRequest(
        session_uuid=f"{world.chance.getrandbits(128):032x}",
        account_id=ACCOUNT,
        terms=Terms(first_party=first, second_party=second, call_time_limit=3600, ring_timeout=120),
        session_expiry=world.chance.randrange(60, 7200),
        pair_grace=GRACE,
        rate=Rate(per_minute="0.0085"),
    )
    session = requested(request, world.now)
    opening = await open_session(connection, KEYRING, session, "US")
    if isinstance(opening, Opening):
        session = opened(session, opening.virtual_number).session
        await record_session(connection, KEYRING, session, ())
        meets = [s for s in world.sessions if s.virtual_number == session.virtual_number
                 and s.expires_at > world.now - timedelta(seconds=GRACE)
                 and set(s.terms.parties.values()) & {first, second}]  # fmt: skip
        world.misroutes += len(meets)
        world.sessions.append(session)
    else:
        world.done["refused"] += 1


async def change(world: World, connection: Connection) -> None:
    """Extend or expire a live session."""
    live = world.live
    if not live:
        return
    session = world.chance.choice(live)
    if world.chance.random() < 0.5:
        after = changed(session, Change(session_expiry=world.chance.randrange(60, 7200)), world.now).session
    else:
        after = expired(session, world.now).session
    await record_session(connection, KEYRING, after, ())
    world.sessions[world.sessions.index(session)] = after


async def call(world: World, connection: Connection) -> None:
    """Somebody calls a number, mostly one that it knows."""
    caller, number = world.chance.choice(PARTIES), world.chance.choice(NUMBERS)[0]
    if world.sessions and world.chance.random() < 0.8:
        session = world.chance.choice(world.sessions)
        caller, number = world.chance.choice(list(session.terms.parties.values())), session.virtual_number
    found = await find_route(connection, KEYRING, number, caller, "a call")
    decision = decide(number, found.route, CALM, found.now, POLICY) if found is not None else None
    reached = decision.to if isinstance(decision, Connect) else None
    world.misroutes += reached != world.partner(caller, number)
    world.done["connected" if reached else "not connected"] += 1


async def pass_time(world: World, connection: Connection) -> None:
    """Some minutes go by."""
    world.now += timedelta(seconds=world.chance.randrange(1, 600))
    await connection.execute("UPDATE sim.clock SET now = %s", (world.now,))


STEPS = {"create": create, "change": change, "call": call, "time": pass_time}
TOGETHER = 25
"""So many steps in one transaction: nothing else runs beside them, and to begin one costs as much as a step."""


async def run(url: str, steps: int, seed: int, progress: Progress) -> World:
    """Take so many steps on an empty database that has the clock."""
    world = World(datetime(2026, 11, 23, tzinfo=UTC), random.Random(seed))
    task = progress.add_task("Steps", total=steps)
    async with Database(url, size=2) as database:
        async with database.transaction() as connection:
            await ensure_account(connection, KEYRING, ACCOUNT, TOKEN)
            await ensure_numbers(connection, ACCOUNT, NUMBERS)
        for done in range(0, steps, TOGETHER):
            async with database.transaction() as connection:
                for _ in range(min(TOGETHER, steps - done)):
                    kind = world.chance.choices(list(STEPS), [30, 15, 50, 5])[0]
                    await STEPS[kind](world, connection)
                    world.done[kind] += 1
                    progress.advance(task)
    return world


def main(steps: int, seed: int) -> int:
    """Run it. 0 when there was no misroute, else 1."""
    console = Console()
    console.print(f"seed {seed}")
    with (
        tempfile.TemporaryDirectory() as folder,
        own_postgres(Path(folder)) as url,
        Progress(console=console) as progress,
    ):
        world = asyncio.run(run(with_clock(url), steps, seed, progress))
    for name, count in sorted(world.done.items()):
        console.print(f"{count:>9} {name}")
    hours = (world.now - datetime(2026, 11, 23, tzinfo=UTC)) / timedelta(hours=1)
    console.print(f"{hours:.0f} hours of traffic")
    console.print(f"misroutes: {world.misroutes}")
    return 1 if world.misroutes else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_000_000, help="how many (default 1000000)")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="repeats a run")
    given = parser.parse_args()
    sys.exit(main(given.steps, given.seed))
