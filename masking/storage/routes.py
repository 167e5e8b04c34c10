"""Routes as leases: who reaches which session on which number, and until when.

Taking one is an upsert that overwrites only a row whose hold has passed, so that the
database itself makes two live or cooling sessions on one number and caller impossible.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from psycopg import AsyncCursor
from psycopg.rows import class_row

from masking.domain.events import Side
from masking.domain.leases import Identity, Kind, identities, shares_a_number
from masking.domain.pool.pins import pin_length
from masking.domain.session import Session
from masking.domain.terms import Terms
from masking.errors import SessionGone, Superseded
from masking.privacy.keyring import Keyring
from masking.storage.database import Connection

UNSHARED: tuple[Kind, ...] = ("anyone", "question", "stranger")
"""The kinds that do not bear every other on one number."""

PIN_DRAWS = 10
"""How often fresh PINs are drawn for one number before the next number is tried."""


class Lease(NamedTuple):
    """What a session wants of a number: the route of one identity."""

    caller_hash: bytes
    kind: Kind
    side: Side


def identity_hash(keyring: Keyring, kind: Kind, value: str) -> bytes:
    """The keyed hash under which an identity is stored."""
    return keyring.lookup_hash("caller" if kind == "number" else kind, value)


def leases_of(session_uuid: str, terms: Terms, keyring: Keyring) -> tuple[Lease, ...]:
    """The routes a session needs, in the order in which everybody takes them, so that none deadlock."""
    return tuple(sorted(_lease(keyring, identity) for identity in identities(session_uuid, terms)))


class Taken(NamedTuple):
    """The session's terms with its PINs, once it holds its routes."""

    terms: Terms


class NotTaken(NamedTuple):
    """Somebody else holds one of the routes.

    Attributes:
        pin_taken: whether it is that of a PIN that was given.
    """

    pin_taken: bool


async def take_routes(connection: Connection, keyring: Keyring, session: Session, number: str) -> Taken | NotTaken:
    """Take every route the session needs on a number, or none. PINs that are ours to make are drawn here."""
    to_draw = session.terms.pin is not None and session.terms.pin.generate and not session.terms.pins
    length = await _pin_length(connection, session.terms, number) if to_draw else 0
    conflict: Lease | None = None
    for _ in range(PIN_DRAWS if to_draw else 1):
        terms = _with_pins(session.terms, length) if to_draw else session.terms
        conflict = await _take_all(connection, session, number, leases_of(session.session_uuid, terms, keyring))
        if conflict is None:
            return Taken(terms)
        if conflict.kind != "pin":
            break
    return NotTaken(pin_taken=conflict is not None and conflict.kind == "pin" and not to_draw)


async def change_parties(connection: Connection, keyring: Keyring, session: Session, terms: Terms) -> bool:
    """Take the routes that `terms` need beyond those the session holds, and release those it needs no more.

    A released route forwards nothing, yet stays held for its grace, so that the former
    party's redial reaches nobody else. Of a session that was ended meanwhile nothing changes.

    Returns:
        Whether the session holds all it needs, or has ended; if not, nothing has changed.

    Raises:
        Superseded: the session was resumed since.
    """
    # A write of the session's state must see either all of this or nothing.
    async with connection.cursor(row_factory=class_row(_Stored)) as cursor:
        await cursor.execute(
            "SELECT version, resumptions, phase <> 'active' AS over FROM sessions WHERE session_uuid = %s FOR UPDATE",
            (session.session_uuid,),
        )
        stored = await cursor.fetchone()
        _must_go_on(session, stored)
    if stored is not None and stored.over:
        # Its routes have the end that was written down with it.
        return True
    wanted = leases_of(session.session_uuid, terms, keyring)
    return await _hold(connection, session, wanted)


async def hold_just_its_own(connection: Connection, keyring: Keyring, session: Session) -> None:
    """Have a live session hold the routes that its terms need, as far as they can be had, and forward on no other.

    A change of its parties takes routes before it is recorded, and may never have been.
    """
    if not await change_parties(connection, keyring, session, session.terms):
        await _release_others(connection, session, leases_of(session.session_uuid, session.terms, keyring))


async def _release_others(connection: Connection, session: Session, wanted: Iterable[Lease]) -> None:
    await connection.execute(
        "UPDATE routes SET released = true, expires_at = LEAST(expires_at, now())"
        " WHERE session_uuid = %s AND NOT released AND NOT (caller_hash = ANY(%s))",
        (session.session_uuid, [lease.caller_hash for lease in wanted]),
    )


