"""How every process of ours starts, logs, and ends."""

from __future__ import annotations

import logging
import os
import resource
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn

from masking.errors import StartupError
from masking.log_format import LogFormatter
from masking.log_lines import OncePerOutage

if TYPE_CHECKING:
    from masking.settings import Settings

EXIT_CANNOT_START = 2

OURS = ("masking", "workflows", "activities", "temporalio.workflow", "temporalio.activity")
"""The loggers of our own records; the last two are those on which workflows and activities log."""


def run_process(main: Callable[[Settings], Coroutine[Any, Any, None]], name: str) -> NoReturn:
    """Run what one process of ours is for, and exit: 0 when told to stop, 2 when it cannot start."""
    # `masking --help` needs neither, and they take as long as all else of it.
    import asyncio

    from masking.settings import load_settings

    try:
        settings = load_settings()
        configure_logging(settings, name)
        asyncio.run(main(settings))
    except StartupError as error:
        sys.stderr.write(f"masking: {error}\n")
        sys.exit(EXIT_CANNOT_START)
    sys.exit(0)


def end_with(program: Callable[[], object]) -> NoReturn:
    """Run a whole program, and `end` this process, which is the program's own, as that exits.

    Should it be aborted, as Temporal's core may, no core file is left: keys and numbers would stand there in the clear.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    try:
        program()
    except SystemExit as leaving:
        end(leaving.code)
    end(0)


def end(code: int | str | None) -> NoReturn:
    """End this process, with the code that `sys.exit` would give it.

    Threads of Temporal's core may abort an interpreter that shuts down (sdk-python #300): exit code 134 instead
    of ours. So where it is loaded the interpreter is not shut down.
    """
    if isinstance(code, str) or "temporalio.bridge.temporal_sdk_bridge" not in sys.modules:
        sys.exit(code)
    logging.shutdown()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        # Who read it has gone.
        code = code or 1
    os._exit(code or 0)


def configure_logging(settings: Settings, process: str) -> None:
    """Log to standard error: our own records from the level that was set, the libraries' from warnings up.

    Libraries log what they handle, addresses with phone numbers in them included. A warning that is repeated
    is written once in a while.
    """
    handler = logging.StreamHandler()
    handler.addFilter(OncePerOutage())
    handler.setFormatter(LogFormatter(process, settings.log_format))
    # Where somebody else handles log records already, as a test does, that is theirs.
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for ours in OURS:
        logging.getLogger(ours).setLevel(settings.log_level.upper())
