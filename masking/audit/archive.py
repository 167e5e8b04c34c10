"""The archive: a folder of evidence packs, a sub-folder for each day, each pack written once."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from masking.audit.pack import SUFFIX, read
from masking.errors import MaskingError

UNFINISHED = ".unfinished"
LEFT_BEHIND_S = 3600.0
"""What is unfinished for so long, a process left behind when it was killed."""


class Archive:
    """Packs under their sessions' ids, by the day on which the bill was closed (UTC)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path_of(self, session_uuid: str, settled_at: datetime) -> Path:
        """Where a session's pack is."""
        return self._folder / f"{settled_at.astimezone(UTC):%Y-%m-%d}" / f"{session_uuid}{SUFFIX}"

    def keep(self, session_uuid: str, settled_at: datetime, lines: Iterable[bytes]) -> str:
        """Write a pack, whole or not at all, unless it is there. Returns the root hash of the one that is there then.

        Raises:
            MaskingError: what is there is no whole pack of this session.
            OSError: it cannot be written.
        """
        path = self.path_of(session_uuid, settled_at)
        if not path.exists():
            self._write(path, lines)
        return _root(path, session_uuid)

    def _write(self, path: Path, lines: Iterable[bytes]) -> None:
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

    def clean(self) -> None:
        """Remove what processes that were killed left unfinished."""
        for left in self._folder.glob(f"*/.*{UNFINISHED}"):
            if time.time() - left.stat().st_mtime > LEFT_BEHIND_S:
                left.unlink(missing_ok=True)


def _root(path: Path, session_uuid: str) -> str:
    with path.open("rb") as file:
        pack = read(file)
    if pack.faults or pack.seal is None or pack.header is None or pack.header.session_uuid != session_uuid:
        raise MaskingError(f"{path} is no whole pack of this session: move it away")
    return pack.seal.root
