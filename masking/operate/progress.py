"""How far long work is, for whoever is at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

Done = Callable[[int], None]
"""Is told how many more are done."""

SHOWN_EVERY_S = 0.1


@contextmanager
def progress(title: str, total: int | None = None, *, quiet: bool, so_far: int = 0) -> Iterator[Done]:
    """A bar on standard error while something is done, where that is a terminal; it leaves nothing behind.

    Args:
        total: None when nobody knows.
        so_far: how many are done already.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    # It takes longer to load than many a command to run.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    known = Progress.get_default_columns()
    columns = known if total is not None else (TextColumn("{task.description}"), BarColumn())
    more = (MofNCompleteColumn(), TimeElapsedColumn())
    # What goes to a file must not be shown here instead.
    shown = Progress(*columns, *more, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty())
    task, last = shown.add_task(title, total=total, completed=so_far), monotonic()

    def done(count: int) -> None:
        nonlocal so_far, last
        so_far += count
        if (now := monotonic()) - last >= SHOWN_EVERY_S:
            last = now
            shown.update(task, completed=so_far)

    with shown:
        yield done
