"""Runs a program that does not know our lifeline, and ends it when the lifeline does.

`python -m masking.embedded.guard SIGNAL [--user NAME] -- COMMAND …`

The lifeline is a pipe whose write end only the supervisor holds (`MASKING_LIFELINE_FD`):
however the supervisor dies, the pipe closes, and the program is stopped with SIGNAL.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Callable

from masking.lifeline import LIFELINE_VARIABLE, until_stopped

GRACE_S = 15.0
PR_SET_PDEATHSIG = 1


async def guard(stop_signal: signal.Signals, user: str | None, command: list[str]) -> int:
    """Run `command` until it ends or this process is told to stop. Returns its exit code."""
    environment = {name: value for name, value in os.environ.items() if name != LIFELINE_VARIABLE}
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        user=user,
        group=pwd.getpwnam(user).pw_gid if user is not None else None,
        extra_groups=[] if user is not None else None,
        preexec_fn=_dies_with_parent(),
        stdin=asyncio.subprocess.DEVNULL,
    )
    ended = asyncio.create_task(process.wait())
    stopped = asyncio.create_task(until_stopped())
    await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not ended.done():
        process.send_signal(stop_signal)
        try:
            await asyncio.wait_for(asyncio.shield(ended), GRACE_S)
        except TimeoutError:
            process.kill()
    return await ended


def _dies_with_parent() -> Callable[[], None] | None:
    """On Linux, let the kernel end the program should this very guard be killed."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask_the_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask_the_kernel


def main(arguments: list[str]) -> int:
    """The command line of the guard."""
    options, command = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    user = options[options.index("--user") + 1] if "--user" in options else None
    return asyncio.run(guard(signal.Signals[options[0]], user, command))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
