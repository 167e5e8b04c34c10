"""The inbox: what carriers told us, on its way to the workflows, exactly once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from psycopg.rows import class_row

from masking.contract import EVENTS
from masking.domain.events import AnyCarrierEvent, Declined, PinStatus
from masking.privacy.keyring import KeyMissing, Keyring, Unreadable
from masking.privacy.session_cipher import SessionCipher, unwrapped
from masking.storage.batches import Batch, batch
from masking.storage.database import Connection

logger = logging.getLogger(__name__)

MOST_HEARD = 500
"""Of so many declined calls, and of so many PINs that connected nobody, does a session hear in its life.

Temporal bounds the signals of a workflow. Without a bound of ours, a machine that calls a number
again and again could use them up, so that the session would not hear of its conversations any more.
"""

LONGEST_PAUSE = timedelta(minutes=5)

KEY_AWAITED = 12
"""So often is an event tried whose key is missing: for half an hour."""

_COUNTS: Mapping[type[AnyCarrierEvent], str] = {Declined: "declined_count", PinStatus: "pin_count"}
_POST = (
    "INSERT INTO inbox (event_id, session_uuid, signal, sealed_event)"
    " VALUES (%(event_id)s, %(session_uuid)s, %(signal)s, %(event)s) ON CONFLICT (event_id) DO NOTHING"
)
_POST_COUNTED = (
    "WITH counted AS (INSERT INTO unconnected AS u (session_uuid, {count}) SELECT %(session_uuid)s, 1"
    "  WHERE NOT EXISTS (SELECT FROM inbox WHERE event_id = %(event_id)s)"
    "  ON CONFLICT (session_uuid) DO UPDATE SET {count} = u.{count} + 1 RETURNING {count} AS heard)"
    " INSERT INTO inbox (event_id, session_uuid, signal, sealed_event)"
    " SELECT %(event_id)s, %(session_uuid)s, %(signal)s, %(event)s FROM counted WHERE heard <= %(most)s"
    " ON CONFLICT (event_id) DO NOTHING"
)


async def post(connection: Connection, session_uuid: str, cipher: SessionCipher, event: AnyCarrierEvent) -> None:
    """Put an event in. The same event again changes nothing.

    One of a call that connects nobody is counted, and left out beyond `MOST_HEARD` of its kind.
    """
    count = None if event.call.dialled else _COUNTS.get(type(event))
    await connection.execute(
        _POST if count is None else _POST_COUNTED.format(count=count),
        {
            "event_id": event.event_id,
            "session_uuid": session_uuid,
            "signal": event.kind,
            "event": cipher.seal(event),
            "most": MOST_HEARD,
        },
    )


class WaitingEvent(NamedTuple):
    """An event that its workflow has not had yet.

    Attributes:
        revision: of the rules that its session follows.
    """

    id: int
    session_uuid: str
    revision: int
    event: AnyCarrierEvent


class _InboxRow(NamedTuple):
    id: int
    session_uuid: str
    revision: int
    attempts: int
    signal: str
    sealed_event: bytes
    key_id: str
    wrapped_key: bytes


_EVENTS = (
    "SELECT i.id, i.session_uuid, s.revision, i.attempts, i.signal, i.sealed_event, s.key_id, s.wrapped_key"
    " FROM inbox i JOIN sessions s USING (session_uuid)"
)


async def claim(connection: Connection, keyring: Keyring, limit: int) -> list[WaitingEvent]:
    """The oldest events that are due, locked until the transaction ends; others skip them.

    One that cannot be read is put aside: it must hold up no other. It stays, and counts as waiting. One whose key is
    missing is tried again for a while before: a new key may reach this process later than others.
    """
    async with connection.cursor(row_factory=class_row(_InboxRow)) as cursor:
        await cursor.execute(
            _EVENTS + " WHERE i.forwarded_at IS NULL AND NOT i.unreadable AND i.due_at <= now()"
            " ORDER BY i.id LIMIT %s FOR UPDATE OF i SKIP LOCKED",
            (limit,),
        )
        rows = await cursor.fetchall()
    events, unreadable, early = [], [], dict[str, None]()
    for row in rows:
        try:
            events.append(_opened(row, keyring))
        except KeyMissing:
            # That of an erased session has no id, and comes no more.
            if row.key_id and row.attempts < KEY_AWAITED:
                early[row.session_uuid] = None
            else:
                unreadable.append(row.id)
        except Unreadable:
            unreadable.append(row.id)
    for session_uuid in early:
        await postpone(connection, session_uuid, LONGEST_PAUSE)
    if early:
        logger.error("the keys of %d sessions are not in the key ring; their events are tried again", len(early))
    if unreadable:
        await connection.execute("UPDATE inbox SET unreadable = true WHERE id = ANY(%s)", (unreadable,))
        logger.error("%d events cannot be read; `masking inbox list --state unreadable` names them", len(unreadable))
    return events


def _opened(row: _InboxRow, keyring: Keyring) -> WaitingEvent:
    cipher = unwrapped(keyring, row.session_uuid, row.key_id, row.wrapped_key)
    return WaitingEvent(row.id, row.session_uuid, row.revision, cipher.open(EVENTS[row.signal], row.sealed_event))


async def mark_forwarded(connection: Connection, ids: Sequence[int]) -> None:
    """Their workflow has these events."""
    await connection.execute("UPDATE inbox SET forwarded_at = now() WHERE id = ANY(%s)", (list(ids),))


async def mark_late(connection: Connection, event_id: int) -> None:
    """The workflow had closed before this event came."""
    await connection.execute("UPDATE inbox SET forwarded_at = now(), late = true WHERE id = %s", (event_id,))


async def postpone(connection: Connection, session_uuid: str, longest: timedelta) -> None:
    """This session's events cannot be forwarded now; each try makes the pause longer, up to `longest`.

    Whoever has some of them in hand waits for no other: a session that is resumed meanwhile has all of them changed.
    """
    await connection.execute(
        "UPDATE inbox SET attempts = attempts + 1,"
        " due_at = now() + LEAST(interval '1 second' * 2 ^ LEAST(attempts, 16), %s)"
        " WHERE id IN (SELECT id FROM inbox WHERE session_uuid = %s AND forwarded_at IS NULL FOR UPDATE SKIP LOCKED)",
        (longest, session_uuid),
    )


async def late_events(connection: Connection, keyring: Keyring, session_uuid: str) -> list[WaitingEvent]:
    """A session's events that came too late, in the order in which they did."""
    async with connection.cursor(row_factory=class_row(_InboxRow)) as cursor:
        await cursor.execute(
            _EVENTS + " WHERE i.session_uuid = %s AND i.late ORDER BY i.id",
            (session_uuid,),
        )
        return [_opened(row, keyring) for row in await cursor.fetchall()]


