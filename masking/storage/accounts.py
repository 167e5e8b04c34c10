"""Accounts, their tokens, and their virtual numbers."""

from __future__ import annotations

import hmac
import re
import secrets
import string
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.domain.terms import Carrier
from masking.errors import MaskingError
from masking.privacy.keyring import Keyring
from masking.storage.database import Connection

AUTH = "account"
"""The kind under which tokens are hashed, and the purpose under which they are sealed."""

AUTH_ID = re.compile(r"(MA|SA)[A-Z0-9]{18}")
TOKEN_BYTES, TOKEN_LENGTH = 30, 40
"""Of the tokens that are made here: random bytes, and the characters that they are written in."""


class AccountError(MaskingError):
    """An account cannot be made or changed so; the message says why and what to do."""


class Principal(NamedTuple):
    """Who a request comes from.

    Attributes:
        account_id: the main account.
        subaccount_id: the subaccount it signed in as; None for the main account itself.
    """

    account_id: str
    subaccount_id: str | None


class Account(NamedTuple):
    """An account as the operator sees it.

    Attributes:
        carrier: who masks its sessions; None for whom its main account, or the settings, name.
        delete_recordings: whether the carrier deletes its recordings once they are fetched; None for what its main
            account, or the settings, say.
    """

    auth_id: str
    parent_id: str | None
    created_at: datetime
    disabled_at: datetime | None
    tokens: int
    numbers: int
    carrier: Carrier | None = None
    delete_recordings: bool | None = None


class NewToken(NamedTuple):
    """A token, readable this once."""

    auth_id: str
    auth_token: str


class SigningTokens(NamedTuple):
    """What an account's callbacks are signed with: the valid tokens, newest first.

    Attributes:
        own: the account's.
        main: its main account's; the same for a main account.
    """

    own: Sequence[str]
    main: Sequence[str]


class _TokenRow(NamedTuple):
    auth_id: str
    parent_id: str | None
    token_hash: bytes


class _SealedTokenRow(NamedTuple):
    token_key_id: str
    token_sealed: bytes
    is_own: bool


async def authenticate(connection: Connection, keyring: Keyring, auth_id: str, auth_token: str) -> Principal | None:
    """Who signs in with this id and token; None for a wrong token, and for what is disabled."""
    async with connection.cursor(row_factory=class_row(_TokenRow)) as cursor:
        await cursor.execute(
            "SELECT a.auth_id, a.parent_id, t.token_hash FROM accounts a JOIN tokens t USING (auth_id)"
            " LEFT JOIN accounts p ON p.auth_id = a.parent_id"
            " WHERE a.auth_id = %s AND a.disabled_at IS NULL AND p.disabled_at IS NULL"
            " AND (t.expires_at IS NULL OR t.expires_at > now())",
            (auth_id,),
        )
        rows = await cursor.fetchall()
    given = _token_hash(keyring, auth_id, auth_token)
    # Every row is compared, so that the time tells nothing.
    matching = [row for row in rows if hmac.compare_digest(row.token_hash, given)]
    if not matching:
        return None
    row = matching[0]
    return Principal(row.auth_id, None) if row.parent_id is None else Principal(row.parent_id, row.auth_id)


async def create_account(
    connection: Connection, keyring: Keyring, *, parent_id: str | None = None, carrier: Carrier | None = None
) -> NewToken:
    """Make an account, or a subaccount of `parent_id`, with a fresh id and token.

    Args:
        carrier: who masks its sessions; None for whom its main account, or the settings, name.

    Raises:
        AccountError: there is no such parent.
    """
    prefix = "MA" if parent_id is None else "SA"
    auth_id = prefix + "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(18))
    if parent_id is not None and (not parent_id.startswith("MA") or not await _exists(connection, parent_id)):
        raise AccountError("--parent must be the auth id of a main account that exists; see `masking accounts list`")
    await connection.execute(
        "INSERT INTO accounts (auth_id, parent_id, carrier) VALUES (%s, %s, %s)", (auth_id, parent_id, carrier)
    )
    return await _add_token(connection, keyring, auth_id)


async def rotate_token(connection: Connection, keyring: Keyring, auth_id: str, keep_old: timedelta) -> NewToken:
    """Give an account a fresh token; the old ones are valid for `keep_old` longer.

    Raises:
        AccountError: there is no such account.
    """
    await must_exist(connection, auth_id)
    await connection.execute(
        "UPDATE tokens SET expires_at = LEAST(expires_at, now() + %s) WHERE auth_id = %s", (keep_old, auth_id)
    )
    await connection.execute("DELETE FROM tokens WHERE auth_id = %s AND expires_at <= now()", (auth_id,))
    return await _add_token(connection, keyring, auth_id)


