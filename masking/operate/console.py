"""Running one operator's action from the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from masking.errors import MaskingError
from masking.operate.system import OperatedSystem, operated_system
from masking.process import EXIT_CANNOT_START
from masking.settings import load_settings

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]

ResultT = TypeVar("ResultT")


def on_system(action: Callable[[OperatedSystem], Awaitable[ResultT]]) -> ResultT:
    """Run one action, and exit with 2 and a line that says what to do when it cannot be done."""

    async def act() -> ResultT:
        async with operated_system(load_settings()) as system:
            return await action(system)

    return or_exit(lambda: asyncio.run(act()))


def or_exit(action: Callable[[], ResultT]) -> ResultT:
    """What `action` returns; an error of ours becomes a line, and exit code 2."""
    try:
        return action()
    except MaskingError as error:
        typer.echo(f"masking: {error}", err=True)
        raise typer.Exit(EXIT_CANNOT_START) from None