class Standing(NamedTuple):
    """An event of the inbox as the operator sees it: never its content."""

    event_id: str
    session_uuid: str
    signal: str
    received_at: datetime
    attempts: int
    state: Literal["waiting", "unreadable", "late"]


async def standing(
    connection: Connection, state: Literal["waiting", "unreadable", "late"], limit: int, session_uuid: str | None = None
) -> list[Standing]:
    """The oldest events in a state."""
    which = {
        "waiting": "forwarded_at IS NULL AND NOT unreadable",
        "unreadable": "forwarded_at IS NULL AND unreadable",
        "late": "late",
    }[state]
    async with connection.cursor(row_factory=class_row(Standing)) as cursor:
        await cursor.execute(
            "SELECT event_id, session_uuid, signal, received_at, attempts, %(state)s::text AS state FROM inbox"  # noqa: S608 fixed fragments only
            f" WHERE {which} AND (%(session)s::text IS NULL OR session_uuid = %(session)s) ORDER BY id LIMIT %(limit)s",
            {"state": state, "session": session_uuid, "limit": limit},
        )
        return await cursor.fetchall()


async def retry_some(connection: Connection, after: int = 0) -> Batch:
    """Let events that wait, also those that could not be read, be tried at once: the first behind one with this id."""
    statement = (
        "WITH chosen AS (SELECT id FROM inbox WHERE forwarded_at IS NULL AND (unreadable OR due_at > now())"
        " AND id > %(after)s ORDER BY id LIMIT %(limit)s FOR UPDATE), done AS ("
        "UPDATE inbox SET unreadable = false, due_at = now() FROM chosen WHERE inbox.id = chosen.id"
        " RETURNING chosen.id)"
        " SELECT count(*), max(id) FROM done"
    )
    return await batch(connection, statement, {}, after)