async def disable_account(connection: Connection, auth_id: str) -> None:
    """Let nobody in with this account, nor with its subaccounts. Its sessions go on.

    Raises:
        AccountError: there is no such account.
    """
    await must_exist(connection, auth_id)
    await connection.execute(
        "UPDATE accounts SET disabled_at = now() WHERE auth_id = %s AND disabled_at IS NULL", (auth_id,)
    )


async def enable_account(connection: Connection, auth_id: str) -> None:
    """Let an account in again that was disabled, and those of its subaccounts that were not disabled themselves.

    Raises:
        AccountError: there is no such account.
    """
    await must_exist(connection, auth_id)
    await connection.execute("UPDATE accounts SET disabled_at = NULL WHERE auth_id = %s", (auth_id,))


async def set_carrier(connection: Connection, auth_id: str, carrier: Carrier | None) -> None:
    """Let this carrier mask the account's sessions from now on; None for whom its main account, or the settings, name.

    Raises:
        AccountError: there is no such account.
    """
    await must_exist(connection, auth_id)
    await connection.execute("UPDATE accounts SET carrier = %s WHERE auth_id = %s", (carrier, auth_id))


async def carrier_of(connection: Connection, auth_id: str, parent_id: str) -> Carrier | None:
    """Who masks the sessions of an account, or of its main account `parent_id`; None where the settings decide."""
    found = await connection.execute(
        "SELECT carrier FROM accounts WHERE auth_id IN (%(of)s, %(parent)s) AND carrier IS NOT NULL"
        " ORDER BY auth_id = %(of)s DESC LIMIT 1",
        {"of": auth_id, "parent": parent_id},
    )
    row: tuple[Carrier] | None = await found.fetchone()  # type: ignore[assignment] # the column's CHECK
    return None if row is None else row[0]


async def set_deletion(connection: Connection, auth_id: str, delete: bool | None) -> None:
    """Have the carrier delete the account's recordings, of calls to come, once we have fetched them; or keep them.

    Args:
        delete: None for what its main account, or the settings, say.

    Raises:
        AccountError: there is no such account.
    """
    await must_exist(connection, auth_id)
    await connection.execute("UPDATE accounts SET delete_recordings = %s WHERE auth_id = %s", (delete, auth_id))


async def list_accounts(connection: Connection) -> list[Account]:
    """All accounts, each main account before its subaccounts."""
    async with connection.cursor(row_factory=class_row(Account)) as cursor:
        await cursor.execute(
            "SELECT a.auth_id, a.parent_id, a.created_at, a.disabled_at,"
            " (SELECT count(*) FROM tokens t WHERE t.auth_id = a.auth_id"
            "  AND (t.expires_at IS NULL OR t.expires_at > now())) AS tokens,"
            " (SELECT count(*) FROM numbers n WHERE n.account_id = a.auth_id) AS numbers, a.carrier,"
            " a.delete_recordings"
            " FROM accounts a ORDER BY COALESCE(a.parent_id, a.auth_id), a.parent_id IS NOT NULL, a.created_at"
        )
        return await cursor.fetchall()


async def ensure_account(connection: Connection, keyring: Keyring, auth_id: str, auth_token: str) -> None:
    """Make the main account `auth_id` with this token, if it is missing; one that exists keeps its tokens."""
    made = await connection.execute(
        "INSERT INTO accounts (auth_id) VALUES (%s) ON CONFLICT DO NOTHING RETURNING auth_id", (auth_id,)
    )
    if await made.fetchone() is not None:
        await ensure_token(connection, keyring, auth_id, auth_token)


async def ensure_token(connection: Connection, keyring: Keyring, auth_id: str, auth_token: str) -> None:
    """Let `auth_token` be valid for an account that exists, for good; its other tokens stay as they are."""
    await _add_token(connection, keyring, auth_id, auth_token)


async def is_open(connection: Connection, account_id: str, subaccount_id: str | None) -> bool:
    """Whether there is this main account, and this subaccount of it, and neither is disabled."""
    cursor = await connection.execute(
        "SELECT count(*) FROM accounts WHERE disabled_at IS NULL"
        " AND (auth_id = %(account)s AND parent_id IS NULL OR auth_id = %(sub)s AND parent_id = %(account)s)",
        {"account": account_id, "sub": subaccount_id},
    )
    row = await cursor.fetchone()
    return row is not None and row[0] == (1 if subaccount_id is None else 2)


