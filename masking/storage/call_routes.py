"""By what route a call goes on, found while its session is held for whoever decides about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.events import Side
from masking.domain.leases import ANYBODY, Kind
from masking.domain.model import Model
from masking.domain.routing import Route
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
OVER_AT = "s.expires_at, CASE WHEN s.phase <> 'active' THEN now() END"
_READ = (
    "SELECT r.session_uuid, s.account_id, r.kind, r.side, n.number AS virtual_number, r.released,"  # noqa: S608 fixed fragments only
    f" LEAST(r.expires_at, {OVER_AT}) AS expires_at,"
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
DECIDE = "SELECT pg_advisory_xact_lock(hashtextextended('call ' || %(call_uuid)s::text, 0))"
"""Whoever decides about a call holds this until that is written down."""


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
                await connection.execute(DECIDE, asked)
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
