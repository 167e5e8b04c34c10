"""The updates that a session answered, remembered beyond a run of its workflow."""

from __future__ import annotations

from temporalio import workflow

REMEMBERED = 50
"""So many, the newest."""


class AnsweredUpdates:
    """Knows the current update again if an earlier run answered it. Within a run, Temporal itself does.

    Args:
        before: the ids that earlier runs answered, oldest first.
    """

    def __init__(self, before: tuple[str, ...]) -> None:
        self._before = before
        self._since: list[str] = []

    @property
    def ids(self) -> tuple[str, ...]:
        """The newest ids, oldest first."""
        return (*self._before, *self._since)[-REMEMBERED:]

    def has_current(self) -> bool:
        """Whether an earlier run answered this very update."""
        update = workflow.current_update_info()
        return update is not None and update.id in self._before

    def note_current(self) -> None:
        """The current update is being answered."""
        update = workflow.current_update_info()
        if update is not None:
            self._since.append(update.id)
