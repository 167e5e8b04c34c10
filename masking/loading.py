"""Loading what a command consists of: it takes longer than many a command."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Let Ctrl-C end this process at once meanwhile: nothing is begun, and Python would print where it was."""
    let = _let_it_end()
    try:
        yield
    finally:
        if let:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _let_it_end() -> bool:
    """Whether it does now. Whoever handles it, or ignores it as a shell's background jobs do, is left alone."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    except ValueError:
        # Not the main thread: it is not the one that hears it.
        return False
    return True