async def is_subaccount_of(connection: Connection, auth_id: str, parent_id: str) -> bool:
    """Whether `auth_id` is an enabled subaccount of `parent_id`."""
    row = await connection.execute(
        "SELECT 1 FROM accounts WHERE auth_id = %s AND parent_id = %s AND disabled_at IS NULL", (auth_id, parent_id)
    )
    return await row.fetchone() is not None


async def must_exist(connection: Connection, auth_id: str) -> None:
    """Raise `AccountError` where there is no such account or subaccount."""
    await principal_of(connection, auth_id)


async def principal_of(connection: Connection, auth_id: str) -> Principal:
    """Whose sessions an account or subaccount has. Raises `AccountError` where there is none."""
    row: tuple[str | None] | None = None
    if AUTH_ID.fullmatch(auth_id):
        found = await connection.execute("SELECT parent_id FROM accounts WHERE auth_id = %s", (auth_id,))
        row = await found.fetchone()  # type: ignore[assignment] # an auth id
    if row is None:
        raise AccountError("there is no account with this auth id; list them with `masking accounts list`")
    return Principal(auth_id, None) if row[0] is None else Principal(row[0], auth_id)


async def auth_tokens(connection: Connection, keyring: Keyring, auth_id: str) -> Sequence[str]:
    """The account's valid tokens, newest first."""
    return (await signing_tokens(connection, keyring, auth_id)).own


async def signing_tokens(connection: Connection, keyring: Keyring, auth_id: str) -> SigningTokens:
    """What the callbacks of an account, or of a subaccount, are signed with."""
    async with connection.cursor(row_factory=class_row(_SealedTokenRow)) as cursor:
        await cursor.execute(
            "SELECT t.token_key_id, t.token_sealed, t.auth_id = a.auth_id AS is_own"
            " FROM accounts a JOIN tokens t ON t.auth_id IN (a.auth_id, a.parent_id)"
            " WHERE a.auth_id = %s AND (t.expires_at IS NULL OR t.expires_at > now()) ORDER BY t.created_at DESC",
            (auth_id,),
        )
        rows = await cursor.fetchall()
    tokens = [(row.is_own, keyring.open(row.token_key_id, row.token_sealed, AUTH).decode()) for row in rows]
    own = [token for is_own, token in tokens if is_own]
    return SigningTokens(own, [token for is_own, token in tokens if not is_own] or own)


async def ensure_numbers(connection: Connection, auth_id: str, numbers: Iterable[tuple[str, str]]) -> None:
    """Add virtual numbers (E.164, ISO country) to the account's pool; those that exist stay as they are."""
    for number, country in numbers:
        await connection.execute(
            "INSERT INTO numbers (number, account_id, country) VALUES (%s, %s, %s) ON CONFLICT (number) DO NOTHING",
            (number, auth_id, country),
        )


async def move_numbers(connection: Connection, auth_id: str, numbers: Collection[str]) -> int:
    """Give the account virtual numbers (E.164) that other accounts have, where no session lives on them.

    Returns:
        How many of them stay with another account.
    """
    # Locked, so that no session is opened on one between the look and the change.
    await connection.execute("SELECT FROM numbers WHERE number = ANY(%s) ORDER BY number FOR UPDATE", (list(numbers),))
    await connection.execute(
        "UPDATE numbers SET account_id = %(to)s WHERE number = ANY(%(numbers)s) AND account_id <> %(to)s"
        " AND NOT EXISTS (SELECT FROM routes r WHERE r.virtual_number = numbers.number AND r.expires_at > now())",
        {"to": auth_id, "numbers": list(numbers)},
    )
    left = await connection.execute(
        "SELECT FROM numbers WHERE number = ANY(%s) AND account_id <> %s", (list(numbers), auth_id)
    )
    return left.rowcount


async def _add_token(connection: Connection, keyring: Keyring, auth_id: str, auth_token: str | None = None) -> NewToken:
    token = auth_token if auth_token is not None else secrets.token_urlsafe(TOKEN_BYTES)
    key_id, sealed = keyring.seal(token.encode(), AUTH)
    await connection.execute(
        "INSERT INTO tokens (auth_id, token_hash, token_key_id, token_sealed) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (auth_id, token_hash) DO UPDATE SET expires_at = NULL",
        (auth_id, _token_hash(keyring, auth_id, token), key_id, sealed),
    )
    return NewToken(auth_id, token)


async def _exists(connection: Connection, auth_id: str) -> bool:
    row = await connection.execute("SELECT 1 FROM accounts WHERE auth_id = %s", (auth_id,))
    return await row.fetchone() is not None


def _token_hash(keyring: Keyring, auth_id: str, auth_token: str) -> bytes:
    return keyring.lookup_hash(AUTH, f"{auth_id}:{auth_token}")
