"""Customers' endpoints that keep failing, as the senders find them: each sender rests for itself, all write here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg.rows import class_row

from masking.privacy.keyring import Keyring, Unreadable
from masking.storage.accounts import Principal
from masking.storage.database import Connection

PURPOSE = "callback endpoint"

SHOWN_FOR = timedelta(hours=1)
"""After its last rest an endpoint to which nothing goes any more is forgotten."""


class FailingEndpoint(NamedTuple):
    """An endpoint that has failed several times in a row.

    Attributes:
        owner_id: the account or subaccount whose callbacks go there.
        endpoint: scheme, host and port; None when it cannot be decrypted.
        failures: tries in a row that were not taken, as the sender that wrote last counts them.
        rests_until: nothing is sent there before; then one callback finds out how it does.
    """

    owner_id: str
    endpoint: str | None
    failures: int
    last_outcome: str
    rests_until: datetime


def endpoint_hash(keyring: Keyring, owner_id: str, origin: str) -> bytes:
    """What an account's endpoint is found by."""
    return keyring.lookup_hash(PURPOSE, f"{owner_id} {origin}")


async def note_rest(
    connection: Connection, keyring: Keyring, owner_id: str, origin: str, failures: int, outcome: str, rest: timedelta
) -> None:
    """An endpoint rests from now on; the note goes with the first callback that it takes."""
    key_id, sealed = keyring.seal(origin.encode(), PURPOSE)
    await connection.execute("DELETE FROM callback_endpoints WHERE rests_until < now() - %s", (SHOWN_FOR,))
    await connection.execute(
        "INSERT INTO callback_endpoints (endpoint_hash, owner_id, key_id, sealed_endpoint, failures, last_outcome,"
        " rests_until) VALUES (%s, %s, %s, %s, %s, %s, now() + %s) ON CONFLICT (endpoint_hash) DO UPDATE SET"
        " failures = excluded.failures, last_outcome = excluded.last_outcome, rests_until = excluded.rests_until",
        (endpoint_hash(keyring, owner_id, origin), owner_id, key_id, sealed, failures, outcome, rest),
    )


class _Row(NamedTuple):
    owner_id: str
    key_id: str
    sealed_endpoint: bytes
    failures: int
    last_outcome: str
    rests_until: datetime


async def failing(
    connection: Connection, keyring: Keyring, owner: Principal | None = None, limit: int = 1000
) -> list[FailingEndpoint]:
    """The endpoints that keep failing, the worst first: of an account and its subaccounts, or of all."""
    account_id, subaccount_id = owner or (None, None)
    async with connection.cursor(row_factory=class_row(_Row)) as cursor:
        await cursor.execute(
            "SELECT owner_id, key_id, sealed_endpoint, failures, last_outcome, rests_until"
            " FROM callback_endpoints JOIN accounts ON auth_id = owner_id WHERE rests_until > now() - %(shown)s"
            " AND (%(account_id)s::text IS NULL OR coalesce(parent_id, auth_id) = %(account_id)s)"
            " AND (%(subaccount_id)s::text IS NULL OR auth_id = %(subaccount_id)s)"
            " ORDER BY failures DESC, endpoint_hash LIMIT %(limit)s",
            {"shown": SHOWN_FOR, "account_id": account_id, "subaccount_id": subaccount_id, "limit": limit},
        )
        rows = await cursor.fetchall()
    return [
        FailingEndpoint(row.owner_id, _opened(keyring, row), row.failures, row.last_outcome, row.rests_until)
        for row in rows
    ]


def _opened(keyring: Keyring, row: _Row) -> str | None:
    try:
        return keyring.open(row.key_id, row.sealed_endpoint, PURPOSE).decode()
    except Unreadable:
        return None
