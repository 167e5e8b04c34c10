"""When a process of ours is to stop: it is told, or its supervisor is gone. Quick to import."""

from __future__ import annotations

import asyncio
import os
import signal

LIFELINE_VARIABLE = "MASKING_LIFELINE_FD"
"""Names the read end of a pipe that only the supervisor holds open; its end means the supervisor died."""


async def until_stopped() -> None:
    """Return on SIGTERM or SIGINT, or when the supervisor that started this process is gone."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    lifeline = os.environ.get(LIFELINE_VARIABLE)
    if lifeline is not None:
        loop.add_reader(int(lifeline), stopped.set)
    await stopped.wait()
    if lifeline is not None:
        loop.remove_reader(int(lifeline))
