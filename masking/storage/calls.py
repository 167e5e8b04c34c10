"""Calls as the gateway sees them: finding the route, noting the decision, telling the call again later."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.events import Call, Side
from masking.domain.routing import Decision, Route
from masking.domain.terms import Terms
from masking.privacy.keyring import Keyring
from masking.privacy.session_cipher import SessionCipher, unwrapped
from masking.storage.database import Connection
from masking.storage.routes import identity_hash


class FoundRoute(NamedTuple):
    """A route and what is needed to write about it. `now` is the database's clock."""

    route: Route
    cipher: SessionCipher
    now: datetime


class _RouteRow(NamedTuple):
    session_uuid: str
    account_id: str
    side: str
    virtual_number: str | None
    expires_at: datetime
    key_id: str
    wrapped_key: bytes
    sealed_terms: bytes
    busy: bool
    now: datetime


async def find_route(
    connection: Connection, keyring: Keyring, number: str, caller: str, call_uuid: str
) -> FoundRoute | None:
    """The lease, live or cooling, of `caller` on `number` (both E.164): one read by the routes' primary key.

    Locks the session until the transaction ends, so that two calls of one session are
    decided one after the other.

    Args:
        call_uuid: the call being decided, which does not count as a conversation in progress.
    """
    async with connection.cursor(row_factory=class_row(_RouteRow)) as cursor:
        await cursor.execute(
            "SELECT r.session_uuid, s.account_id, r.side, n.number AS virtual_number,"
            " LEAST(r.expires_at, s.expires_at) AS expires_at, s.key_id, s.wrapped_key, s.sealed_terms,"
            " EXISTS (SELECT FROM calls c WHERE c.session_uuid = r.session_uuid AND c.ended_at IS NULL"
            "         AND c.must_end_by > now() AND c.call_uuid <> %(call_uuid)s) AS busy, now()"
            " FROM routes r JOIN sessions s USING (session_uuid) LEFT JOIN numbers n ON n.number = r.virtual_number"
            " WHERE r.virtual_number = %(number)s AND r.caller_hash = %(hash)s AND r.held_until > now()"
            " FOR NO KEY UPDATE OF s",
            {"number": number, "hash": identity_hash(keyring, "number", caller), "call_uuid": call_uuid},
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    cipher = unwrapped(keyring, row.session_uuid, row.key_id, row.wrapped_key)
    terms = cipher.open(Terms, row.sealed_terms)
    side = Side(row.side)
    numbers = {Side.FIRST: terms.first_party, Side.SECOND: terms.second_party}
    route = Route(
        session_uuid=row.session_uuid,
        account_id=row.account_id,
        caller=side,
        caller_number=numbers[side],
        callee_number=numbers[side.other],
        virtual_number=row.virtual_number,
        expires_at=row.expires_at,
        busy=row.busy,
        record=terms.record,
        record_file_format=terms.record_file_format,
        ring_timeout=terms.ring_timeout,
        call_time_limit=terms.call_time_limit,
    )
    return FoundRoute(route, cipher, row.now)


async def note_call(
    connection: Connection, found: FoundRoute, call: Call, decision: Decision, longest: timedelta
) -> None:
    """Note a decided call, and hold its session's routes until its last possible second.

    Args:
        longest: how long the call can last at most.
    """
    must_end_by = found.now + longest
    await connection.execute(
        "INSERT INTO calls (call_uuid, session_uuid, sealed_call, decision, reason, started_at, must_end_by)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (call_uuid) DO NOTHING",
        (
            call.call_uuid,
            found.route.session_uuid,
            found.cipher.seal(call),
            type(decision).__name__,
            decision.reason,
            found.now,
            must_end_by,
        ),
    )
    await connection.execute(
        "UPDATE routes SET held_until = GREATEST(held_until, %s) WHERE session_uuid = %s",
        (must_end_by, found.route.session_uuid),
    )


class KnownCall(NamedTuple):
    """A call that was decided earlier."""

    session_uuid: str
    call: Call
    cipher: SessionCipher
    now: datetime


class _CallRow(NamedTuple):
    session_uuid: str
    sealed_call: bytes
    key_id: str
    wrapped_key: bytes
    now: datetime


async def find_call(connection: Connection, keyring: Keyring, call_uuid: str) -> KnownCall | None:
    """The session's call with this id; None for a call that belonged to no session."""
    async with connection.cursor(row_factory=class_row(_CallRow)) as cursor:
        await cursor.execute(
            "SELECT c.session_uuid, c.sealed_call, s.key_id, s.wrapped_key, now()"
            " FROM calls c JOIN sessions s USING (session_uuid) WHERE c.call_uuid = %s",
            (call_uuid,),
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    cipher = unwrapped(keyring, row.session_uuid, row.key_id, row.wrapped_key)
    return KnownCall(row.session_uuid, cipher.open(Call, row.sealed_call), cipher, row.now)


async def note_call_ended(connection: Connection, call_uuid: str) -> None:
    """The caller's leg hung up, so the session may have its next conversation."""
    await connection.execute(
        "UPDATE calls SET ended_at = now() WHERE call_uuid = %s AND ended_at IS NULL", (call_uuid,)
    )
