"""Making one session unreadable for good, while its times and its bill stay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.privacy.certificates import Certificate
from masking.privacy.keyring import Keyring
from masking.storage.database import Connection, may_take_long
from masking.storage.routes import identity_hash


class Chosen(NamedTuple):
    """Which sessions: those that all of this is true of. At least one is given.

    Attributes:
        session_uuids: by their ids.
        party: a number, E.164, that is or was last a party of theirs.
        settled_before: an age, since their bill was closed.
        unfinished: those whose keys are destroyed while Temporal may still have copies; alone.
    """

    session_uuids: Sequence[str] | None = None
    party: str | None = None
    settled_before: timedelta | None = None
    unfinished: bool = False


async def find(connection: Connection, keyring: Keyring, chosen: Chosen) -> list[str]:
    """Their ids, the oldest first. Ids that were asked for and do not exist are among them."""
    if chosen.session_uuids is not None:
        return list(dict.fromkeys(chosen.session_uuids))
    await may_take_long(connection)
    if chosen.unfinished:
        begun = await connection.execute(
            "SELECT session_uuid FROM erasures WHERE certificate IS NULL ORDER BY erased_at, session_uuid"
        )
        return [str(row[0]) for row in await begun.fetchall()]
    party = identity_hash(keyring, "number", chosen.party) if chosen.party is not None else None
    rows = await connection.execute(
        "SELECT session_uuid FROM sessions WHERE status <> 'erased'"
        " AND (%(party)s::bytea IS NULL OR first_party_hash = %(party)s OR second_party_hash = %(party)s)"
        " AND (%(age)s::interval IS NULL OR settled_at < now() - %(age)s::interval) ORDER BY created_at, session_uuid",
        {"party": party, "age": chosen.settled_before},
    )
    return [str(row[0]) for row in await rows.fetchall()]


async def alone(connection: Connection) -> bool:
    """Whether this transaction is the only one, until its end, that erases what was kept long enough."""
    row = await (
        await connection.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('masking retention', 0))")
    ).fetchone()
    return row == (True,)


async def overdue(connection: Connection, keep_for: timedelta, limit: int) -> list[str]:
    """Sessions to erase: the longest settled that have been kept for so long, then those whose erasure was begun.

    Without those that `erase` would refuse.
    """
    rows = await connection.execute(
        "(SELECT session_uuid FROM sessions s WHERE settled_at < now() - %(age)s AND status <> 'erased'"
        "  AND NOT EXISTS (SELECT FROM legal_holds h WHERE h.session_uuid = s.session_uuid)"
        "  AND NOT EXISTS (SELECT FROM routes r WHERE r.session_uuid = s.session_uuid AND held_until > now())"
        "  ORDER BY settled_at LIMIT %(limit)s)"
        " UNION ALL"
        " (SELECT session_uuid FROM erasures WHERE certificate IS NULL ORDER BY erased_at LIMIT %(limit)s)"
        " LIMIT %(limit)s",
        {"age": keep_for, "limit": limit},
    )
    return [str(row[0]) for row in await rows.fetchall()]


class _State(NamedTuple):
    session_uuid: str
    account_id: str
    phase: str
    status: str
    settled_at: datetime | None
    held_until: datetime | None
    hold: str | None
    erased_at: datetime | None
    certificate: Certificate | None
    answers_under: str | None


# A row for each id, in no order.
_STATES = (
    "SELECT s.session_uuid, s.account_id, s.phase, s.status, s.settled_at,"
    " (SELECT max(held_until) FROM routes r WHERE r.session_uuid = s.session_uuid AND held_until > now())"
    " AS held_until,"
    " h.reason AS hold, e.erased_at, e.certificate, s.answers_under"
    " FROM sessions s LEFT JOIN legal_holds h USING (session_uuid) LEFT JOIN erasures e USING (session_uuid)"
    " WHERE s.session_uuid = ANY(%s)"
)


async def _states(connection: Connection, session_uuids: Sequence[str]) -> dict[str, _State]:
    async with connection.cursor(row_factory=class_row(_State)) as cursor:
        await cursor.execute(_STATES, (list(session_uuids),))
        return {state.session_uuid: state for state in await cursor.fetchall()}


def _why_not(state: _State | None) -> str | None:
    """Why a session cannot be erased now; None where it can, or was."""
    if state is None:
        return "there is no such session"
    if state.erased_at is not None:
        return None
    if state.hold is not None:
        return f"it is under a legal hold: {state.hold}"
    if state.settled_at is None:
        return "it lives, or its bill is not closed yet: expire it, and wait for its bill"
    if state.held_until is not None:
        return f"its parties are still kept from reaching others by it, until {state.held_until:%Y-%m-%d %H:%M:%S} UTC"
    return None


async def reasons_against(connection: Connection, session_uuids: Sequence[str]) -> dict[str, str]:
    """Of sessions that `erase` would refuse now, why, in the order given."""
    states = await _states(connection, session_uuids)
    reasons = {session_uuid: _why_not(states.get(session_uuid)) for session_uuid in session_uuids}
    return {session_uuid: reason for session_uuid, reason in reasons.items() if reason is not None}


class Erased(NamedTuple):
    """A session whose key is gone. `certificate` is None until Temporal's copies are gone too.

    Attributes:
        answers_under: what other services may have written or read of it was under, see `StoredPayloadKey`.
    """

    session_uuid: str
    account_id: str
    erased_at: datetime
    certificate: Certificate | None
    answers_under: str | None


async def erase(connection: Connection, session_uuid: str) -> Erased | str:
    """Destroy a session's data key, and what was under it; or the reason why not.

    Safe to repeat, and to do twice at once.
    """
    # Events before their session, as whoever forwards them and keeps the late ones: so nobody waits in a circle.
    await connection.execute("SELECT FROM inbox WHERE session_uuid = %s ORDER BY id FOR UPDATE", (session_uuid,))
    # A statement sees what was there when it began: the one that looks begins once nobody else can change the answer.
    await connection.execute("SELECT FROM sessions WHERE session_uuid = %s FOR UPDATE", (session_uuid,))
    state = (await _states(connection, [session_uuid])).get(session_uuid)
    why_not = _why_not(state)
    if state is None or why_not is not None:
        return why_not or ""
    if state.erased_at is not None:
        return Erased(session_uuid, state.account_id, state.erased_at, state.certificate, state.answers_under)
    for statement in (
        # By this status no list and no read finds it any more.
        "UPDATE sessions SET status = 'erased', key_id = '', wrapped_key = '', sealed_terms = '',"
        " sealed_session = '', sealed_last_caller = NULL, first_party_hash = NULL, second_party_hash = NULL"
        " WHERE session_uuid = %s",
        # What no workflow had, nobody can be told of any more.
        "UPDATE inbox SET sealed_event = '', forwarded_at = coalesce(forwarded_at, now()) WHERE session_uuid = %s",
        "UPDATE callback_attempts SET sealed_answer = NULL WHERE callback_id IN"
        " (SELECT callback_id FROM callbacks WHERE session_uuid = %s)",
        "UPDATE callbacks SET sealed_callback = '', state = CASE WHEN state = 'pending' THEN 'dead' ELSE state END"
        " WHERE session_uuid = %s",
        # Without the key nobody can read the audio; workers remove it, here and at the carrier.
        "UPDATE recordings SET state = 'erased', sealed_source = '', due_at = now(), tries = 0 WHERE session_uuid = %s",
        "DELETE FROM session_keys WHERE session_uuid = %s",
        "DELETE FROM calls WHERE session_uuid = %s",
        "DELETE FROM routes WHERE session_uuid = %s",
        "DELETE FROM creates WHERE session_uuid = %s",
    ):
        await connection.execute(statement, (session_uuid,))
    made = await connection.execute(
        "INSERT INTO erasures (session_uuid) VALUES (%s) RETURNING erased_at", (session_uuid,)
    )
    row = await made.fetchone()
    assert row is not None and isinstance(row[0], datetime)  # noqa: S101, PT018 what was just inserted
    return Erased(session_uuid, state.account_id, row[0], None, state.answers_under)


async def certify(connection: Connection, session_uuid: str, certificate: Certificate) -> Certificate:
    """Keep the certificate of an erasure. Returns the one that is kept: the first, where two were at it."""
    kept = await connection.execute(
        "UPDATE erasures SET certificate = coalesce(certificate, %s::jsonb) WHERE session_uuid = %s"
        " RETURNING certificate",
        (json.dumps(certificate), session_uuid),
    )
    row = await kept.fetchone()
    return row[0] if row is not None and isinstance(row[0], dict) else certificate


async def hold(connection: Connection, session_uuid: str, reason: str) -> bool:
    """Keep a session from being erased. Whether there is one that could be."""
    # An erasure that is under way is waited for, and seen.
    await connection.execute("SELECT FROM sessions WHERE session_uuid = %s FOR KEY SHARE", (session_uuid,))
    done = await connection.execute(
        "INSERT INTO legal_holds (session_uuid, reason)"
        " SELECT session_uuid, %s FROM sessions WHERE session_uuid = %s AND status <> 'erased'"
        " ON CONFLICT (session_uuid) DO UPDATE SET reason = excluded.reason",
        (reason, session_uuid),
    )
    return done.rowcount > 0


async def release(connection: Connection, session_uuid: str) -> bool:
    """Let a session be erased again. Whether it was held."""
    done = await connection.execute("DELETE FROM legal_holds WHERE session_uuid = %s", (session_uuid,))
    return done.rowcount > 0


class LegalHold(NamedTuple):
    """A session that must not be erased."""

    session_uuid: str
    reason: str
    held_at: datetime


async def holds(connection: Connection, limit: int) -> list[LegalHold]:
    """The legal holds, the oldest first."""
    async with connection.cursor(row_factory=class_row(LegalHold)) as cursor:
        await cursor.execute("SELECT * FROM legal_holds ORDER BY held_at, session_uuid LIMIT %s", (limit,))
        return await cursor.fetchall()
