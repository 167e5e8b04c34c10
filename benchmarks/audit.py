"""What verifying evidence costs: `python -m benchmarks.audit`.

Plays real sessions, one answered and recorded call each, on a PostgreSQL and a Temporal server of its own, archives
them as the schedule does, and verifies the archive: bytes and signatures alone, then everything, replay included, on
one core and on all. Prints packs per second, and how long the whole archive takes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from temporalio.testing import ActivityEnvironment

from activities.archive import ArchiveActivities, ArchiveBatch
from benchmarks.cost import NUMBERS, PATIENCE, SETTLE_WITHIN_S
from benchmarks.real_system import RealSystem, our_worker, real_system
from benchmarks.system import KEYRING
from benchmarks.told_call import request, webhooks
from masking.audit.archive import Archive
from masking.audit.folder_archive import FolderArchive
from masking.audit.keys import Keys
from masking.audit.many import IN_HAND, Task, verify_many
from masking.audit.signing import Signer
from masking.client import MaskingClient
from masking.contract import session_workflow_id, signal_of
from masking.domain.routing import CallPolicy, Guesses, decide
from masking.domain.terms import SessionRequest
from masking.privacy.session_cipher import unwrapped
from masking.process import end
from masking.storage.archiving import unarchived
from masking.storage.call_routes import find_route
from masking.storage.calls import note_call
from masking.storage.evidence import read_keys

AT_ONCE = 16
ON_ONE_CORE = 200
"""At most so many are verified on one core."""


class Rate(NamedTuple):
    """What verifying took.

    Attributes:
        cores: on which it ran.
        proven: how many packs were proven in everything that was asked for.
    """

    what: str
    packs: int
    proven: int
    cores: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Packs in a second."""
        return self.packs / self.seconds


async def live(system: RealSystem, sessions: MaskingClient, asked: SessionRequest) -> None:
    """A session from its creation to its bill, with the switchboard's note of its call."""
    opened = await sessions.start(asked)
    told = webhooks(asked)
    call = told[0][0].call
    async with system.database.transaction() as connection:
        found = await find_route(connection, KEYRING, opened.virtual_number, call.from_number, call.call_uuid)
        if found is None:
            raise SystemExit("a party's call finds no session")
        decision = decide(opened.virtual_number, found.route, Guesses(), found.now, CallPolicy())
        await note_call(connection, found, call, decision)
    handle = system.client.get_workflow_handle(session_workflow_id(asked.session_uuid))
    for webhook in told:
        await handle.signal(*signal_of(webhook))
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE calls SET ended_at = now() WHERE session_uuid = %s", (asked.session_uuid,))
    await sessions.expire(asked.session_uuid)
    await asyncio.wait_for(sessions.final_bill(asked.session_uuid), SETTLE_WITHIN_S)


async def archived(system: RealSystem, archive: Archive, count: int, progress: Progress) -> float:
    """Play sessions and archive them. Returns the seconds that archiving took."""
    playing = progress.add_task("Playing sessions", total=count)
    numbered = iter(range(count))
    async with our_worker(system):
        sessions = MaskingClient(system.client, timeout=PATIENCE)

        async def some() -> None:
            for n in numbered:
                await live(system, sessions, request(n, system.endpoint.url, pins=False))
                progress.advance(playing)

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        async with asyncio.timeout(SETTLE_WITHIN_S):
            while await pending(system):  # noqa: ASYNC110 the worker tells nobody
                await asyncio.sleep(0.5)
    archiving = progress.add_task("Archiving", total=count)
    activities = ArchiveActivities(system.client, system.database, KEYRING, archive, timedelta(0), commit="")
    began = time.perf_counter()
    while True:
        done = await ActivityEnvironment().run(activities.archive_batch, ArchiveBatch(most=100))
        progress.advance(archiving, done.archived)
        if not done.archived:
            break
    taken = time.perf_counter() - began
    async with system.database.transaction() as connection:
        left = await unarchived(connection)
    if left.waiting:
        raise SystemExit(f"{left.waiting} sessions could not be archived")
    return taken


