"""Running one operator's action from the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from masking.command_line import or_exit
from masking.operate.system import OperatedSystem, operated_system
from masking.settings import load_settings
from masking.storage.database import Connection

ResultT = TypeVar("ResultT")


def on_system(action: Callable[[OperatedSystem], Awaitable[ResultT]]) -> ResultT:
    """Run one action, and exit with 2 and a line that says what to do when it cannot be done."""

    async def act() -> ResultT:
        async with operated_system(load_settings()) as system:
            return await action(system)

    return or_exit(lambda: asyncio.run(act()))


def in_transaction(action: Callable[[Connection], Awaitable[ResultT]]) -> ResultT:
    """Run one action that needs no keys, in a transaction of the system's database; and exit as `on_system` does."""

    async def act(system: OperatedSystem) -> ResultT:
        async with system.database.transaction() as connection:
            return await action(connection)

    return on_system(act)
