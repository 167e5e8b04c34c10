"""Calls as the gateway knows them: noting what was decided, telling a call again later, noting its end."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.decisions import ring_id
from masking.domain.events import Call
from masking.domain.interaction import longest_call
from masking.domain.routing import Connect, Decision, Reason
from masking.domain.terms import Terms
from masking.privacy.keyring import Keyring
from masking.privacy.session_cipher import SessionCipher, unwrapped
from masking.storage.call_routes import DECIDE, OVER_AT, FoundRoute, LastCaller
from masking.storage.database import Connection

PLACED = "Placed"
"""What stands for a decision while a call that we made has not been answered."""


async def note_call(connection: Connection, found: FoundRoute, call: Call, decision: Decision | None) -> None:
    """Note a call, and hold its session's routes until its last possible second.

    Args:
        decision: None for a call that we made and that was not answered yet.
    """
    route = found.route
    must_end_by = found.now + longest_call(route.terms)
    await connection.execute(
        "INSERT INTO calls (call_uuid, session_uuid, sealed_call, decision, reason, started_at, must_end_by)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (call_uuid) DO UPDATE SET"
        " sealed_call = excluded.sealed_call, decision = excluded.decision, reason = excluded.reason"
        " WHERE calls.decision = %s AND calls.ended_at IS NULL",
        (
            call.call_uuid,
            route.session_uuid,
            found.cipher.seal(call),
            PLACED if decision is None else type(decision).__name__,
            call.reason,
            found.now,
            must_end_by,
            PLACED,
        ),
    )
    await connection.execute(
        "UPDATE routes SET held_until = GREATEST(held_until, %s) WHERE session_uuid = %s",
        (must_end_by, route.session_uuid),
    )
    if route.terms.single_party and call.dialled and call.caller not in route.terms.parties:
        # Nobody can be called back who hides, and least of all whoever called before.
        last = found.cipher.seal(LastCaller(number=call.from_number)) if call.from_number else None
        await connection.execute(
            "UPDATE sessions SET sealed_last_caller = %s WHERE session_uuid = %s", (last, route.session_uuid)
        )


async def claim_first_call(connection: Connection, session_uuid: str, number: str) -> bool:
    """Whether the first party of a live session may be called; the carrier counts as asked from now on.

    It may be asked once only, and not after the session's end.

    Args:
        number: what the first party is to see, E.164. Whatever a workflow says, it is the session's, and of the pool.
    """
    claimed = await connection.execute(
        "UPDATE sessions SET first_call_asked_at = now()"
        " WHERE session_uuid = %s AND first_call_asked_at IS NULL AND expires_at > now() AND virtual_number = %s"
        " AND EXISTS (SELECT FROM numbers n WHERE n.number = virtual_number)",
        (session_uuid, number),
    )
    return claimed.rowcount == 1


async def unclaim_first_call(connection: Connection, session_uuid: str) -> None:
    """The carrier certainly did not call; it may be asked again."""
    await connection.execute("UPDATE sessions SET first_call_asked_at = NULL WHERE session_uuid = %s", (session_uuid,))


class KnownCall(NamedTuple):
    """A call that was decided earlier. `began_at` and `now` are by the database's clock, UTC."""

    session_uuid: str
    call: Call
    cipher: SessionCipher
    terms: Terms
    began_at: datetime
    now: datetime


class _CallRow(NamedTuple):
    session_uuid: str
    sealed_call: bytes
    key_id: str
    wrapped_key: bytes
    sealed_terms: bytes
    started_at: datetime
    now: datetime


