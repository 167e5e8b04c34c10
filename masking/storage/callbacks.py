"""Callbacks to customers: which are to be sent now, and what became of the others.

A sender claims what is due of a session for a while. Of one session never two senders have
callbacks in hand, so that they leave in order; a claim that a dead sender left behind ends by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.callbacks import Callback
from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.session_cipher import unwrapped
from masking.storage.database import Connection

CLAIM_LOCK = 0x6D61736B_63616C6C
"""Senders claim one after the other: the advisory lock's key."""

AT_ONCE = 20
"""So many callbacks of a session are claimed together."""


class Due(NamedTuple):
    """A callback to be sent now.

    Attributes:
        callback: None when it cannot be read.
        attempts: how often it was tried already.
        age: how long ago it arose, or an operator had it sent again.
    """

    callback_id: str
    callback: Callback | None
    attempts: int
    age: timedelta


class Claimed(NamedTuple):
    """The callbacks of one session that are due, in their order; whose token signs them."""

    session_uuid: str
    owner_id: str
    due: Sequence[Due]


class _DueRow(NamedTuple):
    callback_id: str
    session_uuid: str
    owner_id: str
    ordinal: int
    sealed_callback: bytes
    attempts: int
    since: datetime
    now: datetime
    key_id: str
    wrapped_key: bytes


async def claim(connection: Connection, keyring: Keyring, sessions: int, lease: timedelta) -> list[Claimed]:
    """Take in hand what is due of so many sessions, those that wait longest, for the time of a lease.

    Meant for a pipelined transaction.
    """
    async with connection.cursor(row_factory=class_row(_DueRow)) as cursor:
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (CLAIM_LOCK,))
        await cursor.execute(
            "WITH ready AS (SELECT session_uuid, min(due_at) AS since FROM callbacks c"
            "  WHERE state = 'pending' AND due_at <= now() AND NOT EXISTS (SELECT FROM callbacks held"
            "   WHERE held.session_uuid = c.session_uuid AND held.state = 'pending' AND held.claimed_until > now())"
            "  GROUP BY 1 ORDER BY 2 LIMIT %(sessions)s),"
            " chosen AS (SELECT c.callback_id FROM ready r CROSS JOIN LATERAL ("
            "  SELECT callback_id FROM callbacks WHERE session_uuid = r.session_uuid AND state = 'pending'"
            "  AND due_at <= now() ORDER BY ordinal LIMIT %(at_once)s) c)"
            " UPDATE callbacks c SET claimed_until = now() + %(lease)s FROM chosen, sessions s"
            " WHERE c.callback_id = chosen.callback_id AND s.session_uuid = c.session_uuid"
            " RETURNING c.callback_id, c.session_uuid, coalesce(s.subaccount_id, s.account_id) AS owner_id, c.ordinal,"
            " c.sealed_callback, c.attempts, coalesce(c.replayed_at, c.created_at) AS since, now(),"
            " s.key_id, s.wrapped_key",
            {"sessions": sessions, "at_once": AT_ONCE, "lease": lease},
        )
        rows = sorted(await cursor.fetchall(), key=lambda row: (row.session_uuid, row.ordinal))
    claimed = []
    for (session_uuid, owner_id), of_session in groupby(rows, key=lambda row: (row.session_uuid, row.owner_id)):
        claimed.append(Claimed(session_uuid, owner_id, [_due(row, keyring) for row in of_session]))
    return claimed


def _due(row: _DueRow, keyring: Keyring) -> Due:
    try:
        cipher = unwrapped(keyring, row.session_uuid, row.key_id, row.wrapped_key)
        callback = cipher.open(Callback, row.sealed_callback)
    except Unreadable:
        callback = None
    return Due(row.callback_id, callback, row.attempts, row.now - row.since)


class Note(NamedTuple):
    """What came of a try.

    Attributes:
        outcome: in a few words, without the address and without content.
        taken: whether the customer's endpoint took it.
        pause: after which it is to be tried again, if it was not; None for never.
    """

    callback_id: str
    outcome: str
    taken: bool
    pause: timedelta | None

    @property
    def is_last_failure(self) -> bool:
        """Whether it was not taken, and is not tried again."""
        return not self.taken and self.pause is None


async def note(connection: Connection, notes: Sequence[Note]) -> None:
    """Write down what came of tries. What was delivered stays so."""
    ids, outcomes, taken, pauses = zip(*notes, strict=True)
    await connection.execute(
        "UPDATE callbacks c SET attempts = attempts + 1, last_outcome = n.outcome, claimed_until = NULL,"
        " state = CASE WHEN n.taken THEN 'delivered' WHEN n.pause IS NULL THEN 'dead' ELSE c.state END,"
        " delivered_at = CASE WHEN n.taken THEN now() END, due_at = now() + coalesce(n.pause, '0')"
        " FROM unnest(%s::text[], %s::text[], %s::boolean[], %s::interval[]) AS n (callback_id, outcome, taken, pause)"
        " WHERE c.callback_id = n.callback_id AND (c.state = 'pending' OR n.taken AND c.state = 'dead')",
        (list(ids), list(outcomes), list(taken), list(pauses)),
    )


async def put_back(connection: Connection, callback_ids: Sequence[str], pause: timedelta) -> None:
    """These were not tried after all; they are due after `pause`."""
    await connection.execute(
        "UPDATE callbacks SET claimed_until = NULL, due_at = GREATEST(due_at, now() + %s) WHERE callback_id = ANY(%s)",
        (pause, list(callback_ids)),
    )
