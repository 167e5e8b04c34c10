"""The keys: master keys by id, and the key of the look-up hashes.

A master key wraps each session's own data key, and the ingress keys under which other services write.
The look-up key never rotates with it, since hashes must stay comparable.

Other services hold a ring of ingress keys instead, one for each day (`masking keys ingress export`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import time
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from masking.errors import MaskingError

KEY_BYTES = 32
NONCE_BYTES = 12

FOLLOW_EVERY_S, UNKNOWN_KEY_EVERY_S = 5.0, 1.0
"""How often a process looks whether the key file has changed: while all goes well, and for a key it does not know."""

logger = logging.getLogger(__name__)


class Unreadable(MaskingError):
    """A ciphertext cannot be read: it was altered, or its key is not in the key ring."""


class KeyMissing(Unreadable):
    """The key of a ciphertext is not in the key ring; another process, which it reached earlier, may use it already."""


class Keyring:
    """The keys in memory.

    Args:
        master: master keys by id; each 32 bytes.
        current: the id of the one that encrypts.
        lookup: the key of look-up hashes, 32 bytes.
        source: tells whether there are newer keys by now: the ring with them, or None. So keys rotate under a
            process that runs.
    """

    def __init__(
        self, master: dict[str, bytes], current: str, lookup: bytes, source: Callable[[], Keyring | None] | None = None
    ) -> None:
        self._master = master
        self._lookup = lookup
        self._derived: dict[tuple[str, str], bytes] = {}
        self._current = current
        self._source = source
        self._looked_at = self._missed_at = float("-inf")

    @property
    def current(self) -> str:
        """The id of the master key that encrypts."""
        if self._source is not None and time.monotonic() - self._looked_at >= FOLLOW_EVERY_S:
            self._follow(self._source)
        return self._current

    @property
    def master_ids(self) -> tuple[str, ...]:
        """The ids of the master keys."""
        return tuple(self._master)

    def seal(self, plaintext: bytes, purpose: str) -> tuple[str, bytes]:
        """Encrypt under the current master key. Returns the key's id and the ciphertext.

        `purpose` is one of a few fixed words: each has its own key, and a ciphertext made
        for one cannot be passed off as made for another.
        """
        current = self.current
        return current, seal(self._key(current, purpose), plaintext, purpose.encode())

    def open(self, key_id: str, ciphertext: bytes, purpose: str) -> bytes:
        """Decrypt what `seal` made for the same purpose.

        Raises:
            Unreadable: the key is not here, or the ciphertext was altered.
        """
        return unseal(self._key(key_id, purpose), ciphertext, purpose.encode())

    def lookup_hash(self, kind: str, value: str) -> bytes:
        """A keyed hash by which `value` can be found without being stored. 32 bytes."""
        return hmac.digest(self._lookup, f"{kind}:{value}".encode(), hashlib.sha256)

    def derived_token(self, purpose: str) -> str:
        """A secret of 40 characters that is the same at every start and is stored nowhere."""
        return base64.b32encode(derive(self._lookup, f"token {purpose}"))[:40].decode()

    def derived_key(self, purpose: str) -> bytes:
        """A key of 32 bytes that is the same at every start, whatever master keys there are, and is stored nowhere."""
        return derive(self._lookup, f"key {purpose}")

    def _key(self, key_id: str, purpose: str) -> bytes:
        derived = self._derived.get((key_id, purpose))
        if derived is None:
            if key_id not in self._master:
                self._look_for_unknown()
            master = self._master.get(key_id)
            if master is None:
                raise KeyMissing("the key ring lacks the key of a ciphertext; add it to the keys in use")
            derived = self._derived[key_id, purpose] = derive(master, purpose)
        return derived

    def _look_for_unknown(self) -> None:
        """Another process may have begun to use a new key already."""
        now = time.monotonic()
        if self._source is not None and now - self._missed_at >= UNKNOWN_KEY_EVERY_S:
            self._missed_at = now
            self._follow(self._source)

    def _follow(self, source: Callable[[], Keyring | None]) -> None:
        self._looked_at = time.monotonic()
        newer = source()
        if newer is None:
            return
        if newer._lookup != self._lookup:
            logger.error("the key file has another look-up key, which must never change; its keys are not taken over")
            return
        if any(self._master.get(key_id, key) != key for key_id, key in newer._master.items()):
            logger.error("the key file has other keys under ids that are in use; its keys are not taken over")
            return
        # A key that was taken out of the file stays until the end of the process.
        self._master = {**self._master, **newer._master}
        self._current = newer._current
        logger.info("the keys have changed; %s encrypts from now on", self._current)


def seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """AES-256-GCM with a fresh nonce, which stands before the ciphertext."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, associated)


def unseal(key: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """Undo `seal`.

    Raises:
        Unreadable: it was altered, or belongs to another key or place.
    """
    try:
        return AESGCM(key).decrypt(ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:], associated)
    except (InvalidTag, ValueError):
        raise Unreadable("a ciphertext was altered or belongs to another key") from None


def key_bytes(encoded: SecretStr) -> bytes:
    """A key as key files hold it. Raises `ValueError` where it is none."""
    key = base64.b64decode(encoded.get_secret_value(), validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError("wrong length")
    return key


def derive(key: bytes, purpose: str) -> bytes:
    """The key that follows from another one for a purpose. 32 bytes."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(key)
