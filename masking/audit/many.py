"""Verifying many packs, on all cores."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from typing import NamedTuple

from masking.audit.chosen_archive import open_archive
from masking.audit.keys import Keys
from masking.audit.verification import Check, Report, State, verify
from masking.errors import ArchiveAway, MaskingError

FEW = 8
"""Fewer are verified in this process: to start others takes longer."""

IN_HAND = 200
"""So many are handed to processes at a time."""


class Task(NamedTuple):
    """A pack and what it is verified with.

    Attributes:
        place: the archive's path or URL.
        name: the pack's in that archive.
    """

    place: str
    name: str
    keys: Keys


opened = lru_cache(maxsize=1)(open_archive)
"""The archive at a place, opened once in each process."""


def verify_file(task: Task) -> Report:
    """Verify one. A pack that cannot be read counts as altered.

    Raises:
        ArchiveAway: none can be read now.
    """
    try:
        pack = opened(task.place).read(task.name)
    except ArchiveAway:
        raise
    except MaskingError as error:
        check = Check(name="bytes", state=State.DIFFERS, findings=(str(error),))
        return Report(session_uuid=None, code=None, public_key=None, checks=(check,))
    return asyncio.run(verify(pack, task.keys))


def verify_many(tasks: Iterable[list[Task]], processes: int | None = None) -> Iterator[tuple[Task, Report]]:
    """Verify them, a batch after the other, and yield each report.

    Args:
        processes: one for each core when None.

    Raises:
        ArchiveAway: the archive cannot be read now.
    """
    count = processes or os.cpu_count() or 1
    pool: ProcessPoolExecutor | None = None
    try:
        for batch in tasks:
            if pool is None and count > 1 and len(batch) > FEW:
                # Temporal's core has threads, which a fork would not take along.
                pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))
            reports = map(verify_file, batch) if pool is None else pool.map(verify_file, batch, chunksize=4)
            yield from zip(batch, reports, strict=True)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
