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
from masking.privacy.session_cipher import SessionCipher, unwrapped
from masking.storage.database import Connection

CLAIM_LOCK = 0x6D61736B_63616C6C
"""Senders claim one after the other: the advisory lock's key."""

AT_ONCE = 20
"""So many callbacks of a session and kind are claimed together."""


class Due(NamedTuple):
    """A callback to be sent now.

    Attributes:
        callback, cipher: what to send, and what seals the answer; None when it cannot be read.
        attempts: how often it was tried already.
        age: how long ago it arose, or an operator had it sent again.
    """

    callback_id: str
    callback: Callback | None
    cipher: SessionCipher | None
    attempts: int
    age: timedelta


class Hold(NamedTuple):
    """That a session's callbacks are in somebody's hands, until when."""

    session_uuid: str
    until: datetime


class Claimed(NamedTuple):
    """The callbacks of one session that are due, in their order; whose token signs them, and its main account."""

    hold: Hold
    owner_id: str
    account_id: str
    due: Sequence[Due]


class _DueRow(NamedTuple):
    callback_id: str
    session_uuid: str
    owner_id: str
    account_id: str
    ordinal: int
    sealed_callback: bytes
    attempts: int
    since: datetime
    now: datetime
    until: datetime
    key_id: str
    wrapped_key: bytes


_CLAIM = """
WITH oldest AS (
    SELECT session_uuid, kind, due_at FROM callbacks c
    WHERE state = 'pending' AND due_at <= now() AND NOT EXISTS (
        SELECT FROM callback_claims held WHERE held.session_uuid = c.session_uuid AND held.until > now()
    )
    ORDER BY due_at LIMIT %(looked_at)s
), ready AS (
    SELECT session_uuid, kind FROM oldest GROUP BY 1, 2 ORDER BY min(due_at) LIMIT %(sessions)s
), first AS (
    SELECT f.* FROM ready r CROSS JOIN LATERAL (
        SELECT p.*, max(due_at) FILTER (WHERE attempts = 0 AND due_at > now()) OVER (ORDER BY ordinal) AS waits_until
        FROM (
            SELECT callback_id, session_uuid, ordinal, sealed_callback, attempts, due_at,
                coalesce(replayed_at, created_at) AS since
            FROM callbacks
            WHERE session_uuid = r.session_uuid AND kind = r.kind AND state = 'pending'
                AND (attempts = 0 OR due_at <= now())
            ORDER BY ordinal LIMIT %(at_once)s
        ) p
    ) f WHERE f.due_at <= now()
), held_up AS (
    UPDATE callbacks c SET due_at = f.waits_until FROM first f
    WHERE c.callback_id = f.callback_id AND f.waits_until IS NOT NULL
), claims AS (
    INSERT INTO callback_claims (session_uuid, until)
    SELECT DISTINCT session_uuid, now() + %(lease)s FROM first WHERE waits_until IS NULL
    ON CONFLICT (session_uuid) DO UPDATE SET until = excluded.until WHERE callback_claims.until <= now()
    RETURNING session_uuid
)
SELECT f.callback_id, f.session_uuid, coalesce(s.subaccount_id, s.account_id) AS owner_id, s.account_id,
    f.ordinal, f.sealed_callback, f.attempts, f.since, now(), now() + %(lease)s AS until, s.key_id, s.wrapped_key
FROM first f JOIN claims USING (session_uuid) JOIN sessions s USING (session_uuid) WHERE f.waits_until IS NULL
"""
"""What waits longest, without reading all that waits.

One that was never tried, and is not due because its endpoint is not to be tried, holds up what follows it in its
sequence: that becomes due with it. So only a failure of their own lets callbacks overtake each other.
"""


async def claim(connection: Connection, keyring: Keyring, sessions: int, lease: timedelta) -> list[Claimed]:
    """Take in hand what is due of so many sessions, those that wait longest, for the time of a lease.

    Meant for a pipelined transaction.
    """
    async with connection.cursor(row_factory=class_row(_DueRow)) as cursor:
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (CLAIM_LOCK,))
        # In a burst the statistics do not know yet how much waits; the index has it in order.
        await connection.execute("SET LOCAL enable_bitmapscan = off")
        await cursor.execute(
            _CLAIM,
            {"sessions": sessions, "looked_at": AT_ONCE * sessions, "at_once": AT_ONCE, "lease": lease},
        )
        rows = sorted(await cursor.fetchall(), key=lambda row: (row.session_uuid, row.ordinal))
    claimed = []
    for (session_uuid, until, owner_id, account_id), of_session in groupby(
        rows, key=lambda row: (row.session_uuid, row.until, row.owner_id, row.account_id)
    ):
        due = [_due(row, keyring) for row in of_session]
        claimed.append(Claimed(Hold(session_uuid, until), owner_id, account_id, due))
    return claimed


