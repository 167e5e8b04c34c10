"""Files in a folder, each there whole or not at all."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

UNFINISHED = ".unfinished"
LEFT_BEHIND_S = 3600.0
"""What is unfinished for so long, a process left behind when it was killed."""


@contextmanager
def written(path: Path, *, replaces: bool) -> Iterator[IO[bytes]]:
    """A file that takes its place once it is written to the end. The folder has to have hard links.

    Args:
        replaces: whether it takes the place of one that is there; else, of two that write the same, the first stays.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(UNFINISHED, f".{path.stem}.", path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replaces:
            os.replace(beside, path)
        else:
            try:
                # Unlike a rename, it replaces nothing.
                os.link(beside, path)
            except FileExistsError:
                return
    finally:
        Path(beside).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def made_ready(folder: Path) -> None:
    """Make a folder, and remove from its sub-folders what processes that were killed left unfinished."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob(f"*/.*{UNFINISHED}"):
        # One that others write is gone once it has taken its place.
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > LEFT_BEHIND_S:
                left.unlink()
