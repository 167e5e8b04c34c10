"""Wrong PINs of late, so that guessing is slowed across calls."""

from __future__ import annotations

from datetime import timedelta

from masking.domain.routing import Guesses
from masking.privacy.keyring import Keyring
from masking.storage.database import Connection
from masking.storage.routes import identity_hash


async def guesses(
    connection: Connection,
    keyring: Keyring,
    number: str,
    caller: str,
    window: timedelta,
    *,
    in_turn: bool = False,
    other_than: str = "",
) -> Guesses:
    """How many PINs were wrong within the window: of `caller` on any number, and of anybody on `number`.

    Args:
        number, caller: E.164; `caller` is empty when it hides.
        in_turn: wait until whoever enters a PIN there, or the same caller elsewhere, has been
            decided about, and let others wait until the transaction ends. So those who call
            many times at once have no more tries than others.
        other_than: the id of the try that is to be decided about, which may be told again.
    """
    of_caller = _caller_hash(keyring, number, caller)
    async with connection.pipeline():
        if in_turn:
            # The caller before the number, everywhere: so nobody waits in a circle.
            turns = [int.from_bytes(turn[:8], signed=True) for turn in (of_caller, keyring.lookup_hash("turn", number))]
            await connection.execute("SELECT pg_advisory_xact_lock(%s), pg_advisory_xact_lock(%s)", turns)
        counted = await connection.execute(
            "SELECT (SELECT count(*) FROM pin_failures WHERE caller_hash = %(caller)s"
            " AND failed_at > now() - %(window)s AND event_id <> %(other_than)s),"
            " (SELECT count(*) FROM pin_failures WHERE virtual_number = %(number)s"
            " AND failed_at > now() - %(window)s AND event_id <> %(other_than)s)",
            {"caller": of_caller, "number": number, "window": window, "other_than": other_than},
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
        (event_id, number, _caller_hash(keyring, number, caller)),
    )


def _caller_hash(keyring: Keyring, number: str, caller: str) -> bytes:
    """A caller; all who hide count as one, on each number for itself, so that they do not lock each other out."""
    return identity_hash(keyring, "number", caller) if caller else keyring.lookup_hash("hidden caller", number)
