"""What is encrypted under master keys, by key, and moving it to the newest.

Everything of a session is under the session's own data key, so that only this one, wrapped, has to move. Ingress keys
move likewise. A key that was destroyed is gone; the id of its master key is empty.
"""

from __future__ import annotations

from typing import NamedTuple

from masking.privacy.ingress import WRAPPING as INGRESS
from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.session_cipher import PURPOSE as DATA_KEY
from masking.storage.accounts import AUTH
from masking.storage.callback_endpoints import PURPOSE as ENDPOINT
from masking.storage.database import Connection, may_take_long
from masking.storage.key_checks import LOOKUP

BATCH = 500


class Place(NamedTuple):
    """A table with something under a master key.

    Attributes:
        what: in the operator's words.
        identity: the columns that name a row, in an order that an index has.
    """

    what: str
    table: str
    identity: tuple[str, ...]
    key_id: str
    sealed: str
    purpose: str


PLACES = (
    Place("sessions", "sessions", ("session_uuid",), "key_id", "wrapped_key", DATA_KEY),
    Place("unopened", "session_keys", ("session_uuid",), "key_id", "wrapped_key", DATA_KEY),
    Place("ingress", "ingress_keys", ("day",), "key_id", "wrapped_key", INGRESS),
    Place("tokens", "tokens", ("auth_id", "token_hash"), "token_key_id", "token_sealed", AUTH),
    Place("endpoints", "callback_endpoints", ("endpoint_hash",), "key_id", "sealed_endpoint", ENDPOINT),
)


class Use(NamedTuple):
    """How much is under a master key."""

    key_id: str
    what: str
    how_many: int


async def uses(connection: Connection) -> list[Use]:
    """How much of each kind is under each key. Takes as long as counting all sessions does."""
    await may_take_long(connection)
    found = []
    for place in PLACES:
        rows = await connection.execute(
            f"SELECT {place.key_id}, count(*) FROM {place.table} WHERE {place.key_id} <> ''"  # noqa: S608 fixed names
            " GROUP BY 1 ORDER BY 1"
        )
        found += [Use(str(key_id), place.what, int(str(count))) for key_id, count in await rows.fetchall()]
    return found


class Batch(NamedTuple):
    """What came of a batch.

    Attributes:
        last: the identity of its last row, behind which the next one begins; None when there is no more.
        moved, unreadable: rows that are under the current key now, and those that could not be read.
    """

    last: tuple[object, ...] | None
    moved: int
    unreadable: int


async def rewrap_some(
    connection: Connection, keyring: Keyring, place: Place, after: tuple[object, ...] | None
) -> Batch:
    """Move some rows to the current key. Rows that change meanwhile are waited for; repeating it is safe."""
    names = ", ".join(place.identity)
    beyond = f"AND ({names}) > ({', '.join(['%s'] * len(place.identity))})" if after is not None else ""
    current = keyring.current
    rows = await connection.execute(
        f"SELECT {names}, {place.key_id}, {place.sealed} FROM {place.table}"  # noqa: S608 fixed names
        f" WHERE {place.key_id} <> ALL (ARRAY['', %s]) {beyond} ORDER BY {names} LIMIT %s FOR UPDATE",
        (current, *(after or ()), BATCH),
    )
    last, moved, unreadable = None, list[tuple[object, ...]](), 0
    same = " AND ".join(f"{column} = %s" for column in place.identity)
    for *identity, key_id, sealed in await rows.fetchall():
        last = tuple(identity)
        try:
            plain = keyring.open(str(key_id), bytes(sealed) if isinstance(sealed, bytes) else b"", place.purpose)
        except Unreadable:
            unreadable += 1
            continue
        new_id, resealed = keyring.seal(plain, place.purpose)
        moved.append((new_id, resealed, *identity))
    async with connection.cursor() as cursor:
        # One round trip for all: there may be millions.
        await cursor.executemany(
            f"UPDATE {place.table} SET {place.key_id} = %s, {place.sealed} = %s WHERE {same}",  # noqa: S608 fixed names
            moved,
        )
    return Batch(last, len(moved), unreadable)


async def forget_unused(connection: Connection, keyring: Keyring) -> None:
    """A process may start without the keys that nothing here is under any more."""
    used = {use.key_id for use in await uses(connection)} | {keyring.current, LOOKUP}
    await connection.execute("DELETE FROM key_checks WHERE NOT (key_id = ANY(%s))", (sorted(used),))
