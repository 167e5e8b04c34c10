"""How many open sessions weigh, and how late a burst of them expires: `python -m benchmarks.load`.

On a real Temporal server with a database file and a real PostgreSQL of its own, with our worker as a process:
opens sessions that last for hours, and looks at a tenth, at half and at all of them: the worker's memory, what both
databases keep, how long one create and one update take. Then opens a burst that expires in the same second and
tells how long after its end each session's expiry is written down, with its bill, and told to the customer.

The same with a bare workflow that only waits for a moment, on a server of its own, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from benchmarks.bare import TASK_QUEUE, BareTimer, Due
from benchmarks.real_system import RealSystem, bare_worker, our_worker, real_system
from benchmarks.system import KEYRING
from benchmarks.told_call import request
from masking.client import MaskingClient
from masking.privacy.party_hash import party_hash
from masking.process import end

NUMBERS = [(f"+1202555020{n}", "US") for n in range(10)]
"""Parties are distinct, so that few numbers serve them all."""
LONG = timedelta(hours=20)
AT_ONCE = 32
SAMPLE = 20
WARM_UP = 20
END_WITHIN_S = 600.0
PATIENCE = timedelta(seconds=120)


class Late(NamedTuple):
    """How long after its time something happened, in seconds, over a burst."""

    what: str
    median: float
    p99: float
    longest: float

    @classmethod
    def of(cls, what: str, seconds: Sequence[float]) -> Late:
        """From every one."""
        return cls(what, statistics.median(seconds), statistics.quantiles(seconds, n=100)[98], max(seconds))


class Look(NamedTuple):
    """What there is when so many are open.

    Attributes:
        worker_mib: the worker's resident memory.
        worker_kib_each, postgres_kib_each, temporal_kib_each: what came since none was open, by their number.
        create_ms, update_ms: medians; of any open one, which may have to be replayed first.
    """

    open: int
    opened_per_second: float
    worker_mib: float
    worker_kib_each: float
    postgres_kib_each: float
    temporal_kib_each: float
    create_ms: float
    update_ms: float | None


class Kind(Protocol):
    """What is opened, ours or the bare one."""

    async def create(self, lasts: timedelta) -> str:
        """Open one that lasts so long; its id."""

    async def update(self, opened: str) -> bool:
        """Change one; False where there is nothing to change."""

    async def lateness(self, opened: Sequence[str]) -> list[Late]:
        """How late these ended; waits until all have."""


class Ours:
    """Masking sessions, with two parties and an address for callbacks."""

    def __init__(self, system: RealSystem) -> None:
        self._system, self._numbered = system, itertools.count(1)
        self._sessions = MaskingClient(system.client, timeout=PATIENCE, party_hash=party_hash(KEYRING))

    async def create(self, lasts: timedelta) -> str:
        seconds = max(round(lasts.total_seconds()), 1)
        asked = request(next(self._numbered), self._system.endpoint.url, session_expiry=seconds, pins=False)
        await self._sessions.start(asked)
        return asked.session_uuid

    async def update(self, opened: str) -> bool:
        await self._sessions.extend(opened, int(LONG.total_seconds()))
        return True

    async def lateness(self, opened: Sequence[str]) -> list[Late]:
        for uuid in opened:
            await self._sessions.final_bill(uuid)
        await self._system.endpoint.has_taken(len(opened))
        async with self._system.database.transaction() as connection:
            found = await connection.execute(
                "SELECT extract(epoch FROM c.created_at - s.expires_at)::float8,"
                " extract(epoch FROM c.delivered_at - s.expires_at)::float8"
                " FROM sessions s JOIN callbacks c USING (session_uuid) WHERE s.session_uuid = ANY(%s)",
                (list(opened),),
            )
            rows = await found.fetchall()
        columns = zip(*([float(str(value)) for value in row] for row in rows), strict=True)
        names = ("expiry and bill written down", "customer told")
        return [Late.of(name, column) for name, column in zip(names, columns, strict=True)]


class Bare:
    """Workflows that wait for a moment."""

    def __init__(self, system: RealSystem) -> None:
        self._system, self._numbered = system, itertools.count(1)
        self._due: dict[str, datetime] = {}

    async def create(self, lasts: timedelta) -> str:
        workflow_id, due = f"timer-{next(self._numbered)}", datetime.now(UTC) + lasts
        await self._system.client.start_workflow(BareTimer.run, Due(at=due), id=workflow_id, task_queue=TASK_QUEUE)
        self._due[workflow_id] = due
        return workflow_id

    async def update(self, opened: str) -> bool:
        return False

    async def lateness(self, opened: Sequence[str]) -> list[Late]:
        late = []
        for workflow_id in opened:
            handle = self._system.client.get_workflow_handle(workflow_id)
            await handle.result()
            closed = (await handle.describe()).close_time
            late.append((closed - self._due[workflow_id]).total_seconds() if closed is not None else float("inf"))
        return [Late.of("closed", late)]


class Outcome(NamedTuple):
    """Everything about one kind.

    Attributes:
        empty_mib: the worker's memory when none is open.
        create_ms: how long each create took that was asked for while the burst ended, one after the other.
    """

    empty_mib: float
    looks: list[Look]
    burst: int
    burst_per_second: float
    late: list[Late]
    create_ms: list[float]


async def opened(kind: Kind, lasts: Callable[[], timedelta], count: int, done: Callable[[], None]) -> list[str]:
    """Open so many, some at once."""
    left, ids = iter(range(count)), []

    async def open_some() -> None:
        for _ in left:
            ids.append(await kind.create(lasts()))
            done()

    await asyncio.gather(*(open_some() for _ in range(AT_ONCE)))
    return ids


async def timed(asked: Callable[[], Awaitable[object]]) -> float:
    """The median of some, one after the other, in milliseconds."""
    taken = []
    for _ in range(SAMPLE):
        began = time.perf_counter()
        await asked()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)


class Sizes(NamedTuple):
    """Bytes: the worker's memory, and both databases."""

    worker: int
    postgres: int
    temporal: int

    @classmethod
    async def of(cls, system: RealSystem, worker: int) -> Sizes:
        """Now."""
        pages = int(Path(f"/proc/{worker}/statm").read_text().split()[1])  # noqa: ASYNC240 no disk behind it
        async with system.database.transaction() as connection:
            (postgres,) = await (
                await connection.execute("SELECT pg_database_size(current_database())")
            ).fetchone() or (0,)
        file = system.database_file
        temporal = sum(each.stat().st_size for each in file.parent.glob(f"{file.name}*"))
        return cls(pages * resource.getpagesize(), int(str(postgres)), temporal)


