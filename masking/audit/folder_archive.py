"""The archive as a folder, which has to have hard links."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from masking.audit.archive import name_of, root_of
from masking.audit.pack import SUFFIX, Pack
from masking.audit.packs import read_file, session_of
from masking.errors import ArchiveAway

UNFINISHED = ".unfinished"
LEFT_BEHIND_S = 3600.0
"""What is unfinished for so long, a process left behind when it was killed."""


class FolderArchive:
    """A sub-folder for each day; see `Archive`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder, and remove what processes that were killed left unfinished."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self._folder.glob(f"*/.*{UNFINISHED}"):
                if time.time() - left.stat().st_mtime > LEFT_BEHIND_S:
                    left.unlink(missing_ok=True)
        except OSError as error:
            raise self._away(error) from None
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise ArchiveAway(f"{self._folder} may not be written: give it to the workers' user")

    def keep(self, session_uuid: str, settled_at: datetime, lines: Iterable[bytes]) -> str:
        """Write it beside its place, then put it there in one step."""
        path = self._folder / name_of(session_uuid, settled_at)
        try:
            if not path.exists():
                _write(path, lines)
        except OSError as error:
            raise self._away(error) from None
        return root_of(read_file(path), session_uuid, str(path))

    def names(self) -> Iterator[str]:
        """Of sub-folders however deep."""
        if not self._folder.is_dir():
            raise ArchiveAway(f"{self._folder} is no folder: name one, or set MASKING_ARCHIVE")
        for path in self._folder.rglob(f"*{SUFFIX}"):
            yield str(path.relative_to(self._folder))

    def read(self, name: str) -> Pack:
        """Read a file."""
        return read_file(self._folder / name)

    def session_of(self, name: str) -> str | None:
        """Read a file's first line. None also for a file that cannot be read."""
        return session_of(self._folder / name)

    def where(self, name: str) -> str:
        """A file's path."""
        return str(self._folder / name)

    def _away(self, error: OSError) -> ArchiveAway:
        return ArchiveAway(f"{self._folder} cannot be written ({error.strerror}): make room, or set MASKING_ARCHIVE")


def _write(path: Path, lines: Iterable[bytes]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(UNFINISHED, f".{path.stem}.", path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        try:
            # Unlike a rename, it replaces nothing: of two that write the same pack, the first one's stays.
            os.link(beside, path)
        except FileExistsError:
            return
    finally:
        os.unlink(beside)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
