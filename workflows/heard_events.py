"""Which events a session has heard, so that the database can tell whether one is missing."""

from __future__ import annotations

MOST = 64
"""Sessions that heard more are settled in two steps: the ids travel with the last write."""


class HeardEvents:
    """The ids of what a session heard in this run, and of what came once its bill was about to be closed.

    Args:
        whole: whether the session heard nothing before this run.
    """

    def __init__(self, *, whole: bool) -> None:
        self._ids: dict[str, None] | None = {} if whole else None
        self._too_late: dict[str, None] | None = None

    @property
    def all(self) -> tuple[str, ...] | None:
        """The ids of all that the session heard; None where these are not known, or too many."""
        return tuple(self._ids) if self._ids is not None else None

    def note(self, event_id: str) -> None:
        """The session heard this one, once more perhaps."""
        known = self._ids is not None and event_id in self._ids
        if known:
            return
        if self._too_late is not None:
            self._too_late[event_id] = None
        else:
            self._keep(event_id)

    def _keep(self, event_id: str) -> None:
        if self._ids is not None:
            self._ids[event_id] = None
            if len(self._ids) > MOST:
                self._ids = None

    def closing(self) -> None:
        """What comes from here on, and was not heard before, is not in the bill that is being closed."""
        self._too_late = {}

    def left_open(self) -> None:
        """The bill was not closed after all."""
        for event_id in self._too_late or ():
            self._keep(event_id)
        self._too_late = None

    def taken_too_late(self) -> tuple[str, ...]:
        """What came too late for the bill, each told once."""
        too_late = tuple(self._too_late or ())
        if too_late:
            self._too_late = {}
        return too_late
