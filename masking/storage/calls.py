"""Calls as the gateway sees them: finding the route, noting the decision, telling the call again later."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.decisions import ring_id
from masking.domain.events import Call, Side
from masking.domain.interaction import longest_call
from masking.domain.leases import ANYBODY, Kind
from masking.domain.model import Model
from masking.domain.routing import Connect, Decision, Reason, Route
from masking.domain.terms import Terms
from masking.privacy.keyring import Keyring
from masking.privacy.session_cipher import SessionCipher, unwrapped
from masking.storage.database import Connection
from masking.storage.routes import identity_hash


class FoundRoute(NamedTuple):
    """A route and what is needed to write about it. `now` is the database's clock.

    Attributes:
        over: the call that is being decided has ended already.
    """

    route: Route
    cipher: SessionCipher
    now: datetime
    over: bool


class LastCaller(Model):
    """Who reached a single party last, E.164."""

    number: str


class _RouteRow(NamedTuple):
    session_uuid: str
    account_id: str
    kind: Kind
    side: str
    virtual_number: str | None
    released: bool
    expires_at: datetime
    key_id: str
    wrapped_key: bytes
    sealed_terms: bytes
    sealed_last_caller: bytes | None
    busy: bool
    over: bool
    now: datetime


# A session that is over stays so, also where the clock was put back.
_OVER_AT = "s.expires_at, CASE WHEN s.phase <> 'active' THEN now() END"
_READ = (
    "SELECT r.session_uuid, s.account_id, r.kind, r.side, n.number AS virtual_number, r.released,"  # noqa: S608 fixed fragments only
    f" LEAST(r.expires_at, {_OVER_AT}) AS expires_at,"
    " s.key_id, s.wrapped_key, s.sealed_terms, s.sealed_last_caller, {busy} AS busy, {over} AS over, now()"
    " FROM routes r JOIN sessions s USING (session_uuid) LEFT JOIN numbers n ON n.number = r.virtual_number"
)
_BUSY = (
    "EXISTS (SELECT FROM calls c WHERE c.session_uuid = r.session_uuid AND c.ended_at IS NULL"
    " AND c.must_end_by > now() AND c.call_uuid <> %(call_uuid)s)"
)
_OVER = "EXISTS (SELECT FROM undecided_ends WHERE call_uuid = %(call_uuid)s)"
_ROUTE = _READ.format(busy=_BUSY, over=_OVER)
# Once a party was named, a session that was open to anyone knows nobody by that any more.
_IDENTIFIED = (
    "r.virtual_number = %(number)s AND r.caller_hash = ANY(%(hashes)s) AND r.held_until > now()"
    " AND NOT (r.released AND r.kind = 'anyone') ORDER BY r.kind = 'number' DESC LIMIT 1"
)
_BY_IDENTITY = f"{_ROUTE} WHERE {_IDENTIFIED}"
# Whoever asks for a PIN goes before whoever only announces; the index is in this order. Both may be busy.
_FOR_STRANGERS = (
    f"{_READ.format(busy=False, over=False)} WHERE r.virtual_number = %(number)s AND r.kind IN ('question', 'stranger')"
    " AND r.expires_at > now() ORDER BY r.kind = 'stranger', r.expires_at DESC, r.session_uuid LIMIT 1"
)
_OF_SESSION = (
    f"{_ROUTE} WHERE r.session_uuid = %(session_uuid)s AND r.kind = 'number' AND r.side = 'first' AND NOT r.released"
)
_HOLD_IDENTIFIED = (
    f"SELECT session_uuid FROM sessions WHERE session_uuid = (SELECT r.session_uuid FROM routes r WHERE {_IDENTIFIED})"  # noqa: S608 fixed fragments only
    " FOR NO KEY UPDATE"
)
_HOLD_SESSION = "SELECT session_uuid FROM sessions WHERE session_uuid = %(session_uuid)s FOR NO KEY UPDATE"
_DECIDE = "SELECT pg_advisory_xact_lock(hashtextextended('call ' || %(call_uuid)s::text, 0))"
"""Whoever decides about a call holds this until that is written down."""

UNDECIDED_END_LIFETIME = timedelta(minutes=10)
"""No question of a carrier takes that long."""
_FORGET_SOME_ENDS = (
    "DELETE FROM undecided_ends WHERE call_uuid IN (SELECT call_uuid FROM undecided_ends WHERE told_at < now() - %s"
    " ORDER BY told_at LIMIT 20 FOR UPDATE SKIP LOCKED)"
)


async def find_route(
    connection: Connection, keyring: Keyring, number: str, caller: str, call_uuid: str
) -> FoundRoute | None:
    """The session that knows `caller` on `number` (both E.164), live or cooling: one read by the routes' primary key.

    A caller's own route goes before one that is open to anyone. Holds the session until the
    transaction ends, so that two calls of one session are decided one after the other.

    Args:
        caller: empty when it hides.
        call_uuid: the call being decided, which does not count as a conversation in progress.
    """
    row = await _held(connection, _HOLD_IDENTIFIED, _BY_IDENTITY, _caller(keyring, number, caller, call_uuid))
    return row and _opened(row, keyring, caller)


async def find_route_for_strangers(
    connection: Connection, keyring: Keyring, number: str, caller: str
) -> FoundRoute | None:
    """The live session on `number` that has something to say to callers nobody knows, busy or not.

    Of several one that asks for a PIN, else one that has an announcement; of these the longest-lived.
    """
    async with connection.cursor(row_factory=class_row(_RouteRow)) as cursor:
        await cursor.execute(_FOR_STRANGERS, {"number": number})
        row = await cursor.fetchone()
    return row and _opened(row, keyring, caller)


async def find_route_that_asks(
    connection: Connection, keyring: Keyring, number: str, caller: str, call_uuid: str
) -> FoundRoute | None:
    """The session that has asked `caller` for a PIN: its own, else the one for strangers. Holds neither."""
    asked = _caller(keyring, number, caller, call_uuid)
    async with (
        connection.pipeline(),
        connection.cursor(row_factory=class_row(_RouteRow)) as own,
        connection.cursor(row_factory=class_row(_RouteRow)) as for_strangers,
    ):
        await own.execute(_BY_IDENTITY, asked)
        await for_strangers.execute(_FOR_STRANGERS, asked)
        row = await own.fetchone() or await for_strangers.fetchone()
    return row and _opened(row, keyring, caller)


async def find_route_by_pin(
    connection: Connection, keyring: Keyring, number: str, pin: str, caller: str, call_uuid: str
) -> FoundRoute | None:
    """The session and party whose PIN it is on `number`. Holds the session as `find_route` does."""
    asked = {"number": number, "hashes": [identity_hash(keyring, "pin", pin)], "call_uuid": call_uuid}
    row = await _held(connection, _HOLD_IDENTIFIED, _BY_IDENTITY, asked)
    return row and _opened(row, keyring, caller)


async def find_first_party(
    connection: Connection, keyring: Keyring, session_uuid: str, call_uuid: str
) -> FoundRoute | None:
    """The route of a session's first party, live or not. Holds the session as `find_route` does."""
    asked = {"session_uuid": session_uuid, "call_uuid": call_uuid}
    row = await _held(connection, _HOLD_SESSION, _OF_SESSION, asked)
    if row is None:
        return None
    found = _opened(row, keyring, "")
    caller = found.route.terms.first_party
    return found._replace(route=found.route.model_copy(update={"caller_number": caller}))