class _Stored(NamedTuple):
    version: int
    resumptions: int
    over: bool = False


def _must_go_on(session: Session, stored: _Stored | None) -> None:
    """Raise `Superseded` where the session goes on in a newer run of its workflow than this state is of."""
    if stored is not None and stored.resumptions > len(session.resumed):
        raise Superseded("the session was resumed in another run of its workflow; this one writes no more of it")


# Most steps leave a session's end where it is. Rows that stay as they are are not written again: each is in several
# indexes, and to move them cost PostgreSQL as much as all else that a step writes.
_MOVE_LEASES = """
WITH ends AS (
    SELECT s.expires_at AS at, GREATEST(%(held_until)s, s.expires_at, (
        SELECT max(must_end_by) FROM calls WHERE session_uuid = s.session_uuid AND ended_at IS NULL
    )) AS held_until
    FROM sessions s WHERE s.session_uuid = %(session_uuid)s AND s.version = %(version)s
        AND s.resumptions = %(resumptions)s
), wanted AS (
    SELECT r.virtual_number, r.caller_hash, r.released, w.*,
        (r.expires_at, r.held_until) <> (w.expires_at, w.held_until) AS moves
    FROM ends, routes r, LATERAL (
        SELECT LEAST(
            ends.at, CASE WHEN r.released THEN r.expires_at END, CASE WHEN %(over)s THEN now() END
        ) AS expires_at,
            CASE WHEN r.released THEN LEAST(ends.held_until, r.held_until) ELSE ends.held_until END AS held_until
    ) w
    WHERE r.session_uuid = %(session_uuid)s AND (%(over)s OR NOT r.released)
), moved AS (
    UPDATE routes r SET expires_at = w.expires_at, held_until = w.held_until FROM wanted w
    WHERE w.moves AND r.session_uuid = %(session_uuid)s
        AND (r.virtual_number, r.caller_hash) = (w.virtual_number, w.caller_hash)
    RETURNING r.released, r.caller_hash
)
SELECT released, caller_hash FROM moved UNION ALL SELECT released, caller_hash FROM wanted WHERE NOT moves
"""


async def move_leases(connection: Connection, keyring: Keyring, session: Session) -> bool:
    """Let the routes end with the session, yet never before a live leg can have ended.

    Once the session is over, its routes forward nothing from this moment on, whatever it was by Temporal's clock, and
    those of parties that left before are held no longer than the others. Those of a live one become what its terms
    need: a database that was set back has them of before a change of its parties.

    Returns:
        Whether the session holds all of its routes.

    Raises:
        Superseded: the session was resumed since.
        SessionGone: it has no row.
    """
    moved = await connection.execute(
        _MOVE_LEASES,
        {
            "held_until": session.held_until,
            "session_uuid": session.session_uuid,
            "version": session.version,
            "over": session.over,
            "resumptions": len(session.resumed),
        },
    )
    wanted = leases_of(session.session_uuid, session.terms, keyring)
    if held := {bytes(row[1]) for row in await moved.fetchall() if not row[0] and isinstance(row[1], bytes)}:
        if session.over or held == {lease.caller_hash for lease in wanted}:
            return len(held) >= len(wanted)
        return await _hold(connection, session, wanted)
    async with connection.cursor(row_factory=class_row(_Stored)) as cursor:
        await cursor.execute(
            "SELECT version, resumptions FROM sessions WHERE session_uuid = %s", (session.session_uuid,)
        )
        stored = await cursor.fetchone()
    _must_go_on(session, stored)
    if stored is None:
        raise SessionGone("the database has lost this session")
    if stored.version == session.version and not session.over:
        return await _hold(connection, session, wanted)
    return stored.version != session.version


async def _hold(connection: Connection, session: Session, wanted: Sequence[Lease]) -> bool:
    """Whether the session could take all routes that it wants; then those beyond are released."""
    if await _take_all(connection, session, session.virtual_number, wanted) is not None:
        return False
    await _release_others(connection, session, wanted)
    return True


async def hold_again(connection: Connection, keyring: Keyring, session: Session) -> bool:
    """Whether a session that the database had lost has its routes again; where one is another's by now, it has none.

    One that is over holds them to the end of its grace, so that nobody's redial reaches anybody else.
    """
    held = await connection.execute("SELECT %s > now()", (session.held_until,))
    if await held.fetchone() != (True,):
        return False
    wanted = leases_of(session.session_uuid, session.terms, keyring)
    return await _take_all(connection, session, session.virtual_number, wanted) is None