async def find_call(connection: Connection, keyring: Keyring, call_uuid: str) -> KnownCall | None:
    """The session's call with this id; None for a call that belonged to no session."""
    async with connection.cursor(row_factory=class_row(_CallRow)) as cursor:
        await cursor.execute(
            "SELECT c.session_uuid, c.sealed_call, s.key_id, s.wrapped_key, s.sealed_terms, c.started_at, now()"
            " FROM calls c JOIN sessions s USING (session_uuid) WHERE c.call_uuid = %s",
            (call_uuid,),
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    cipher = unwrapped(keyring, row.session_uuid, row.key_id, row.wrapped_key)
    call, terms = cipher.open(Call, row.sealed_call), cipher.open(Terms, row.sealed_terms)
    return KnownCall(row.session_uuid, call, cipher, terms, row.started_at, row.now)


async def find_decided_call(connection: Connection, keyring: Keyring, call_uuid: str) -> KnownCall | None:
    """The same, once nobody decides about the call any more.

    A caller may hang up before the carrier has its answer. Were that passed over, the session would be busy with the
    call until its last possible second.
    """
    known = await find_call(connection, keyring, call_uuid)
    if known is None:
        async with connection.pipeline():
            await connection.execute(DECIDE, {"call_uuid": call_uuid})
            known = await find_call(connection, keyring, call_uuid)
    return known


UNDECIDED_END_LIFETIME = timedelta(minutes=10)
"""No question of a carrier takes that long."""
_FORGET_SOME_ENDS = (
    "DELETE FROM undecided_ends WHERE call_uuid IN (SELECT call_uuid FROM undecided_ends WHERE told_at < now() - %s"
    " ORDER BY told_at LIMIT 20 FOR UPDATE SKIP LOCKED)"
)


async def note_end_of_undecided(connection: Connection, call_uuid: str) -> None:
    """Note that a call is over of which nothing is decided, and perhaps never will be: most belong to no session.

    To be called in the transaction in which `find_decided_call` found none. Whoever decides about it after all, since
    its carrier's question took longer than its end, sees it (`FoundRoute.over`).
    """
    async with connection.pipeline():
        await connection.execute(_FORGET_SOME_ENDS, (UNDECIDED_END_LIFETIME,))
        await connection.execute(
            "INSERT INTO undecided_ends (call_uuid) VALUES (%s) ON CONFLICT (call_uuid) DO NOTHING", (call_uuid,)
        )


class Connecting(NamedTuple):
    """A call whose caller has heard its audio.

    Attributes:
        virtual_number: the session's, E.164; None if it is no number of the pool.
        expires_at: the session's, UTC.
        ended: whether the caller has left.
    """

    known: KnownCall
    virtual_number: str | None
    expires_at: datetime
    ended: bool


class _ConnectingRow(NamedTuple):
    number: str | None
    expires_at: datetime
    ended: bool


async def find_connecting(connection: Connection, keyring: Keyring, call_uuid: str) -> Connecting | None:
    """A call that was to be connected. Its end, if that is told just now, is known or waits for this transaction."""
    async with connection.pipeline(), connection.cursor(row_factory=class_row(_ConnectingRow)) as cursor:
        await connection.execute(DECIDE, {"call_uuid": call_uuid})
        await cursor.execute(
            f"SELECT n.number, LEAST({OVER_AT}) AS expires_at, c.ended_at IS NOT NULL AS ended"  # noqa: S608 fixed fragments only
            " FROM calls c JOIN sessions s USING (session_uuid) LEFT JOIN numbers n ON n.number = s.virtual_number"
            " WHERE c.call_uuid = %s AND c.decision = %s",
            (call_uuid, Connect.__name__),
        )
        known = await find_call(connection, keyring, call_uuid)
        row = await cursor.fetchone()
    return Connecting(known, *row) if row is not None and known is not None else None


async def was_dialled_for(connection: Connection, call_uuid: str) -> bool:
    """Whether the carrier was told to dial for a call that is to be connected. Waits for whoever just decides that."""
    async with connection.pipeline():
        await connection.execute(DECIDE, {"call_uuid": call_uuid})
        found = await connection.execute("SELECT EXISTS (SELECT FROM inbox WHERE event_id = %s)", (ring_id(call_uuid),))
        row = await found.fetchone()
    return row is not None and bool(row[0])


_FIRST_CALLED = (Reason.FIRST_PARTY_CALLED, Reason.FIRST_PARTY_ANSWERED)


async def find_first_call(connection: Connection, keyring: Keyring, session_uuid: str) -> KnownCall | None:
    """The call that we made to a session's first party, as it is known by now; None if none is."""
    found = await connection.execute(
        "SELECT call_uuid FROM calls WHERE session_uuid = %s AND reason = ANY(%s) ORDER BY started_at LIMIT 1",
        (session_uuid, list(_FIRST_CALLED)),
    )
    row = await found.fetchone()
    return await find_call(connection, keyring, str(row[0])) if row is not None else None


async def note_call_ended(connection: Connection, call_uuid: str) -> None:
    """The caller's leg hung up, so the session may have its next conversation."""
    await connection.execute(
        "UPDATE calls SET ended_at = now() WHERE call_uuid = %s AND ended_at IS NULL", (call_uuid,)
    )
