"""Each session has a data key of its own; a master key wraps it."""

from __future__ import annotations

import hmac
import os
import zlib
from collections import OrderedDict
from typing import TypeVar

from masking.domain.model import Model
from masking.privacy.keyring import KEY_BYTES, Keyring, derive, seal, unseal

PURPOSE = "session data key"
DIGEST = "session digests"

COMPRESSED_FROM = 2048
"""Bytes."""
ZLIB = b"\x78"
"""How compressed content begins; JSON of a model begins with a brace."""

ModelT = TypeVar("ModelT", bound=Model)


class SessionCipher:
    """Encrypts what PostgreSQL keeps of one session.

    Args:
        session_uuid: bound into every ciphertext, so that none can be moved to another session.
        data_key: the session's key, 32 bytes.
    """

    def __init__(self, session_uuid: str, data_key: bytes) -> None:
        self._associated = session_uuid.encode()
        self._data_key = data_key

    @property
    def data_key(self) -> bytes:
        """The session's key, 32 bytes. Whoever has it can read the session, also after its erasure."""
        return self._data_key

    def seal(self, model: Model) -> bytes:
        """The ciphertext of a model, compressed first where it is large."""
        content = model.model_dump_json().encode()
        if len(content) >= COMPRESSED_FROM:
            content = zlib.compress(content, 1)
        return seal(self._data_key, content, self._associated)

    def seal_bytes(self, content: bytes) -> bytes:
        """The ciphertext of something that is no model."""
        return seal(self._data_key, content, self._associated)

    def open_bytes(self, ciphertext: bytes) -> bytes:
        """What `seal_bytes` sealed.

        Raises:
            Unreadable: it was altered, or is another session's.
        """
        return unseal(self._data_key, ciphertext, self._associated)

    def digest(self, text: str) -> bytes:
        """A keyed hash, 32 bytes, that tells the same from other texts of the session; after its erasure, nobody's."""
        return hmac.digest(derive(self._data_key, DIGEST), text.encode(), "sha256")

    def open(self, model_type: type[ModelT], ciphertext: bytes) -> ModelT:
        """The model in a ciphertext.

        Raises:
            Unreadable: it was altered, or is another session's.
        """
        content = unseal(self._data_key, ciphertext, self._associated)
        if content.startswith(ZLIB):
            content = zlib.decompress(content)
        return model_type.model_validate_json(content)


class RecentCiphers:
    """The ciphers of the sessions that were used last, so that their keys need not be fetched again and again.

    Args:
        most: how many.
    """

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._ciphers: OrderedDict[str, SessionCipher] = OrderedDict()

    def get(self, session_uuid: str) -> SessionCipher | None:
        """The session's cipher, if it is still known."""
        return self._ciphers.get(session_uuid)

    def keep(self, session_uuid: str, cipher: SessionCipher) -> None:
        """Know it for a while."""
        self._ciphers[session_uuid] = cipher
        self._ciphers.move_to_end(session_uuid)
        if len(self._ciphers) > self._most:
            self._ciphers.popitem(last=False)

    def forget(self, session_uuid: str) -> None:
        """The session is over."""
        self._ciphers.pop(session_uuid, None)


def new_wrapped_key(keyring: Keyring) -> tuple[str, bytes]:
    """A fresh data key, wrapped: the master key's id and the ciphertext."""
    return keyring.seal(os.urandom(KEY_BYTES), PURPOSE)


def wrapped_key(keyring: Keyring, cipher: SessionCipher) -> tuple[str, bytes]:
    """A known data key, wrapped by the current master key: its id and the ciphertext."""
    return keyring.seal(cipher.data_key, PURPOSE)


def unwrapped(keyring: Keyring, session_uuid: str, key_id: str, wrapped: bytes) -> SessionCipher:
    """The cipher of a session whose wrapped key is at hand."""
    return SessionCipher(session_uuid, keyring.open(key_id, wrapped, PURPOSE))
