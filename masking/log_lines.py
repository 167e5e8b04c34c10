"""What an outage leaves in the logs: a line now and then, whatever tries again meanwhile."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from masking.errors import ArchiveAway

TOLD_AGAIN_AFTER_S = 30.0
MOST_LINES = 1000


class _Line(NamedTuple):
    """What was written, when, and how often it was left out since."""

    at: float
    left_out: int


class OncePerOutage(logging.Filter):
    """Writes the same warning once in a while only, and then how often it was left out.

    A write that PostgreSQL did not take is tried again until it does: Temporal's SDK logs each try of an
    activity with its traceback. Of those only what failed and the kind of fault is written. So it is with a write
    that took too long and was cancelled, and with an archive that is away, whose fault says what to do.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[str, str], _Line] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write a record; makes it shorter where it tells of a fault of PostgreSQL or the archive."""
        fault = record.exc_info[1] if record.exc_info else None
        activity = getattr(record, "temporal_activity", None)
        if isinstance(activity, dict) and _passes(fault):
            what = str(fault) if isinstance(fault, ArchiveAway) else type(fault).__name__
            record.msg, record.args = "%s waits: %s", (activity.get("activity_type"), what)
            record.exc_info = record.exc_text = None
        if record.levelno < logging.WARNING or record.exc_info:
            return True
        now, line = time.monotonic(), (record.name, record.getMessage())
        known = self._told.get(line)
        if known is not None and now - known.at < TOLD_AGAIN_AFTER_S:
            self._told[line] = _Line(known.at, known.left_out + 1)
            return False
        if len(self._told) >= MOST_LINES:
            self._told.clear()
        self._told[line] = _Line(now, 0)
        if known is not None and known.left_out:
            record.msg, record.args = f"{line[1]} (and {known.left_out} times more before)", ()
        return True


def _passes(fault: BaseException | None) -> bool:
    """Whether an activity that failed so need only be tried again."""
    # Takes long to load, and what has no database has no such fault.
    import asyncio

    import psycopg

    return isinstance(fault, psycopg.Error | ArchiveAway | asyncio.CancelledError)