def _caller(keyring: Keyring, number: str, caller: str, call_uuid: str) -> dict[str, object]:
    """By what a caller is looked for on a number."""
    hashes = [identity_hash(keyring, "anyone", ANYBODY)]
    hashes += [identity_hash(keyring, "number", caller)] if caller else []
    return {"number": number, "hashes": hashes, "call_uuid": call_uuid}


async def _held(connection: Connection, hold: str, query: str, asked: Mapping[str, object]) -> _RouteRow | None:
    """The route that `query` finds, once `hold` has locked its session; all in one round trip.

    A statement sees what was there when it began. The one that locks may have waited for another
    call of the session; the one that reads begins after that, so that it knows of that call.
    """
    async with connection.cursor(row_factory=class_row(_RouteRow)) as cursor:
        while True:
            async with connection.pipeline():
                await connection.execute(_DECIDE, asked)
                held = await connection.execute(hold, asked)
                await cursor.execute(query, asked)
                locked, row = await held.fetchone(), await cursor.fetchone()
            if row is None or locked == (row.session_uuid,):
                return row
            # While it waited, the route became another session's.


def _opened(row: _RouteRow, keyring: Keyring, caller: str) -> FoundRoute:
    cipher = unwrapped(keyring, row.session_uuid, row.key_id, row.wrapped_key)
    last = row.sealed_last_caller
    route = Route(
        session_uuid=row.session_uuid,
        account_id=row.account_id,
        recognised="stranger" if row.kind == "question" else row.kind,
        caller=Side(row.side),
        caller_number=caller,
        virtual_number=row.virtual_number,
        expires_at=row.expires_at,
        busy=row.busy,
        terms=cipher.open(Terms, row.sealed_terms),
        last_caller=cipher.open(LastCaller, last).number if last is not None else "",
        released=row.released,
    )
    return FoundRoute(route, cipher, row.now, row.over)


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
            await connection.execute(_DECIDE, {"call_uuid": call_uuid})
            known = await find_call(connection, keyring, call_uuid)
    return known


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
        await connection.execute(_DECIDE, {"call_uuid": call_uuid})
        await cursor.execute(
            f"SELECT n.number, LEAST({_OVER_AT}) AS expires_at, c.ended_at IS NOT NULL AS ended"  # noqa: S608 fixed fragments only
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
        await connection.execute(_DECIDE, {"call_uuid": call_uuid})
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
