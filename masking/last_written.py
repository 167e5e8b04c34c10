"""What a worker has written of sessions lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

MOST = 10_000
"""Of so many sessions it is known."""


class LastWritten:
    """Which version of each session this process has written to the database, of those that it wrote last."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._versions: OrderedDict[str, int] = OrderedDict()

    def note(self, session_uuid: str, version: int) -> None:
        """The database has this version for good, as far as it said."""
        self._versions[session_uuid] = max(version, self._versions.get(session_uuid, version))
        self._versions.move_to_end(session_uuid)
        if len(self._versions) > self._most:
            self._versions.popitem(last=False)

    @property
    def versions(self) -> Mapping[str, int]:
        """The versions by the sessions' ids."""
        return dict(self._versions)
