"""Which master keys the database was written with, so that no process writes with others by mistake."""

from __future__ import annotations

import hmac
from typing import NamedTuple

from psycopg.rows import class_row

from masking.errors import StartupError
from masking.privacy.ingress import must_be_whole
from masking.privacy.keyring import Keyring, Unreadable
from masking.storage.accounts import AUTH
from masking.storage.database import Connection, Database

PURPOSE = "key check"
LOOKUP = "lookup"
"""How the look-up key is called among the checks; no master key may be called so."""

_WRONG = (
    "the keys (MASKING_KEYS, MASKING_KEYS_FILE) are not those that this database was written with: {which}."
    " Nothing was changed"
)


class _Check(NamedTuple):
    key_id: str
    sealed: bytes


async def must_fit(database: Database, keyring: Keyring) -> None:
    """Let a process start only with the keys of its database; take note of those that it will use.

    Raises:
        StartupError: a key is missing, or is another one than the database was written with; or they are a service's.
    """
    must_be_whole(keyring)
    async with database.transaction() as connection:
        async with connection.cursor(row_factory=class_row(_Check)) as cursor:
            await cursor.execute("SELECT key_id, sealed FROM key_checks")
            checks = await cursor.fetchall()
            if not checks:
                # Written before there were checks: a token tells as well.
                await cursor.execute("SELECT token_key_id AS key_id, token_sealed AS sealed FROM tokens LIMIT 1")
                for token in await cursor.fetchall():
                    _must_open(keyring, token, AUTH)
        for check in checks:
            if check.key_id == LOOKUP:
                if not hmac.compare_digest(check.sealed, keyring.lookup_hash(PURPOSE, LOOKUP)):
                    raise StartupError(_WRONG.format(which="the look-up key is another"))
            else:
                _must_open(keyring, check, PURPOSE)
        if not {keyring.current, LOOKUP} <= {check.key_id for check in checks}:
            await take_note(connection, keyring)


async def take_note(connection: Connection, keyring: Keyring) -> None:
    """The database is written with these from now on."""
    key_id, sealed = keyring.seal(b"", PURPOSE)
    await connection.execute(
        "INSERT INTO key_checks (key_id, sealed) VALUES (%s, %s), (%s, %s) ON CONFLICT DO NOTHING",
        (key_id, sealed, LOOKUP, keyring.lookup_hash(PURPOSE, LOOKUP)),
    )


def _must_open(keyring: Keyring, check: _Check, purpose: str) -> None:
    try:
        keyring.open(check.key_id, check.sealed, purpose)
    except Unreadable:
        known = check.key_id in keyring.master_ids
        which = f"{check.key_id} is another" if known else f"{check.key_id} is missing"
        raise StartupError(_WRONG.format(which=which)) from None
