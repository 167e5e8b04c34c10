"""Sessions: recording each step, settling, reading back. Opening one is in `opening.py`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.bill.charges import Bill, bill
from masking.domain.bill.ledger import entries_of
from masking.domain.callbacks import Callback
from masking.domain.events import Side
from masking.domain.interaction import Interaction, resource_ids
from masking.domain.session import Session
from masking.domain.terms import Terms
from masking.errors import SessionGone
from masking.privacy.keyring import Keyring
from masking.privacy.session_cipher import RecentCiphers, SessionCipher, new_wrapped_key, unwrapped, wrapped_key
from masking.storage import ledger
from masking.storage.accounts import Principal
from masking.storage.callback_queue import Queued, Queueing
from masking.storage.database import Connection
from masking.storage.routes import identity_hash, move_leases

BILL_CLOSED = "(s.settled_at IS NOT NULL OR EXISTS (SELECT FROM settlements t WHERE t.session_uuid = s.session_uuid))"
"""Of a session `s`."""
BILL_OPEN = f"NOT {BILL_CLOSED} AND s.status <> 'erased'"
"""Of a session `s` that is not erased: these are in an index of their own."""


def _party_hashes(terms: Terms, keyring: Keyring) -> tuple[bytes | None, bytes | None]:
    """What lists find the parties by; None for a party that is not known."""
    first, second = (terms.parties.get(side) for side in (Side.FIRST, Side.SECOND))
    return (
        identity_hash(keyring, "number", first) if first else None,
        identity_hash(keyring, "number", second) if second else None,
    )


def _rests_until(session: Session) -> datetime | None:
    cooloff = session.terms.virtual_number_cooloff_period
    return session.expires_at + timedelta(seconds=cooloff) if cooloff else None


async def insert_session(
    connection: Connection,
    keyring: Keyring,
    session: Session,
    cipher: SessionCipher | None = None,
    answers_under: str | None = None,
) -> SessionCipher:
    """Write the row of a session that has just got its number.

    Args:
        cipher: of its data key, if it has one already; a fresh one is made when None.
        answers_under: see `StoredPayloadKey`.

    Returns:
        Its cipher.
    """
    key_id, wrapped = new_wrapped_key(keyring) if cipher is None else wrapped_key(keyring, cipher)
    cipher = cipher or unwrapped(keyring, session.session_uuid, key_id, wrapped)
    terms = session.terms
    await connection.execute(
        "WITH opened AS (DELETE FROM session_keys WHERE session_uuid = %s)"
        " INSERT INTO sessions (session_uuid, account_id, subaccount_id, virtual_number, phase, status, created_at,"
        " modified_at, expires_at, rests_until, duration, first_party_hash, second_party_hash, key_id, wrapped_key,"
        " sealed_terms, sealed_session, version, revision, answers_under)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            session.session_uuid,
            session.session_uuid,
            session.account_id,
            session.subaccount_id,
            session.virtual_number,
            session.phase,
            session.status,
            session.created_at,
            session.modified_at,
            session.expires_at,
            _rests_until(session),
            session.duration,
            *_party_hashes(terms, keyring),
            key_id,
            wrapped,
            cipher.seal(terms),
            cipher.seal(session),
            session.version,
            session.revision,
            answers_under,
        ),
    )
    return cipher


class Recorded(NamedTuple):
    """What came of recording a session: whether it still holds its routes, and what it has to tell."""

    holds_routes: bool
    queued: Queued | None


async def record_session(
    connection: Connection,
    keyring: Keyring,
    session: Session,
    callbacks: Sequence[Callback],
    touched: Collection[str] | None = None,
    *,
    lease: timedelta | None = None,
    ciphers: RecentCiphers | None = None,
) -> Recorded:
    """Write a session's newest state, move its leases, and queue the callbacks that follow from it.

    Meant for a pipelined transaction: the answer to all of it is read once, at the end. Safe to
    repeat and to come late: an older version than the stored one changes nothing.

    A run that was lost may still have a write on its way when its session is resumed: that one changes nothing either.
    Whoever writes a newer version than the stored one locks the row, so that resuming comes before or after it.

    Args:
        touched: the calls of which something is new, by the carrier's ids; all when None.
        lease: for how long whoever records takes the callbacks in hand, if it may.
        ciphers: where to look for the session's cipher first.

    Raises:
        Superseded: the session was resumed since.
        SessionGone: it has no row; where callbacks are to be queued, their foreign key may tell that first.
    """
    cipher = ciphers.get(session.session_uuid) if ciphers is not None else None
    if cipher is None:
        cipher = await session_cipher(connection, keyring, session.session_uuid)
    if cipher is None:
        raise SessionGone("the database has lost this session")
    if ciphers is not None:
        ciphers.keep(session.session_uuid, cipher)
    charge = bill(session).calls
    calls = session.interactions if touched is None else touched
    heard_of = [session.interactions[call] for call in calls if call in session.interactions]
    await connection.execute(
        "UPDATE sessions SET phase = %s, status = %s, modified_at = %s, expires_at = %s, rests_until = %s,"
        " duration = %s, first_party_hash = %s, second_party_hash = %s, sealed_terms = %s, sealed_session = %s,"
        " version = %s, total_call_count = %s,"
        " total_call_amount = %s, total_call_billed_duration = %s, settled_at = %s, resumptions = %s"
        " WHERE session_uuid = %s AND version < %s AND resumptions <= %s",
        (
            session.phase,
            session.status,
            session.modified_at,
            session.expires_at,
            _rests_until(session),
            session.duration,
            *_party_hashes(session.terms, keyring),
            cipher.seal(session.terms),
            cipher.seal(session),
            session.version,
            charge.call_count,
            charge.amount,
            charge.billed_duration,
            session.settled_at,
            len(session.resumed),
            session.session_uuid,
            session.version,
            len(session.resumed),
        ),
    )
    queueing = Queueing(session, cipher, callbacks, lease)
    await queueing.begin(connection)
    await _note_resources(connection, session, heard_of)
    return Recorded(await move_leases(connection, keyring, session), await queueing.queued())


async def _note_resources(connection: Connection, session: Session, interactions: Iterable[Interaction]) -> None:
    """Let each leg and recording be found by its id."""
    found = [
        (resource_id, kind, interaction.call.call_uuid)
        for interaction in interactions
        for kind, resource_id in resource_ids(interaction)
    ]
    if found:
        ids, kinds, calls = zip(*found, strict=True)
        # Where the carrier names no call, its record may say that something belongs to another than was thought.
        known = "NOTHING" if session.carrier == "voice" else "UPDATE SET call_uuid = excluded.call_uuid"
        await connection.execute(
            "INSERT INTO resources (resource_id, kind, session_uuid, call_uuid)"  # noqa: S608 fixed fragments only
            " SELECT f.resource_id, f.kind, %s, f.call_uuid"
            " FROM unnest(%s::text[], %s::text[], %s::text[]) AS f (resource_id, kind, call_uuid)"
            f" ON CONFLICT (resource_id) DO {known}",
            (session.session_uuid, list(ids), list(kinds), list(calls)),
        )


async def settle_session(
    connection: Connection, keyring: Keyring, session: Session, ciphers: RecentCiphers | None = None
) -> Bill:
    """Write the final state, the final bill and its entries in the ledger, once: the first settlement stands.

    Args:
        ciphers: where to look for the session's cipher first.

    Returns:
        The bill that stands.

    Raises:
        Superseded, SessionGone: as `record_session` does.
    """
    await record_session(connection, keyring, session, (), ciphers=ciphers)
    final = bill(session)
    await ledger.settle(connection, final, entries_of(session))
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


async def read_session(connection: Connection, keyring: Keyring, owner: Principal, session_uuid: str) -> Session | None:
    """A session as it was last recorded; None if its owner has no such session.

    A main account owns its subaccounts' sessions too; a subaccount only its own.
    """
    async with connection.cursor(row_factory=class_row(SealedSession)) as cursor:
        await cursor.execute(
            "SELECT session_uuid, key_id, wrapped_key, sealed_session FROM sessions WHERE session_uuid = %s"
            " AND account_id = %s AND (%s::text IS NULL OR subaccount_id = %s) AND status <> 'erased'",
            (session_uuid, owner.account_id, owner.subaccount_id, owner.subaccount_id),
        )
        row = await cursor.fetchone()
    return None if row is None else row.opened(keyring)


class FoundResource(NamedTuple):
    """Where a leg or a recording belongs."""

    session_uuid: str
    call_uuid: str


async def find_resource(connection: Connection, kind: str, resource_id: str) -> FoundResource | None:
    """The session and call of a `leg` or a `recording`; None if there is no such resource."""
    async with connection.cursor(row_factory=class_row(FoundResource)) as cursor:
        await cursor.execute(
            "SELECT session_uuid, call_uuid FROM resources WHERE resource_id = %s AND kind = %s", (resource_id, kind)
        )
        return await cursor.fetchone()


class KnownSession(NamedTuple):
    """A session by which a carrier's callback is read. `now` is the database's clock."""

    terms: Terms
    cipher: SessionCipher
    now: datetime


class _KnownRow(NamedTuple):
    key_id: str
    wrapped_key: bytes
    sealed_terms: bytes
    now: datetime


async def find_session(connection: Connection, keyring: Keyring, session_uuid: str) -> KnownSession | None:
    """The terms of a session; None if it is not stored, or was erased."""
    async with connection.cursor(row_factory=class_row(_KnownRow)) as cursor:
        await cursor.execute(
            "SELECT key_id, wrapped_key, sealed_terms, now() FROM sessions"
            " WHERE session_uuid = %s AND status <> 'erased'",
            (session_uuid,),
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    cipher = unwrapped(keyring, session_uuid, row.key_id, row.wrapped_key)
    return KnownSession(cipher.open(Terms, row.sealed_terms), cipher, row.now)


class _WrappedKey(NamedTuple):
    key_id: str
    wrapped_key: bytes


async def session_cipher(connection: Connection, keyring: Keyring, session_uuid: str) -> SessionCipher | None:
    """The cipher of a stored session; None if there is no such session."""
    async with connection.cursor(row_factory=class_row(_WrappedKey)) as cursor:
        await cursor.execute("SELECT key_id, wrapped_key FROM sessions WHERE session_uuid = %s", (session_uuid,))
        row = await cursor.fetchone()
    return None if row is None else unwrapped(keyring, session_uuid, row.key_id, row.wrapped_key)
