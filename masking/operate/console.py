"""Running one operator's action from the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from masking.command_line import or_exit
from masking.operate.system import OperatedSystem, operated_system
from masking.settings import load_settings

ResultT = TypeVar("ResultT")


def on_system(action: Callable[[OperatedSystem], Awaitable[ResultT]]) -> ResultT:
    """Run one action, and exit with 2 and a line that says what to do when it cannot be done."""

    async def act() -> ResultT:
        async with operated_system(load_settings()) as system:
            return await action(system)

    return or_exit(lambda: asyncio.run(act()))
