"""Sessions and their routes: opening, recording each step, settling, reading back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.callbacks import Callback
from masking.domain.events import Side
from masking.domain.lifecycle import opened
from masking.domain.numbers import PoolNumber, Use, candidates
from masking.domain.session import Bill, Session, bill
from masking.domain.terms import Terms
from masking.privacy.keyring import Keyring
from masking.privacy.session_cipher import SessionCipher, new_wrapped_key, unwrapped
from masking.storage.database import Connection

CALLER = "caller"
"""The kind under which callers' numbers are hashed."""


class Lease(NamedTuple):
    """What a session wants of a number: one caller's route."""

    caller_hash: bytes
    side: Side


def leases_of(terms: Terms, keyring: Keyring) -> tuple[Lease, ...]:
    """The routes a session needs, in the order in which everybody takes them, so that none deadlock."""
    parties = ((Side.FIRST, terms.first_party), (Side.SECOND, terms.second_party))
    return tuple(sorted(Lease(keyring.lookup_hash(CALLER, number), side) for side, number in parties))


async def open_session(connection: Connection, keyring: Keyring, session: Session, country: str | None) -> str | None:
    """Choose a number, take its routes, write the session's row; all or nothing.

    Safe to repeat: a session that is open already keeps its number.

    Args:
        country: ISO country the number must be of; None for any.

    Returns:
        The virtual number (E.164), or None when no number of the account is free for both parties.
    """
    existing = await (
        await connection.execute("SELECT virtual_number FROM sessions WHERE session_uuid = %s", (session.session_uuid,))
    ).fetchone()
    if existing is not None:
        return str(existing[0])
    leases = leases_of(session.terms, keyring)
    for candidate in await _candidates(connection, session.account_id, leases, country):
        if await _take_routes(connection, session, candidate.number, leases):
            await _insert(connection, keyring, opened(session, candidate.number).session)
            return candidate.number
    return None


async def _candidates(
    connection: Connection, account_id: str, leases: Sequence[Lease], country: str | None
) -> list[PoolNumber]:
    async with connection.cursor(row_factory=class_row(PoolNumber)) as cursor:
        await cursor.execute(
            "SELECT number, country, rank FROM numbers WHERE account_id = %s AND state = 'available'", (account_id,)
        )
        pool = await cursor.fetchall()
    async with connection.cursor(row_factory=class_row(Use)) as cursor:
        await cursor.execute(
            "SELECT virtual_number AS number, held_until > now() AS held, held_until AS until"
            " FROM routes WHERE caller_hash = ANY(%s)",
            ([lease.caller_hash for lease in leases],),
        )
        uses = await cursor.fetchall()
    resting = await (
        await connection.execute(
            "SELECT DISTINCT virtual_number FROM sessions WHERE rests_until > now() AND expires_at <= now()"
        )
    ).fetchall()
    return candidates(pool, uses, country, frozenset(str(row[0]) for row in resting))


async def _take_routes(connection: Connection, session: Session, number: str, leases: Iterable[Lease]) -> bool:
    """Take both routes, or neither. A row is overwritten only once its hold has passed."""
    held_until = _held_until(session)
    await connection.execute("SAVEPOINT take")
    for lease in leases:
        taken = await connection.execute(
            "INSERT INTO routes (virtual_number, caller_hash, session_uuid, side, expires_at, held_until)"
            " VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (virtual_number, caller_hash) DO UPDATE SET session_uuid = excluded.session_uuid,"
            " side = excluded.side, expires_at = excluded.expires_at, held_until = excluded.held_until"
            " WHERE routes.held_until <= now()",
            (number, lease.caller_hash, session.session_uuid, lease.side, session.expires_at, held_until),
        )
        if taken.rowcount == 0:
            await connection.execute("ROLLBACK TO SAVEPOINT take")
            return False
    await connection.execute("RELEASE SAVEPOINT take")
    return True


def _held_until(session: Session) -> datetime:
    """The end of the session's grace: until then nobody else gets its routes."""
    cooloff = session.terms.virtual_number_cooloff_period
    return session.expires_at + timedelta(seconds=max(session.pair_grace, cooloff))


def _rests_until(session: Session) -> datetime | None:
    cooloff = session.terms.virtual_number_cooloff_period
    return session.expires_at + timedelta(seconds=cooloff) if cooloff else None


async def _insert(connection: Connection, keyring: Keyring, session: Session) -> None:
    key_id, wrapped = new_wrapped_key(keyring)
    cipher = unwrapped(keyring, session.session_uuid, key_id, wrapped)
    terms = session.terms
    await connection.execute(
        "INSERT INTO sessions (session_uuid, account_id, virtual_number, phase, status, created_at, modified_at,"
        " expires_at, rests_until, duration, first_party_hash, second_party_hash, key_id, wrapped_key,"
        " sealed_terms, sealed_session, version)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            session.session_uuid,
            session.account_id,
            session.virtual_number,
            session.phase,
            session.status,
            session.created_at,
            session.modified_at,
            session.expires_at,
            _rests_until(session),
            session.duration,
            keyring.lookup_hash(CALLER, terms.first_party),
            keyring.lookup_hash(CALLER, terms.second_party),
            key_id,
            wrapped,
            cipher.seal(terms),
            cipher.seal(session),
            session.version,
        ),
    )


