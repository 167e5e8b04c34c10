"""Accounts and their virtual numbers."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import NamedTuple

from psycopg.rows import class_row

from masking.privacy.keyring import Keyring
from masking.storage.database import Connection

AUTH = "account"
"""The kind under which tokens are hashed, and the purpose under which they are sealed."""


class _TokenRow(NamedTuple):
    token_hash: bytes


class _SealedTokenRow(NamedTuple):
    token_key_id: str
    token_sealed: bytes


async def ensure_account(connection: Connection, keyring: Keyring, auth_id: str, auth_token: str) -> None:
    """Make the account, or give it this token."""
    key_id, sealed = keyring.seal(auth_token.encode(), AUTH)
    await connection.execute(
        "INSERT INTO accounts (auth_id, token_hash, token_key_id, token_sealed) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (auth_id) DO UPDATE SET token_hash = excluded.token_hash,"
        " token_key_id = excluded.token_key_id, token_sealed = excluded.token_sealed"
        " WHERE accounts.token_hash <> excluded.token_hash",
        (auth_id, _token_hash(keyring, auth_id, auth_token), key_id, sealed),
    )


async def is_authentic(connection: Connection, keyring: Keyring, auth_id: str, auth_token: str) -> bool:
    """Whether this is an enabled account and its token, compared in constant time."""
    async with connection.cursor(row_factory=class_row(_TokenRow)) as cursor:
        await cursor.execute("SELECT token_hash FROM accounts WHERE auth_id = %s AND disabled_at IS NULL", (auth_id,))
        row = await cursor.fetchone()
    expected = row.token_hash if row is not None else b""
    return hmac.compare_digest(expected, _token_hash(keyring, auth_id, auth_token))


async def auth_token(connection: Connection, keyring: Keyring, auth_id: str) -> str | None:
    """The account's token, with which its callbacks are signed; None if there is no such account."""
    async with connection.cursor(row_factory=class_row(_SealedTokenRow)) as cursor:
        await cursor.execute("SELECT token_key_id, token_sealed FROM accounts WHERE auth_id = %s", (auth_id,))
        row = await cursor.fetchone()
    return None if row is None else keyring.open(row.token_key_id, row.token_sealed, AUTH).decode()


async def ensure_numbers(connection: Connection, auth_id: str, numbers: Iterable[tuple[str, str]]) -> None:
    """Add virtual numbers (E.164, ISO country) to the account's pool; those that exist stay as they are."""
    for number, country in numbers:
        await connection.execute(
            "INSERT INTO numbers (number, account_id, country) VALUES (%s, %s, %s) ON CONFLICT (number) DO NOTHING",
            (number, auth_id, country),
        )


def _token_hash(keyring: Keyring, auth_id: str, auth_token: str) -> bytes:
    return keyring.lookup_hash(AUTH, f"{auth_id}:{auth_token}")
