"""The archive as a folder, which has to have hard links."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from masking.audit.archive import name_of, root_of
from masking.audit.pack import SUFFIX, Pack
from masking.audit.packs import read_file, session_of
from masking.errors import ArchiveAway
from masking.objects.folder import made_ready, written


class FolderArchive:
    """A sub-folder for each day; see `Archive`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder, and remove what processes that were killed left unfinished."""
        try:
            made_ready(self._folder)
        except OSError as error:
            raise self._away(error) from None
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise ArchiveAway(f"{self._folder} may not be written: give it to the workers' user")

    def keep(self, session_uuid: str, settled_at: datetime, lines: Iterable[bytes]) -> str:
        """Write it beside its place, then put it there in one step."""
        path = self._folder / name_of(session_uuid, settled_at)
        try:
            if not path.exists():
                with written(path, replaces=False) as file:
                    file.writelines(lines)
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
