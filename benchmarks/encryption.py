"""What encryption adds to a session's life: `python -m benchmarks.encryption`.

Whole lifecycles with our payload codec and each session's sealing, in turns with the same lifecycles by a worker that
encrypts nothing (`benchmarks/in_the_clear.py`), on the same Temporal server and the same PostgreSQL, each in a database
of its own. Prints both rates, what the processes computed for one lifecycle, the bytes of its history, and the ratios.
The processor time is the steadier figure; it leaves out this process, which starts and signals the sessions.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from temporalio.client import Client

from benchmarks.cost import AT_ONCE, PATIENCE, ROUNDS, Rate, our_lifecycle, timed
from benchmarks.in_the_clear import NUMBERS, TASK_QUEUE, clear_client, let_clients_write_in_the_clear
from benchmarks.real_system import RealSystem, child, our_worker, real_system
from benchmarks.told_call import request
from masking.client import MaskingClient
from masking.contract import TASK_QUEUE as OUR_TASK_QUEUE
from masking.contract import session_workflow_id
from masking.process import end
from masking.storage.migrate import migrate

CLEAR_DATABASE = "in_the_clear"


class Kind(NamedTuple):
    """One kind of lifecycle: who asks, who works, and where."""

    client: Client
    task_queue: str
    worker: int
    database_url: str


class Compared(NamedTuple):
    """Both kinds, round by round, and the bytes of one history of each."""

    encrypted: list[Rate]
    clear: list[Rate]
    encrypted_bytes: int
    clear_bytes: int

    @property
    def time_ratio(self) -> float:
        """Processor time of an encrypted lifecycle to that of a clear one, worker and servers together."""
        return Rate.of(self.encrypted).computed_ms["all"] / Rate.of(self.clear).computed_ms["all"]

    @property
    def worker_ratio(self) -> float:
        """The same of the worker alone."""
        return Rate.of(self.encrypted).computed_ms["worker"] / Rate.of(self.clear).computed_ms["worker"]

    @property
    def rate_ratio(self) -> float:
        """Encrypted lifecycles per second to clear ones."""
        return Rate.of(self.encrypted).per_second / Rate.of(self.clear).per_second


@asynccontextmanager
async def clear_worker(system: RealSystem) -> AsyncIterator[Kind]:
    """A worker that encrypts nothing, as a process, with a database of its own on the same server."""
    with psycopg.connect(system.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {CLEAR_DATABASE}")
    url = make_conninfo(system.database_url, dbname=CLEAR_DATABASE)
    migrate(url)
    environment = {**system.environment, "DATABASE_URL": url}
    async with child([sys.executable, "-m", "benchmarks.in_the_clear"], environment) as process:
        client = await clear_client(system.client.service_client.config.target_host)
        yield Kind(client, TASK_QUEUE, process.pid, url)


async def compared(system: RealSystem, encrypted: Kind, clear: Kind, count: int, console: Console) -> Compared:
    """So many lifecycles of each kind, in turns; the first round only warms up."""
    numbered = itertools.count(1)
    rates: dict[Kind, list[Rate]] = {encrypted: [], clear: []}
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Whole lifecycles", total=2 * count)
        for round_ in range(-1, ROUNDS):
            each = AT_ONCE if round_ < 0 else max(count // ROUNDS, 1)
            done: Callable[[], None] = (lambda: None) if round_ < 0 else (lambda: progress.advance(task))
            # Who begins changes from round to round.
            for kind in (encrypted, clear) if round_ % 2 else (clear, encrypted):
                rate = await _round(system, kind, [next(numbered) for _ in range(each)], done)
                if round_ >= 0:
                    rates[kind].append(rate)
    sizes = [await _history_bytes(system, kind, next(numbered)) for kind in (encrypted, clear)]
    return Compared(rates[encrypted], rates[clear], *sizes)


async def _round(system: RealSystem, kind: Kind, numbers: list[int], done: Callable[[], None]) -> Rate:
    sessions = MaskingClient(kind.client, task_queue=kind.task_queue, timeout=PATIENCE)
    return await timed(
        [request(n, system.endpoint.url) for n in numbers],
        lambda asked: our_lifecycle(kind.client, sessions, asked),
        done,
        {**system.servers, "worker": kind.worker},
        system.endpoint,
    )


async def _history_bytes(system: RealSystem, kind: Kind, n: int) -> int:
    """Of one more lifecycle, whose party's number must be readable just where nothing is encrypted."""
    asked = request(n, system.endpoint.url)
    await our_lifecycle(kind.client, MaskingClient(kind.client, task_queue=kind.task_queue, timeout=PATIENCE), asked)
    handle = kind.client.get_workflow_handle(session_workflow_id(asked.session_uuid))
    stored = b"".join(event.SerializeToString() for event in (await handle.fetch_history()).events)
    with psycopg.connect(kind.database_url) as connection:
        row = connection.execute(
            "SELECT sealed_terms FROM sessions WHERE session_uuid = %s", (asked.session_uuid,)
        ).fetchone()
    number = asked.terms.first_party.encode()
    if row is None or {number in stored, number in row[0]} != {kind.task_queue == TASK_QUEUE}:
        raise AssertionError("what should be encrypted is not, or what should not be is")
    described = await handle.describe()
    return described.raw_description.workflow_execution_info.history_size_bytes


