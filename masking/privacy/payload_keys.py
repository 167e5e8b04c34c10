"""Which key each of Temporal's payloads is under, as its metadata tell.

- `session-UUID`: the session's own data key, which its erasure destroys. All that belongs to a session alone.
- `ingress-2026-11-27`: the ingress key of a day. What other services write, and what they are to read.
- any other: a master key of the key ring. What has no session, and sessions of before there were the others.

Metadata name a session by the bytes of its id: in text, histories would be 5 % longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol
from uuid import UUID

from masking.privacy.keyring import derive, seal, unseal
from masking.privacy.session_cipher import SessionCipher

PURPOSE = "temporal payload"

SESSION = "session-"
"""How the id of a session's own key begins; the session's id follows."""

KEY_ID, OF_SESSION = "encryption-key-id", "session"
"""The metadata that name a key: by its id, or a session's own by the session."""

BILL_IN_CLEAR = "masking-bill-in-clear"
"""Besides, on what a session is started with: whoever asked for it wrote in the clear, and gets its bill so."""

UUID_BYTES = 16


def naming(key_id: str) -> Mapping[str, bytes]:
    """The metadata that name a key."""
    if not key_id.startswith(SESSION):
        return {KEY_ID: key_id.encode()}
    session_uuid = key_id.removeprefix(SESSION)
    with suppress(ValueError):
        if str(UUID(session_uuid)) == session_uuid:
            return {OF_SESSION: UUID(session_uuid).bytes}
    return {OF_SESSION: session_uuid.encode()}


def named(metadata: Mapping[str, bytes]) -> str:
    """The id of the key that metadata name; empty where they name none."""
    session = metadata.get(OF_SESSION)
    if session is None:
        return metadata.get(KEY_ID, b"").decode(errors="replace")
    return f"{SESSION}{UUID(bytes=session) if len(session) == UUID_BYTES else session.decode(errors='replace')}"


class PayloadKey:
    """A key that payloads are under.

    Args:
        key_id: what it is called.
        key: 32 bytes.
        associated: bound into every ciphertext.
    """

    def __init__(self, key_id: str, key: bytes, associated: bytes) -> None:
        self.key_id = key_id
        self.metadata = naming(key_id)
        self._key, self._associated = key, associated

    def seal(self, content: bytes) -> bytes:
        """The ciphertext of a payload."""
        return seal(self._key, content, self._associated)

    def open(self, ciphertext: bytes) -> bytes:
        """The payload in a ciphertext.

        Raises:
            Unreadable: it was altered, or is under another key.
        """
        return unseal(self._key, ciphertext, self._associated)


def of_session(session_uuid: str, cipher: SessionCipher) -> PayloadKey:
    """A session's own. No row of its can be passed off as a payload, nor the other way round."""
    return PayloadKey(f"{SESSION}{session_uuid}", cipher.data_key, f"{PURPOSE} of {session_uuid}".encode())


def of_ingress(key_id: str, key: bytes) -> PayloadKey:
    """That of a day, as a service's key ring uses it."""
    return PayloadKey(key_id, derive(key, PURPOSE), PURPOSE.encode())


class Writing(NamedTuple):
    """What a session's payloads are written under; None stands for the current master key.

    Attributes:
        inner: what the session alone reads.
        answers: what whoever started it reads: answers to updates and queries, failures of these, the final bill.
        bill_in_clear: the final bill is under no key at all, since whoever started it has none.
    """

    inner: PayloadKey | None
    answers: PayloadKey | None
    bill_in_clear: bool = False


UNDER_MASTER = Writing(None, None)


class PayloadKeys(Protocol):
    """Where the codec finds keys that are not in the key ring."""

    async def reading(self, key_id: str) -> PayloadKey:
        """The key of this id, of a session or a day.

        Raises:
            Unreadable: it was destroyed, or there never was one.
            KeysAway: it cannot be had at the moment.
        """

    async def writing(self, session_uuid: str) -> Writing:
        """What a session's payloads are to be under. Raises what `reading` raises."""

    def note_start(self, session_uuid: str, key_id: str, *, bill_in_clear: bool = False) -> None:
        """A payload of the session is under a key that is not its own. The first one is its start."""