class Missing(NamedTuple):
    """What the workflow of a session does not know yet, or may not.

    Attributes:
        unreported: how many events are still on their way, or may come from a call that has not ended.
        waiting: how many of these are events that can be read.
        unheard: how many are not among those that it has heard, on their way or not; and such calls.
        settled: whether its bill is closed.
    """

    unreported: int
    waiting: int
    unheard: int
    settled: bool


async def missing(connection: Connection, session_uuid: str, heard: Sequence[str] = ()) -> Missing:
    """What is missing of a session whose workflow has heard these events, by their ids."""
    async with connection.cursor(row_factory=class_row(Missing)) as cursor:
        await cursor.execute(
            "SELECT told.unforwarded + live.calls AS unreported, told.waiting, told.unheard + live.calls AS unheard,"
            " EXISTS (SELECT FROM settlements WHERE session_uuid = %(uuid)s) AS settled"
            " FROM (SELECT count(*) FILTER (WHERE forwarded_at IS NULL) AS unforwarded,"
            "   count(*) FILTER (WHERE forwarded_at IS NULL AND NOT unreadable) AS waiting,"
            "   count(*) FILTER (WHERE event_id <> ALL(%(heard)s::text[])) AS unheard"
            "   FROM inbox WHERE session_uuid = %(uuid)s) told,"
            " (SELECT count(*) AS calls FROM calls"
            "   WHERE session_uuid = %(uuid)s AND ended_at IS NULL AND must_end_by > now()) live",
            {"uuid": session_uuid, "heard": list(heard)},
        )
        (row,) = await cursor.fetchall()
    return row


class PutIn(NamedTuple):
    """An event that was put in for a session, and may be on its way still."""

    id: int
    event: AnyCarrierEvent


async def put_in(connection: Connection, keyring: Keyring, session_uuid: str) -> list[PutIn]:
    """All that was put in for a session, in the order in which it was, but for what came late or cannot be read."""
    async with connection.cursor(row_factory=class_row(_InboxRow)) as cursor:
        await cursor.execute(
            _EVENTS + " WHERE i.session_uuid = %s AND NOT i.late AND NOT i.unreadable ORDER BY i.id",
            (session_uuid,),
        )
        rows = await cursor.fetchall()
    found: list[PutIn] = []
    for row in rows:
        # One that cannot be read is the forwarder's to put aside.
        with suppress(Unreadable):
            found.append(PutIn(row.id, _opened(row, keyring).event))
    return found


async def forward_again(connection: Connection, session_uuid: str, ids: Sequence[int], after: timedelta) -> int:
    """Let these events be forwarded once more, and those that wait as well, after a while. How many these are."""
    waiting = await connection.execute(
        "UPDATE inbox SET forwarded_at = NULL, attempts = 0, due_at = now() + %s"
        " WHERE session_uuid = %s AND (id = ANY(%s) OR forwarded_at IS NULL) AND NOT late",
        (after, session_uuid, list(ids)),
    )
    return waiting.rowcount


async def put_back(connection: Connection, session_uuid: str, event_ids: Sequence[str]) -> None:
    """Let these events be forwarded once more."""
    await connection.execute(
        "UPDATE inbox SET forwarded_at = NULL, due_at = now()"
        " WHERE session_uuid = %s AND event_id = ANY(%s) AND NOT late",
        (session_uuid, list(event_ids)),
    )
