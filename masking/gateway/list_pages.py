"""How the pages of a list follow each other.

`meta.next` and `meta.previous` carry a cursor: the session beside which the neighbouring page begins, and what
the first page was a list of. So nobody who follows them misses a session or meets one twice, however many are
created or expire meanwhile. An `offset` alone counts from whichever session is the newest at the moment.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast
from urllib.parse import urlencode

from masking.gateway.errors import ApiError
from masking.storage.session_list import Direction, Position, SessionPage

MAX_OFFSET = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Sixteen digits of microseconds: the years 2001 to 2286.
_WRITTEN = re.compile(
    r"(after|before)\.([0-9]{16})\.([0-9A-Za-z-]{1,64})\.([0-9]{16})\.([0-9]{16})\.([0-9]{1,9})\.([0-9a-f]{16})"
)


class Cursor(NamedTuple):
    """Where a page begins, and what the first page was a list of.

    Attributes:
        position: the session beside the page, and the page's side of it.
        newest: when the list's newest session was created; sessions created later do not belong to it.
        as_of: when the first page was asked for: windows without an end count back from then.
        total_count: how many sessions the list had then.
        filters: a digest of its filters.
    """

    position: Position
    newest: datetime
    as_of: datetime
    total_count: int
    filters: str

    def __str__(self) -> str:
        side, created_at, session_uuid = self.position
        times = [str((moment - _EPOCH) // _MICROSECOND) for moment in (created_at, self.newest, self.as_of)]
        return ".".join([side, times[0], session_uuid, times[1], times[2], str(self.total_count), self.filters])


def read_cursor(written: str, filters: Mapping[str, str]) -> Cursor:
    """Read a `cursor` off a request.

    Raises:
        ApiError: 400, it is none of ours, or belongs to a list with other filters.
    """
    match = _WRITTEN.fullmatch(written)
    if match is None or match[7] != _digest(filters):
        raise ApiError(400, "Invalid parameter. cursor should come from meta.next or meta.previous, filters unchanged.")
    created_at, newest, as_of = (_EPOCH + int(match[group]) * _MICROSECOND for group in (2, 4, 5))
    position = Position(cast(Direction, match[1]), created_at, match[3])
    return Cursor(position, newest, as_of, int(match[6]), match[7])


class Links(NamedTuple):
    """The queries of the neighbouring pages; None where there is none."""

    previous: str | None
    next: str | None


def links(
    page: SessionPage,
    total_count: int,
    filters: Mapping[str, str],
    cursor: Cursor | None,
    now: datetime,
    *,
    limit: int,
    offset: int,
) -> Links:
    """How to ask for the pages before and after one that was asked for with these filters at a moment."""
    before, after = max(0, offset - limit), min(offset + limit, MAX_OFFSET)
    if page.edges is None:
        return Links(_query(filters, limit, before) if offset else None, None)
    first, last = page.edges
    if cursor is None:
        newest = first.created_at if offset == 0 else max(now, first.created_at)
        cursor = Cursor(last, newest, now, total_count, _digest(filters))
    return Links(
        _query(filters, limit, before, cursor._replace(position=first)) if page.newer else None,
        _query(filters, limit, after, cursor._replace(position=last)) if page.older else None,
    )


def _query(filters: Mapping[str, str], limit: int, offset: int, cursor: Cursor | None = None) -> str:
    place = {} if cursor is None else {"cursor": str(cursor)}
    return urlencode({**filters, "limit": limit, "offset": offset, **place})


def _digest(filters: Mapping[str, str]) -> str:
    return hashlib.sha256(urlencode(sorted(filters.items())).encode()).hexdigest()[:16]
