"""The archive: evidence packs, a part for each day, each pack written once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Protocol

from masking.audit.pack import SUFFIX, Pack
from masking.errors import MaskingError


class Archive(Protocol):
    """Packs under their sessions' ids, by the day on which the bill was closed (UTC). For threads; every call may wait.

    A pack's name is where it is within the archive.
    """

    def prepare(self) -> None:
        """Make the archive ready to be written.

        Raises:
            ArchiveAway: it cannot be.
        """

    def keep(self, session_uuid: str, settled_at: datetime, lines: Iterable[bytes]) -> str:
        """Write a pack, whole or not at all, unless it is there. Returns the root hash of the one that is there then.

        Raises:
            ArchiveAway: it cannot be written now.
            MaskingError: what is there is no whole pack of this session.
        """

    def names(self) -> Iterator[str]:
        """The names of all packs, in no order, as they are listed.

        Raises:
            ArchiveAway: they cannot be listed.
        """

    def read(self, name: str) -> Pack:
        """Read a pack.

        Raises:
            ArchiveAway: the archive cannot be read now.
            MaskingError: there is no such pack, or it may not be read.
        """

    def session_of(self, name: str) -> str | None:
        """The session that a pack says it is of; None for what is no pack.

        Raises:
            ArchiveAway: the archive cannot be read now.
        """

    def where(self, name: str) -> str:
        """Where a pack is, for people: a path or a URL."""


def name_of(session_uuid: str, settled_at: datetime) -> str:
    """The name of a session's pack."""
    return f"{settled_at.astimezone(UTC):%Y-%m-%d}/{session_uuid}{SUFFIX}"


def root_of(pack: Pack, session_uuid: str, where: str) -> str:
    """The root hash of a pack that is as it was written.

    Raises:
        MaskingError: it is no whole pack of this session.
    """
    if pack.faults or pack.seal is None or pack.header is None or pack.header.session_uuid != session_uuid:
        raise MaskingError(f"{where} is no whole pack of this session: move it away")
    return pack.seal.root
