"""How the parties of a session are found in Temporal's lists, whose attributes rest in the clear."""

from __future__ import annotations

from collections.abc import Callable

from masking.privacy.keyring import Keyring

PURPOSE = "party in Temporal's lists"
HEX_DIGITS = 32


def party_hash(keyring: Keyring) -> Callable[[str], str]:
    """Hashes a number in E.164 under the look-up key: another hash than that of the same number in PostgreSQL."""
    return lambda number: keyring.lookup_hash(PURPOSE, number).hex()[:HEX_DIGITS]
