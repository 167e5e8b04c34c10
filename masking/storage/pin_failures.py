"""Wrong PINs of late, so that guessing is slowed across calls."""

from __future__ import annotations

from datetime import timedelta

from masking.domain.routing import Guesses
from masking.privacy.keyring import Keyring
from masking.storage.database import Connection
from masking.storage.routes import identity_hash

HIDDEN = "hidden"
"""Callers who hide their number count as one."""


async def guesses(connection: Connection, keyring: Keyring, number: str, caller: str, window: timedelta) -> Guesses:
    """How many PINs were wrong within the window, on `number` and of `caller` (E.164; empty when it hides)."""
    counted = await connection.execute(
        "SELECT count(*) FILTER (WHERE caller_hash = %s), count(*) FROM pin_failures"
        " WHERE virtual_number = %s AND failed_at > now() - %s",
        (identity_hash(keyring, "number", caller or HIDDEN), number, window),
    )
    by_caller, on_number = await counted.fetchone() or (0, 0)
    return Guesses(by_caller=int(str(by_caller)), on_number=int(str(on_number)))


async def note_failure(
    connection: Connection, keyring: Keyring, event_id: str, number: str, caller: str, window: timedelta
) -> None:
    """Note a wrong PIN; the same one told again counts once. Forgets those that no window reaches any more."""
    await connection.execute("DELETE FROM pin_failures WHERE failed_at < now() - %s", (window,))
    await connection.execute(
        "INSERT INTO pin_failures (event_id, virtual_number, caller_hash) VALUES (%s, %s, %s)"
        " ON CONFLICT (event_id) DO NOTHING",
        (event_id, number, identity_hash(keyring, "number", caller or HIDDEN)),
    )
