"""Queueing callbacks with the state that they follow from. Whoever queues them may take them in hand at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg import AsyncCursor
from psycopg.rows import class_row

from masking.domain.callbacks import Callback
from masking.domain.session import Session
from masking.privacy.session_cipher import SessionCipher
from masking.storage.callbacks import Due, Hold
from masking.storage.database import Connection


class Queued(NamedTuple):
    """Callbacks of a session that were just queued, in their order.

    Attributes:
        hold: that they are in the hands of who queued them; None where others of the session wait already, or somebody
            has it in hand, or nobody wanted to.
    """

    session_uuid: str
    owner_id: str
    account_id: str
    due: Sequence[Due]
    hold: Hold | None


class _QueuedRow(NamedTuple):
    fresh: list[str]
    until: datetime | None


_QUEUE = """
WITH queued AS (
    INSERT INTO callbacks (callback_id, session_uuid, kind, sequence, sealed_callback)
    SELECT c.callback_id, %(session_uuid)s, c.kind, c.sequence, c.sealed_callback
    FROM unnest(%(ids)s::text[], %(kinds)s::text[], %(sequences)s::integer[], %(sealed)s::bytea[])
        WITH ORDINALITY AS c (callback_id, kind, sequence, sealed_callback, place)
    ORDER BY c.place ON CONFLICT (callback_id) DO NOTHING
    RETURNING callback_id
), held AS (
    INSERT INTO callback_claims AS held (session_uuid, until)
    SELECT %(session_uuid)s, now() + %(lease)s::interval
    WHERE %(lease)s::interval IS NOT NULL AND EXISTS (SELECT FROM queued) AND NOT EXISTS (
        SELECT FROM callbacks WHERE session_uuid = %(session_uuid)s AND state = 'pending'
    )
    ON CONFLICT (session_uuid) DO UPDATE SET until = excluded.until WHERE held.until <= now()
    RETURNING until
)
SELECT array(SELECT callback_id FROM queued) AS fresh, (SELECT until FROM held) AS until
"""


class Queueing:
    """Queues callbacks of a session; what became of it is read later, so that a pipelined transaction need not wait.

    Args:
        lease: for how long to take them in hand at once, if nothing of the session waits or is in hand; None not to.
    """

    def __init__(
        self, session: Session, cipher: SessionCipher, callbacks: Sequence[Callback], lease: timedelta | None
    ) -> None:
        self._session, self._cipher, self._callbacks, self._lease = session, cipher, callbacks, lease
        self._cursor: AsyncCursor[_QueuedRow] | None = None

    async def begin(self, connection: Connection) -> None:
        """Ask for it. Whoever records the session has its row locked, so that nobody else queues meanwhile."""
        if not self._callbacks:
            return
        self._cursor = connection.cursor(row_factory=class_row(_QueuedRow))
        await self._cursor.execute(
            _QUEUE,
            {
                "session_uuid": self._session.session_uuid,
                "ids": [each.callback_id for each in self._callbacks],
                "kinds": [each.kind for each in self._callbacks],
                "sequences": [each.sequence for each in self._callbacks],
                "sealed": [self._cipher.seal(each) for each in self._callbacks],
                "lease": self._lease,
            },
        )

    async def queued(self) -> Queued | None:
        """Those that were not queued before; None without any."""
        if self._cursor is None:
            return None
        (row,) = await self._cursor.fetchall()
        uuid, fresh = self._session.session_uuid, set(row.fresh)
        due = [
            Due(each.callback_id, each, self._cipher, attempts=0, age=timedelta())
            for each in self._callbacks
            if each.callback_id in fresh
        ]
        hold = None if row.until is None else Hold(uuid, row.until)
        return Queued(uuid, self._session.owner_id, self._session.account_id, due, hold) if due else None