async def record_session(
    connection: Connection, keyring: Keyring, session: Session, callbacks: Iterable[Callback]
) -> bool:
    """Write a session's newest state, move its leases, and queue the callbacks that follow from it.

    Safe to repeat and to come late: an older version than the stored one changes nothing.

    Returns:
        Whether the session still holds its routes.
    """
    cipher = await session_cipher(connection, keyring, session.session_uuid)
    if cipher is None:
        return False
    charge = bill(session).calls
    await connection.execute(
        "UPDATE sessions SET phase = %s, status = %s, modified_at = %s, expires_at = %s, rests_until = %s,"
        " duration = %s, sealed_terms = %s, sealed_session = %s, version = %s, total_call_count = %s,"
        " total_call_amount = %s, total_call_billed_duration = %s, settled_at = %s"
        " WHERE session_uuid = %s AND version < %s",
        (
            session.phase,
            session.status,
            session.modified_at,
            session.expires_at,
            _rests_until(session),
            session.duration,
            cipher.seal(session.terms),
            cipher.seal(session),
            session.version,
            charge.call_count,
            charge.amount,
            charge.billed_duration,
            session.settled_at,
            session.session_uuid,
            session.version,
        ),
    )
    for callback in callbacks:
        await connection.execute(
            "INSERT INTO callbacks (callback_id, session_uuid, kind, sequence, sealed_callback)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (callback_id) DO NOTHING",
            (
                callback.callback_id,
                session.session_uuid,
                callback.kind,
                callback.sequence,
                cipher.seal(callback),
            ),
        )
    return await _move_leases(connection, session)


async def _move_leases(connection: Connection, session: Session) -> bool:
    """Let the routes end with the session, yet never before a live leg can have ended."""
    moved = await connection.execute(
        "UPDATE routes SET expires_at = s.expires_at, held_until = GREATEST(%(held_until)s, s.expires_at,"
        "  (SELECT max(must_end_by) FROM calls WHERE session_uuid = s.session_uuid AND ended_at IS NULL))"
        " FROM sessions s WHERE s.session_uuid = %(session_uuid)s AND s.version = %(version)s"
        " AND routes.session_uuid = s.session_uuid",
        {
            "held_until": _held_until(session),
            "session_uuid": session.session_uuid,
            "version": session.version,
        },
    )
    if moved.rowcount:
        return moved.rowcount == len(Side)
    overtaken = await (
        await connection.execute("SELECT version FROM sessions WHERE session_uuid = %s", (session.session_uuid,))
    ).fetchone()
    return overtaken is not None and overtaken[0] != session.version


async def settle_session(connection: Connection, keyring: Keyring, session: Session) -> Bill:
    """Write the final state and the final bill, once: the first settlement stands. Returns the bill that stands."""
    await record_session(connection, keyring, session, ())
    final = bill(session)
    await connection.execute(
        "INSERT INTO settlements (session_uuid, account_id, currency, total_call_count, total_call_amount,"
        " total_call_billed_duration, session_amount, total_session_amount, duration, last_interaction_time,"
        " settled_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (session_uuid) DO NOTHING",
        (
            final.session_uuid,
            final.account_id,
            final.currency,
            final.calls.call_count,
            final.calls.amount,
            final.calls.billed_duration,
            final.session_amount,
            final.total_amount,
            final.duration,
            final.last_interaction_time,
            final.settled_at,
        ),
    )
    return final


class SealedSession(NamedTuple):
    """What it takes to read a session."""

    session_uuid: str
    key_id: str
    wrapped_key: bytes
    sealed_session: bytes

    def opened(self, keyring: Keyring) -> Session:
        """The session in the clear."""
        return unwrapped(keyring, self.session_uuid, self.key_id, self.wrapped_key).open(Session, self.sealed_session)


async def read_session(connection: Connection, keyring: Keyring, account_id: str, session_uuid: str) -> Session | None:
    """An account's session as it was last recorded; None if the account has no such session."""
    async with connection.cursor(row_factory=class_row(SealedSession)) as cursor:
        await cursor.execute(
            "SELECT session_uuid, key_id, wrapped_key, sealed_session FROM sessions"
            " WHERE session_uuid = %s AND account_id = %s",
            (session_uuid, account_id),
        )
        row = await cursor.fetchone()
    return None if row is None else row.opened(keyring)


class _WrappedKey(NamedTuple):
    key_id: str
    wrapped_key: bytes


async def session_cipher(connection: Connection, keyring: Keyring, session_uuid: str) -> SessionCipher | None:
    """The cipher of a stored session; None if there is no such session."""
    async with connection.cursor(row_factory=class_row(_WrappedKey)) as cursor:
        await cursor.execute("SELECT key_id, wrapped_key FROM sessions WHERE session_uuid = %s", (session_uuid,))
        row = await cursor.fetchone()
    return None if row is None else unwrapped(keyring, session_uuid, row.key_id, row.wrapped_key)
