"""Opening a session: it gets a number, the routes it needs on it, and its row."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.lifecycle import opened
from masking.domain.pool.choice import LastHold, PoolNumber, candidates, may_meet_again
from masking.domain.session import Session
from masking.domain.terms import Terms
from masking.privacy.keyring import Keyring
from masking.privacy.session_cipher import SessionCipher, unwrapped
from masking.storage.database import Connection
from masking.storage.routes import Taken, identity_hash, take_routes
from masking.storage.session_keys import StoredPayloadKey
from masking.storage.sessions import insert_session

SOME = 16
"""How many numbers that neither party ever used are looked at together."""

ENOUGH = 3
"""With fewer than so many numbers to choose from, those that remain are counted."""


class Opening(NamedTuple):
    """What a session got when it was opened: its number (E.164), and its terms with their PINs.

    Attributes:
        key: its data key, and what its answers are under.
        left: how many more numbers its parties could have met each other on, where they were few
            enough to be counted.
    """

    virtual_number: str
    terms: Terms
    key: StoredPayloadKey
    left: int | None = None


class Exhausted(NamedTuple):
    """No number can be had.

    Attributes:
        pin_taken: whether a free one could be, but for a PIN that was given and is in use there.
    """

    pin_taken: bool


async def open_session(
    connection: Connection,
    keyring: Keyring,
    session: Session,
    country: str | None,
    cipher: SessionCipher | None = None,
    answers_under: str | None = None,
    beside: Sequence[str] = (),
) -> Opening | Exhausted:
    """Choose a number, take its routes, write the session's row; all or nothing.

    Safe to repeat: a session that is open already keeps its number and its PINs.

    Args:
        country: ISO country the number must be of; None for any.
        cipher: of the data key that it was started with; None where it has none yet.
        answers_under: see `StoredPayloadKey`.
        beside: ISO countries whose numbers do as well once those of `country` are exhausted.
    """
    existing = await _opening(connection, keyring, session.session_uuid)
    if existing is not None:
        return existing

    async def written(number: str, terms: Terms, left: int | None = None) -> Opening:
        """Write the row, now that the session holds its routes."""
        known = opened(session, number, terms.pins).session
        key = StoredPayloadKey(await insert_session(connection, keyring, known, cipher, answers_under), answers_under)
        return Opening(number, terms, key, left)

    hashes = tuple(identity_hash(keyring, "number", number) for number in session.terms.parties.values())
    of_country = None if country is None else [country]
    pools = [_Pool(connection, session.owner_id, hashes, each) for each in (of_country, list(beside)) if each != []]
    for pool in pools:
        if await pool.may_have(session.terms.preferred_number):
            taken = await take_routes(connection, keyring, session, session.terms.preferred_number)
            if isinstance(taken, Taken):
                return await written(session.terms.preferred_number, taken.terms)
    pin_taken = False
    for pool in pools:
        async for page in pool.pages():
            free = candidates(page)
            for tried, candidate in enumerate(free, 1):
                taken = await take_routes(connection, keyring, session, candidate.number)
                if isinstance(taken, Taken):
                    left = await pool.left(page, len(free) - tried)
                    return await written(candidate.number, taken.terms, left)
                pin_taken = pin_taken or taken.pin_taken
    return Exhausted(pin_taken)


async def open_with_number(
    connection: Connection,
    keyring: Keyring,
    session: Session,
    cipher: SessionCipher | None = None,
    answers_under: str | None = None,
) -> Opening | None:
    """Write a session whose number a carrier chose, and hold its routes there, so that nobody else is known by them.

    Safe to repeat.

    Args:
        session: as it is once it is open.
        cipher, answers_under: as for `open_session`.

    Returns:
        None where it could not be: another session, live or cooling, holds one of the routes.
    """
    existing = await _opening(connection, keyring, session.session_uuid)
    if existing is not None:
        return existing if existing.virtual_number == session.virtual_number else None
    if not isinstance(await take_routes(connection, keyring, session, session.virtual_number), Taken):
        return None
    key = StoredPayloadKey(await insert_session(connection, keyring, session, cipher, answers_under), answers_under)
    return Opening(session.virtual_number, session.terms, key)


async def take_back(connection: Connection, session_uuid: str) -> bool:
    """Undo the opening of a session that was refused all the same. Its key stays, by which its history can be read.

    Safe to repeat.

    Returns:
        Whether nothing of it is left; else something was told of it already, and all of it stays.
    """
    # Whoever tells something of it waits for this, or has done so already and is seen by what follows.
    await connection.execute("SELECT FROM sessions WHERE session_uuid = %s FOR UPDATE", (session_uuid,))
    told = await connection.execute("SELECT 1 FROM inbox WHERE session_uuid = %s LIMIT 1", (session_uuid,))
    if await told.fetchone() is not None:
        return False
    await connection.execute("DELETE FROM routes WHERE session_uuid = %s", (session_uuid,))
    await connection.execute(
        "WITH gone AS (DELETE FROM sessions WHERE session_uuid = %s RETURNING session_uuid, key_id, wrapped_key)"
        " INSERT INTO session_keys (session_uuid, key_id, wrapped_key) SELECT * FROM gone ON CONFLICT DO NOTHING",
        (session_uuid,),
    )
    return True


class _OpeningRow(NamedTuple):
    virtual_number: str
    key_id: str
    wrapped_key: bytes
    sealed_terms: bytes
    answers_under: str | None


async def _opening(connection: Connection, keyring: Keyring, session_uuid: str) -> Opening | None:
    async with connection.cursor(row_factory=class_row(_OpeningRow)) as cursor:
        await cursor.execute(
            "SELECT virtual_number, key_id, wrapped_key, sealed_terms, answers_under FROM sessions"
            " WHERE session_uuid = %s",
            (session_uuid,),
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    cipher = unwrapped(keyring, session_uuid, row.key_id, row.wrapped_key)
    key = StoredPayloadKey(cipher, row.answers_under)
    return Opening(row.virtual_number, cipher.open(Terms, row.sealed_terms), key)


# A number's look for a session: its place, and whether a cool-off period keeps it from everybody. With EXISTS,
# PostgreSQL may read the cool-off periods of all numbers at once, which takes the longer the more sessions live.
_NUMBER = (
    "n.number, n.country, n.rank, (SELECT true FROM sessions s WHERE s.virtual_number = n.number"
    " AND s.rests_until > now() AND s.expires_at <= now() LIMIT 1) IS NOT NULL AS rests"
)
_HAD = (
    "n.account_id = %(owner)s AND n.state = 'available'"
    " AND (%(countries)s::text[] IS NULL OR n.country = ANY(%(countries)s))"
)
_USED = (
    "used AS MATERIALIZED (SELECT virtual_number, max(held_until) AS until FROM routes"
    " WHERE caller_hash = ANY(%(hashes)s) GROUP BY virtual_number)"
)
_NEVER_USED = (
    f"WITH {_USED} SELECT {_NUMBER} FROM numbers n WHERE {_HAD} AND n.rank > %(after)s"  # noqa: S608 fixed fragments only
    " AND n.number NOT IN (SELECT virtual_number FROM used) ORDER BY n.rank LIMIT %(some)s"
)
_USED_ONCE = (
    f"WITH {_USED} SELECT {_NUMBER}, u.until AS last_used FROM used u JOIN numbers n ON n.number = u.virtual_number"  # noqa: S608 fixed fragments only
    f" WHERE {_HAD} AND u.until <= now()"
)

_ASKED_FOR = f"SELECT {_NUMBER} FROM numbers n WHERE {_HAD} AND n.number = %(number)s"  # noqa: S608 fixed fragments only
_LAST_HOLDS = (
    "SELECT session_uuid, held_until <= now() AS over, released AS left FROM routes"
    " WHERE virtual_number = %(number)s AND caller_hash = ANY(%(hashes)s)"
)


class _Pool(NamedTuple):
    """An owner's numbers as two parties find them, by the order of `masking.domain.pool.choice.preference`.

    Those that neither ever used are read from the index by rank, a few at a time, and the others
    only if these do not suffice, so that neither the pool nor the past makes the choice slow.

    Attributes:
        countries: ISO countries of which the numbers are; of any when None.
    """

    connection: Connection
    owner_id: str
    caller_hashes: Sequence[bytes]
    countries: Sequence[str] | None

    async def pages(self) -> AsyncIterator[list[PoolNumber]]:
        """The numbers that neither party holds, some at a time, better pages first."""
        after = -1
        while page := await self._read(_NEVER_USED, after):
            yield page
            if len(page) < SOME:
                break
            after = page[-1].rank
        if used := await self._read(_USED_ONCE):
            yield used

    async def may_have(self, number: str) -> bool:
        """Whether the parties may have the number (E.164) that they ask for; they do not where it is empty."""
        if not number or not candidates(await self._read(_ASKED_FOR, number=number)):
            return False
        async with self.connection.cursor(row_factory=class_row(LastHold)) as cursor:
            await cursor.execute(_LAST_HOLDS, {"number": number, "hashes": list(self.caller_hashes)})
            return may_meet_again(await cursor.fetchall(), len(self.caller_hashes))

    async def left(self, page: Sequence[PoolNumber], left_of_page: int) -> int | None:
        """How many numbers remain when `left_of_page` do of a page; None where they are many."""
        if left_of_page >= ENOUGH or len(page) == SOME:
            return None
        of_used = page[-1].last_used is not None
        return left_of_page if of_used else left_of_page + len(candidates(await self._read(_USED_ONCE)))

    async def _read(self, query: str, after: int = -1, number: str = "") -> list[PoolNumber]:
        wanted = {"hashes": list(self.caller_hashes), "owner": self.owner_id, "countries": self.countries}
        async with self.connection.cursor(row_factory=class_row(PoolNumber)) as cursor:
            await cursor.execute(query, {**wanted, "after": after, "some": SOME, "number": number})
            return await cursor.fetchall()
