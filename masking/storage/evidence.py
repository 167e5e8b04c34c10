"""Everything that PostgreSQL keeps of one session, as it is stored: what is sealed stays sealed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.rows import class_row, dict_row

from masking.storage.database import Connection

Row = dict[str, Any]


class StoredEvidence(NamedTuple):
    """The rows of one session at one moment. `tries` are of callbacks."""

    session: Row
    calls: list[Row]
    late: list[Row]
    callbacks: list[Row]
    tries: list[Row]


async def read_evidence(connection: Connection, session_uuid: str) -> StoredEvidence | None:
    """All rows of a session, as of one moment; None if there is no such session. For a transaction of its own."""
    await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    sessions = await _rows(
        connection,
        "SELECT account_id, subaccount_id, virtual_number, phase, status, created_at, modified_at, expires_at,"
        " duration, version, revision, total_call_count, total_call_amount, total_call_billed_duration, settled_at,"
        " resumptions, key_id, wrapped_key, sealed_terms, sealed_session FROM sessions WHERE session_uuid = %s",
        session_uuid,
    )
    if not sessions:
        return None
    return StoredEvidence(
        session=sessions[0],
        calls=await _rows(
            connection,
            "SELECT call_uuid, decision, reason, started_at, must_end_by, ended_at, sealed_call FROM calls"
            " WHERE session_uuid = %s ORDER BY started_at, call_uuid",
            session_uuid,
        ),
        late=await _rows(
            connection,
            "SELECT event_id, signal, received_at, forwarded_at, sealed_event FROM inbox"
            " WHERE session_uuid = %s AND late ORDER BY forwarded_at, id",
            session_uuid,
        ),
        callbacks=await _rows(
            connection,
            "SELECT callback_id, kind, sequence, state, attempts, last_outcome, created_at, delivered_at,"
            " sealed_callback FROM callbacks WHERE session_uuid = %s ORDER BY ordinal",
            session_uuid,
        ),
        tries=await _rows(
            connection,
            "SELECT callback_id, a.began_at, a.duration_ms, a.outcome, a.status, a.sealed_answer"
            " FROM callback_attempts a JOIN callbacks USING (callback_id) WHERE session_uuid = %s"
            " ORDER BY callback_id, a.began_at",
            session_uuid,
        ),
    )


class StoredKey(NamedTuple):
    """A session's data key, wrapped; `erased_at` is when it was destroyed (UTC), if it was."""

    session_uuid: str
    key_id: str
    wrapped_key: bytes
    erased_at: datetime | None


async def read_keys(connection: Connection, session_uuids: Sequence[str]) -> dict[str, StoredKey]:
    """The data keys of those of these sessions that there are."""
    async with connection.cursor(row_factory=class_row(StoredKey)) as cursor:
        await cursor.execute(
            "SELECT session_uuid, key_id, wrapped_key, erased_at FROM sessions LEFT JOIN erasures USING (session_uuid)"
            " WHERE session_uuid = ANY(%s)",
            (list(session_uuids),),
        )
        return {row.session_uuid: row for row in await cursor.fetchall()}


async def settlement_row(connection: Connection, session_uuid: str) -> Row | None:
    """The session's closed bill."""
    found = await _rows(
        connection,
        "SELECT account_id, currency, total_call_count, total_call_amount, total_call_billed_duration, session_amount,"
        " total_session_amount, duration, last_interaction_time, settled_at FROM settlements WHERE session_uuid = %s",
        session_uuid,
    )
    return found[0] if found else None


async def _rows(connection: Connection, query: str, session_uuid: str) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query.encode(), (session_uuid,))
        return await cursor.fetchall()
