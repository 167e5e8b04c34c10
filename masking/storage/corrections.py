"""What late events add to bills that were closed: entries of their own, the bill is never edited."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.bill.corrections import corrected, correction
from masking.domain.bill.ledger import correction_entries
from masking.privacy.keyring import Keyring
from masking.storage import ledger
from masking.storage.database import Connection
from masking.storage.inbox import WaitingEvent, late_events, mark_late
from masking.storage.sessions import SealedSession


class Correction(NamedTuple):
    """What a late event adds to the charge of a session's calls; parts may be negative. Seconds, and money."""

    event_id: str
    session_uuid: str
    call_count: int
    duration: int
    billed_duration: int
    amount: Decimal
    currency: str
    corrected_at: datetime


async def take_late(connection: Connection, keyring: Keyring, waiting: WaitingEvent) -> bool:
    """Keep an event whose session had been settled, and write down what it changes about the bill.

    Returns:
        Whether the session had been settled; if not, nothing has changed. A workflow closes only after
        its settlement, so that only damage to Temporal's own data can make this false.
    """
    async with connection.cursor(row_factory=class_row(SealedSession)) as cursor:
        # Late events of one session are taken one after the other: each correction builds on those before.
        await cursor.execute(
            "SELECT s.session_uuid, s.key_id, s.wrapped_key, s.sealed_session FROM sessions s"
            " JOIN settlements USING (session_uuid) WHERE s.session_uuid = %s FOR UPDATE OF s",
            (waiting.session_uuid,),
        )
        row = await cursor.fetchone()
    if row is None:
        return False
    settled = row.opened(keyring)
    late = await late_events(connection, keyring, waiting.session_uuid)
    before = corrected(settled, (each.event for each in late if each.id != waiting.id))
    after = corrected(before, (waiting.event,))
    # Once it is clear what it changes: whoever cannot read the session leaves it waiting.
    await mark_late(connection, waiting.id)
    change = correction(before, after)
    if change:
        await connection.execute(
            "INSERT INTO corrections (event_id, session_uuid, call_count, duration, billed_duration, amount, currency)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (event_id) DO NOTHING",
            (
                waiting.event.event_id,
                waiting.session_uuid,
                change.call_count,
                change.duration,
                change.billed_duration,
                change.amount,
                settled.rate.currency,
            ),
        )
    await ledger.post(connection, correction_entries(before, after, waiting.event))
    return True


async def corrections_of(connection: Connection, session_uuid: str) -> list[Correction]:
    """A session's corrections, oldest first."""
    async with connection.cursor(row_factory=class_row(Correction)) as cursor:
        await cursor.execute(
            "SELECT * FROM corrections WHERE session_uuid = %s ORDER BY corrected_at, event_id", (session_uuid,)
        )
        return await cursor.fetchall()