async def measured(
    system: RealSystem, kind: Kind, worker: int, name: str, sessions: int, burst: int, progress: Progress
) -> Outcome:
    """Open, look, and let a burst expire."""
    task = progress.add_task(f"{name}: opening", total=sessions + burst)
    # The worker is there, and has done once whatever it does only once.
    await kind.lateness([await kind.create(timedelta(seconds=1)) for _ in range(WARM_UP)])
    base, looks, ids, rate = await Sizes.of(system, worker), [], list[str](), 1.0
    for target in sorted({sessions // 10, sessions // 2, sessions}):
        before, began = len(ids), time.monotonic()
        ids += await opened(kind, lambda: LONG, max(target - before, 1), lambda: progress.advance(task))
        rate = (len(ids) - before) / (time.monotonic() - began)
        looks.append(await look(system, kind, worker, base, ids, rate))
    due = datetime.now(UTC) + timedelta(seconds=10 + 1.5 * burst / rate)
    began = time.monotonic()
    last = await opened(kind, lambda: due - datetime.now(UTC), burst, lambda: progress.advance(task))
    burst_rate = burst / (time.monotonic() - began)
    progress.update(task, description=f"{name}: waiting for the burst to end")
    await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
    ended = asyncio.create_task(asyncio.wait_for(kind.lateness(last), END_WITHIN_S))
    create_ms = []
    while not ended.done():
        asked = time.perf_counter()
        await kind.create(LONG)
        create_ms.append((time.perf_counter() - asked) * 1000)
    progress.remove_task(task)
    return Outcome(base.worker / 2**20, looks, burst, burst_rate, await ended, create_ms)


async def look(system: RealSystem, kind: Kind, worker: int, base: Sizes, ids: list[str], rate: float) -> Look:
    """What there is now. What it opens to see how long that takes stays open."""
    sizes, count = await Sizes.of(system, worker), len(ids)
    update_ms = await timed(lambda: kind.update(random.choice(ids))) if await kind.update(ids[0]) else None

    async def create() -> None:
        ids.append(await kind.create(LONG))

    return Look(
        open=count,
        opened_per_second=rate,
        worker_mib=sizes.worker / 2**20,
        worker_kib_each=(sizes.worker - base.worker) / count / 1024,
        postgres_kib_each=(sizes.postgres - base.postgres) / count / 1024,
        temporal_kib_each=(sizes.temporal - base.temporal) / count / 1024,
        create_ms=await timed(create),
        update_ms=update_ms,
    )


def show(name: str, outcome: Outcome, console: Console) -> None:
    """For people."""
    headings = ("open", "opened/s", "worker MiB", "KiB each", "PostgreSQL KiB each", "Temporal KiB each")
    table = Table(*headings, "create ms", "update ms", title=f"{name}; worker {outcome.empty_mib:.0f} MiB before")
    for seen in outcome.looks:
        table.add_row(*("–" if each is None else f"{each:.1f}".removesuffix(".0") for each in seen))
    console.print(table)
    table = Table("seconds after its time", "median", "p99", "longest", title=f"{outcome.burst} in the same second")
    for late in outcome.late:
        table.add_row(late.what, f"{late.median:.2f}", f"{late.p99:.2f}", f"{late.longest:.2f}")
    console.print(table)
    median, longest = statistics.median(outcome.create_ms), max(outcome.create_ms)
    console.print(f"meanwhile, one create after the other: median {median:.0f} ms, longest {longest:.0f} ms")


async def main(sessions: int, burst: int, *, as_json: bool) -> int:
    """Run all of it."""
    console = Console(stderr=as_json)
    random.seed(7)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    kinds: dict[str, tuple[Callable[[RealSystem], Kind], Callable[[RealSystem], AbstractAsyncContextManager[int]]]] = {
        "bare timer": (Bare, bare_worker),
        "MaskingSession": (Ours, our_worker),
    }
    outcomes = {}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        for name, (kind, worker) in kinds.items():
            with tempfile.TemporaryDirectory() as folder:
                async with real_system(Path(folder), NUMBERS) as system, worker(system) as process:
                    outcomes[name] = await measured(system, kind(system), process, name, sessions, burst, progress)
    if as_json:
        told = {
            name: outcome._asdict()
            | {"looks": [each._asdict() for each in outcome.looks], "late": [each._asdict() for each in outcome.late]}
            for name, outcome in outcomes.items()
        }
        print(json.dumps({"at_once": AT_ONCE, **told}))
        return 0
    for name, outcome in outcomes.items():
        show(name, outcome, console)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000, help="open at once (default 10000)")
    parser.add_argument("--burst", type=int, default=1000, help="expire in the same second (default 1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    end(asyncio.run(main(given.sessions, given.burst, as_json=given.json)))