def show(found: Compared, console: Console) -> None:
    """For people."""
    table = Table(
        "lifecycles", "per second", "rounds", "processor ms each", "history, bytes", title=f"{AT_ONCE} at once"
    )
    for name, rounds, size in (
        ("encrypted", found.encrypted, found.encrypted_bytes),
        ("in the clear", found.clear, found.clear_bytes),
    ):
        whole = Rate.of(rounds)
        each = ", ".join(f"{process} {ms:.0f}" for process, ms in whole.computed_ms.items())
        told = ", ".join(f"{one.per_second:.1f}" for one in rounds)
        table.add_row(name, f"{whole.per_second:.1f}", told, each, str(size))
    console.print(table)
    console.print(
        f"encrypted : clear: {found.time_ratio:.2f} of the processor time, {found.worker_ratio:.2f} of the worker's,"
        f" {found.rate_ratio:.2f} of the lifecycles per second, {found.encrypted_bytes / found.clear_bytes:.2f} of the"
        " history's bytes"
    )


async def main(count: int, *, as_json: bool) -> int:
    """Run all of it."""
    console = Console(stderr=as_json)
    let_clients_write_in_the_clear()
    with tempfile.TemporaryDirectory() as folder:
        async with (
            real_system(Path(folder), NUMBERS) as system,
            our_worker(system) as ours,
            clear_worker(system) as clear,
        ):
            encrypted = Kind(system.client, OUR_TASK_QUEUE, ours, system.database_url)
            found = await compared(system, encrypted, clear, count, console)
    if not as_json:
        show(found, console)
        return 0
    told = {"encrypted": found.encrypted, "clear": found.clear}
    print(
        json.dumps(
            {
                "at_once": AT_ONCE,
                **{f"{name}_per_second": Rate.of(rounds).per_second for name, rounds in told.items()},
                **{f"{name}_processor_ms": Rate.of(rounds).computed_ms for name, rounds in told.items()},
                "rounds": {name: [each.per_second for each in rounds] for name, rounds in told.items()},
                "history_bytes": {"encrypted": found.encrypted_bytes, "clear": found.clear_bytes},
                "processor_time_ratio": found.time_ratio,
                "worker_time_ratio": found.worker_ratio,
                "per_second_ratio": found.rate_ratio,
            }
        )
    )
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lifecycles", type=int, default=200, help="whole lifecycles of each kind (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    end(asyncio.run(main(given.lifecycles, as_json=given.json)))