async def pending(system: RealSystem) -> bool:
    """Whether a callback is still to be delivered."""
    async with system.database.transaction() as connection:
        found = await connection.execute("SELECT EXISTS (SELECT FROM callbacks WHERE state = 'pending')")
        return await found.fetchone() == (True,)


async def tasks_of(system: RealSystem, archive: Archive, folder: Path) -> list[Task]:
    """Every pack, with its key."""
    uuids = {name: archive.session_of(name) or "" for name in sorted(archive.names())}
    async with system.database.transaction() as connection:
        stored = await read_keys(connection, list(uuids.values()))
    ciphers = {uuid: unwrapped(KEYRING, uuid, key.key_id, key.wrapped_key) for uuid, key in stored.items()}
    signer = Signer(KEYRING).public_key
    return [Task(str(folder), name, Keys(ciphers[uuid].data_key, "", signer)) for name, uuid in uuids.items()]


def measured(what: str, tasks: Sequence[Task], cores: int, checks: int, step: Callable[[], None]) -> Rate:
    """Verify packs; proven are those whose first so many checks are."""
    batches = (list(tasks[begin : begin + IN_HAND]) for begin in range(0, len(tasks), IN_HAND))
    began, proven = time.perf_counter(), 0
    for _, report in verify_many(batches, processes=cores):
        proven += all(check.state == "proven" for check in report.checks[:checks])
        step()
    return Rate(what, len(tasks), proven, cores, time.perf_counter() - began)


def verified(tasks: Sequence[Task], progress: Progress) -> Iterator[Rate]:
    """Bytes and signature alone, then everything."""
    cores, few = os.cpu_count() or 1, tasks[:ON_ONE_CORE]
    without = [task._replace(keys=task.keys._replace(data_key=None)) for task in tasks]
    bar: TaskID = progress.add_task("Verifying", total=2 * len(tasks) + len(few))

    def step() -> None:
        progress.advance(bar)

    yield measured("bytes and signature", without, 1, 3, step)
    yield measured("everything", few, 1, 10, step)
    yield measured("everything", tasks, cores, 10, step)


async def main(count: int, *, as_json: bool) -> int:
    """Run all of it. 0 when every pack is proven, else 1."""
    console = Console(stderr=as_json)
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        place = Path(folder) / "archive"
        archive = FolderArchive(place)
        async with real_system(Path(folder), NUMBERS) as system:
            archiving = await archived(system, archive, count, progress)
            tasks = await tasks_of(system, archive, place)
        size = sum((place / task.name).stat().st_size for task in tasks) / len(tasks)
        # The servers have stopped: verifying needs none.
        rates = await asyncio.to_thread(lambda: list(verified(tasks, progress)))
    ok = len(tasks) == count and all(rate.proven == rate.packs for rate in rates)
    if as_json:
        told = [rate._asdict() | {"per_second": rate.per_second} for rate in rates]
        print(json.dumps({"ok": ok, "packs": count, "bytes_each": size, "archiving_s": archiving, "results": told}))
        return 0 if ok else 1
    table = Table("what", "cores", "packs", "proven", "seconds", "per second", title="verifying evidence packs")
    for rate in rates:
        table.add_row(rate.what, str(rate.cores), str(rate.packs), str(rate.proven), f"{rate.seconds:.1f}",
                      f"{rate.per_second:.0f}")  # fmt: skip
    console.print(table)
    console.print(f"{size / 1024:.0f} KiB each; archiving {count} took {archiving:.1f} s")
    console.print(f"every pack is proven: {'yes' if ok else 'NO'}")
    return 0 if ok else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=int, default=1000, help="sessions to play and verify (default 1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    end(asyncio.run(main(given.packs, as_json=given.json)))