def _due(row: _DueRow, keyring: Keyring) -> Due:
    try:
        cipher = unwrapped(keyring, row.session_uuid, row.key_id, row.wrapped_key)
        callback = cipher.open(Callback, row.sealed_callback)
    except Unreadable:
        return Due(row.callback_id, None, None, row.attempts, row.now - row.since)
    return Due(row.callback_id, callback, cipher, row.attempts, row.now - row.since)


class Note(NamedTuple):
    """What came of a try.

    Attributes:
        began_at, duration: when the request began, and how long it took.
        outcome: in a few words, without the address and without content.
        status: the answer's HTTP status; None without an answer.
        sealed_answer: an `AnswerStart`; None where the answer said nothing.
        taken: whether the customer's endpoint took it.
        pause: after which it is to be tried again, if it was not; None for never.
        endpoint_hash: of `callback_endpoints`.
        let_go: the hold that ends with it, if nothing more of the session is in hand.
    """

    callback_id: str
    began_at: datetime
    duration: timedelta
    outcome: str
    status: int | None
    sealed_answer: bytes | None
    taken: bool
    pause: timedelta | None
    endpoint_hash: bytes
    let_go: Hold | None

    @property
    def is_last_failure(self) -> bool:
        """Whether it was not taken, and is not tried again."""
        return not self.taken and self.pause is None


# Each array in a SELECT of its own: else PostgreSQL knows how long they are this time, and plans anew for each writing.
_NOTE = """
WITH noted AS (
    SELECT * FROM unnest(
        (SELECT %(ids)s::text[]), (SELECT %(began)s::timestamptz[]), (SELECT %(durations)s::integer[]),
        (SELECT %(outcomes)s::text[]), (SELECT %(statuses)s::smallint[]), (SELECT %(answers)s::bytea[]),
        (SELECT %(taken)s::boolean[]), (SELECT %(pauses)s::interval[]), (SELECT %(endpoints)s::bytea[]),
        (SELECT %(sessions)s::text[]), (SELECT %(until)s::timestamptz[])
    ) AS n (
        callback_id, began_at, duration_ms, outcome, status, sealed_answer, taken, pause, endpoint_hash,
        session_uuid, until
    )
), kept AS (
    INSERT INTO callback_attempts (callback_id, began_at, duration_ms, outcome, status, sealed_answer)
    SELECT n.callback_id, n.began_at, n.duration_ms, n.outcome, n.status, n.sealed_answer
    FROM noted n JOIN callbacks USING (callback_id) ON CONFLICT DO NOTHING
), recovered AS (
    DELETE FROM callback_endpoints e USING noted n WHERE n.taken AND e.endpoint_hash = n.endpoint_hash
), let_go AS (
    DELETE FROM callback_claims h USING noted n WHERE h.session_uuid = n.session_uuid AND h.until = n.until
)
UPDATE callbacks c SET attempts = attempts + 1, last_outcome = n.outcome,
    state = CASE WHEN n.taken THEN 'delivered' WHEN n.pause IS NULL THEN 'dead' ELSE c.state END,
    delivered_at = CASE WHEN n.taken THEN now() END, due_at = now() + coalesce(n.pause, '0')
FROM noted n
WHERE c.callback_id = n.callback_id AND (c.state = 'pending' OR n.taken AND c.state = 'dead')
"""


async def note(connection: Connection, notes: Sequence[Note]) -> None:
    """Write down what came of tries. What was delivered stays so; an endpoint that took one fails no more."""
    await connection.execute(
        _NOTE,
        {
            "ids": [each.callback_id for each in notes],
            "began": [each.began_at for each in notes],
            "durations": [round(each.duration / timedelta(milliseconds=1)) for each in notes],
            "outcomes": [each.outcome for each in notes],
            "statuses": [each.status for each in notes],
            "answers": [each.sealed_answer for each in notes],
            "taken": [each.taken for each in notes],
            "pauses": [each.pause for each in notes],
            "endpoints": [each.endpoint_hash for each in notes],
            "sessions": [each.let_go and each.let_go.session_uuid for each in notes],
            "until": [each.let_go and each.let_go.until for each in notes],
        },
    )


async def put_back(connection: Connection, callback_ids: Sequence[str], pause: timedelta) -> None:
    """These were not tried after all; they are due after `pause`."""
    await connection.execute(
        "UPDATE callbacks SET due_at = GREATEST(due_at, now() + %s) WHERE callback_id = ANY(%s)",
        (pause, list(callback_ids)),
    )


async def let_go(connection: Connection, hold: Hold) -> None:
    """Nothing more of the session is in hand; a hold that somebody else has by now stays."""
    await connection.execute("DELETE FROM callback_claims WHERE session_uuid = %s AND until = %s", hold)
