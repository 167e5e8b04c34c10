"""Packs as files."""

from __future__ import annotations

from pathlib import Path

from masking.audit.pack import LONGEST_LINE, Pack, read, read_header
from masking.errors import MaskingError


def read_file(path: Path) -> Pack:
    """Read a pack.

    Raises:
        MaskingError: there is no such file, or it may not be read.
    """
    try:
        with path.open("rb") as file:
            return read(file)
    except OSError as error:
        raise MaskingError(f"cannot read {path}: {error.strerror}") from None


def session_of(path: Path) -> str | None:
    """The session that a pack says it is of; None for what is no pack."""
    try:
        with path.open("rb") as file:
            header = read_header(file.readline(LONGEST_LINE))
    except OSError:
        return None
    return header.session_uuid if header is not None else None
