"""Taking a session over from a workflow that was lost: what of it is in PostgreSQL, which is all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from psycopg.rows import class_row

from masking.domain.resuming import lacking, resumed
from masking.domain.session import Phase, Session
from masking.privacy.keyring import Keyring
from masking.storage.database import Connection
from masking.storage.inbox import forward_again, put_in
from masking.storage.routes import hold_just_its_own
from masking.storage.sessions import BILL_CLOSED, BILL_OPEN, SealedSession, record_session

UNTIL_STARTED = timedelta(seconds=5)
"""For so long events that are to be told again wait for the new run, at most; else the forwarder meets none."""

Standing = Literal["open", "settled", "erased", "unknown"]


async def unsettled(connection: Connection, account: str | None = None) -> list[str]:
    """The sessions whose bill is open, the oldest first.

    Args:
        account: only those that use the numbers of this account or subaccount.
    """
    rows = await connection.execute(
        f"SELECT session_uuid FROM sessions s WHERE {BILL_OPEN}"  # noqa: S608 fixed fragments only
        " AND (%(account)s::text IS NULL OR coalesce(subaccount_id, account_id) = %(account)s)"
        " ORDER BY created_at, session_uuid",
        {"account": account},
    )
    return [str(row[0]) for row in await rows.fetchall()]


async def standing(connection: Connection, session_uuid: str) -> Standing:
    """How it stands with a session: of an open one the bill is not closed."""
    found = await connection.execute(
        f"SELECT CASE WHEN status = 'erased' THEN 'erased' WHEN {BILL_CLOSED} THEN 'settled' ELSE 'open' END"  # noqa: S608
        " FROM sessions s WHERE session_uuid = %s",
        (session_uuid,),
    )
    row = await found.fetchone()
    match row:
        case ("open" | "settled" | "erased" as known,):
            return known
        case _:
            return "unknown"


@asynccontextmanager
async def alone(connection: Connection, session_uuid: str) -> AsyncIterator[bool]:
    """Whether this connection is the only one, until the end, that resumes the session. One that breaks lets it go."""
    name = {"name": f"masking resume {session_uuid}"}
    found = await connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0))", name)
    if await found.fetchone() != (True,):
        yield False
        return
    try:
        yield True
    finally:
        await connection.execute("SELECT pg_advisory_unlock(hashtextextended(%(name)s, 0))", name)


class TakenOver(NamedTuple):
    """A session that goes on from here.

    Attributes:
        session: its state, which is written down.
        again: how many events it has yet to hear, or to hear again.
    """

    session: Session
    again: int


class _Row(NamedTuple):
    session_uuid: str
    key_id: str
    wrapped_key: bytes
    sealed_session: bytes
    now: datetime


async def take_over(connection: Connection, keyring: Keyring, session_uuid: str) -> TakenOver | None:
    """Let a session go on from what is written down; whatever a lost run still writes of it is refused from then on.

    What was put in for it and is not in its state is forwarded again. None where its bill is closed by now.

    Raises:
        Unreadable: its key is not at hand.
    """
    async with connection.cursor(row_factory=class_row(_Row)) as cursor:
        # A write of the lost run that has the row comes before this, and is in what is read here.
        await cursor.execute(
            "SELECT session_uuid, key_id, wrapped_key, sealed_session, now() FROM sessions"
            " WHERE session_uuid = %s FOR UPDATE",
            (session_uuid,),
        )
        row = await cursor.fetchone()
    if row is None or await standing(connection, session_uuid) != "open":
        return None
    stored = SealedSession(*row[:4]).opened(keyring)
    session = resumed(stored, row.now)
    ids = await _lacking(connection, keyring, stored)
    await record_session(connection, keyring, session, ())
    if session.phase is Phase.ACTIVE and row.now < session.expires_at:
        await hold_just_its_own(connection, keyring, session)
    again = await forward_again(connection, session_uuid, ids, UNTIL_STARTED)
    return TakenOver(session, again)


async def _lacking(connection: Connection, keyring: Keyring, session: Session) -> list[int]:
    """What was put in for a session and would change this state of it."""
    events = await put_in(connection, keyring, session.session_uuid)
    lacks = {event.event_id for event in lacking(session, (each.event for each in events))}
    return [each.id for each in events if each.event.event_id in lacks]


async def tell_lacking(connection: Connection, keyring: Keyring, session: Session) -> int:
    """Have a session that runs told again what this state of it lacks, forwarded or not. How much that is."""
    ids = await _lacking(connection, keyring, session)
    return await forward_again(connection, session.session_uuid, ids, timedelta()) if ids else 0


async def tell_now(connection: Connection, session_uuid: str) -> None:
    """Let a session's events be forwarded at once: its workflow runs."""
    await forward_again(connection, session_uuid, (), timedelta())
