"""What processes have computed: unlike the time on the clock, that hardly depends on who else uses the machine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import psutil


def processor_seconds(processes: Mapping[str, int]) -> dict[str, float]:
    """Seconds of processor time by name, of processes with all their descendants."""
    return {name: sum(map(_of_one, [psutil.Process(pid), *_below(pid)])) for name, pid in processes.items()}


def _below(pid: int) -> list[psutil.Process]:
    below: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    return below


def _of_one(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