async def _take_all(connection: Connection, session: Session, number: str, leases: Sequence[Lease]) -> Lease | None:
    """Take all of these routes, or none. The one that somebody else holds, if there is one."""
    conflict = await _unfit(connection, session, number, leases)
    if conflict is not None:
        return conflict
    async with connection.pipeline():
        await connection.execute("SAVEPOINT take")
        # An operator who blocks or removes the number waits for this, or has done so already.
        in_use = await connection.execute(
            "SELECT state = 'available' FROM numbers WHERE number = %s FOR KEY SHARE", (number,)
        )
        taken = await _upsert(connection, session, number, leases)
        available = await in_use.fetchone() == (True,)
        held = {bytes(row[0]) for row in await taken.fetchall() if isinstance(row[0], bytes)}
    if not available and not session.virtual_number:
        held = set()
    conflict = next((lease for lease in leases if lease.caller_hash not in held), None)
    if conflict is not None:
        await connection.execute("ROLLBACK TO SAVEPOINT take")
    return conflict


async def _upsert(
    connection: Connection, session: Session, number: str, leases: Sequence[Lease]
) -> AsyncCursor[tuple[object, ...]]:
    """Write the routes that are free or the session's own already, in their order; tells which."""
    return await connection.execute(
        "INSERT INTO routes (virtual_number, caller_hash, session_uuid, kind, side, expires_at, held_until)"
        " SELECT %(number)s, wanted.caller_hash, %(uuid)s, wanted.kind, wanted.side, %(expires)s, %(held)s"
        " FROM unnest(%(hashes)s::bytea[], %(kinds)s::text[], %(sides)s::text[]) AS wanted (caller_hash, kind, side)"
        " ON CONFLICT (virtual_number, caller_hash) DO UPDATE SET session_uuid = excluded.session_uuid,"
        " kind = excluded.kind, side = excluded.side, released = false,"
        " expires_at = excluded.expires_at, held_until = GREATEST(excluded.held_until, routes.held_until)"
        " WHERE routes.held_until <= now() OR routes.session_uuid = excluded.session_uuid"
        " RETURNING caller_hash",
        {
            "number": number,
            "uuid": session.session_uuid,
            "expires": session.expires_at,
            "held": session.held_until,
            "hashes": [lease.caller_hash for lease in leases],
            "kinds": [lease.kind for lease in leases],
            "sides": [lease.side.value for lease in leases],
        },
    )


async def _unfit(connection: Connection, session: Session, number: str, leases: Iterable[Lease]) -> Lease | None:
    """The lease that cannot live beside what the number carries already."""
    for lease in leases:
        unbearable = [kind for kind in UNSHARED if not shares_a_number(lease.kind, kind)]
        if not unbearable:
            continue
        # One at a time per number: of two that do not bear each other, the second must see the first.
        await connection.execute("SELECT FROM numbers WHERE number = %s FOR UPDATE", (number,))
        present = await connection.execute(
            "SELECT 1 FROM routes WHERE virtual_number = %s AND kind = ANY(%s) AND held_until > now()"
            " AND session_uuid <> %s LIMIT 1",
            (number, unbearable, session.session_uuid),
        )
        if await present.fetchone() is not None:
            return lease
    return None


def _lease(keyring: Keyring, identity: Identity) -> Lease:
    return Lease(identity_hash(keyring, identity.kind, identity.value), identity.kind, identity.side)


async def _pin_length(connection: Connection, terms: Terms, number: str) -> int:
    """How long PINs have to be on this number: the more there are, the longer."""
    counted = await connection.execute(
        "SELECT count(*) FROM routes WHERE virtual_number = %s AND kind = 'pin' AND held_until > now()", (number,)
    )
    (others,) = await counted.fetchone() or (0,)
    pin = terms.pin
    return pin_length(pin.generate_length, int(str(others)), 1 + pin.retry) if pin is not None else 0


def _with_pins(terms: Terms, length: int) -> Terms:
    if terms.pin is None:
        return terms
    first = second = _drawn(length)
    while second == first:
        second = _drawn(length)
    drawn = terms.pin.model_copy(update={"first_party": first, "second_party": second})
    return terms.model_copy(update={"pin": drawn})


def _drawn(length: int) -> str:
    return "".join(secrets.choice("0123456789") for _ in range(length))
