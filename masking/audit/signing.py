"""Who signs packs: an Ed25519 key that follows from the key ring and is stored nowhere."""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from masking.privacy.keyring import Keyring

DATA_KEY_ID = b"masking evidence: which data key"


class Signer:
    """Signs in the name of a system. The key stays the same when master keys rotate."""

    def __init__(self, keyring: Keyring) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(keyring.derived_key("evidence packs"))

    @property
    def public_key(self) -> str:
        """What packs are checked with, 32 bytes in base64."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, content: bytes) -> bytes:
        """The signature, 64 bytes."""
        return self._key.sign(content)


def is_signed(public_key: str, signature: bytes, content: bytes) -> bool:
    """Whether the holder of this public key signed it."""
    try:
        key = base64.b64decode(public_key, validate=True)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, content)
    except (ValueError, InvalidSignature):
        return False
    return True


def data_key_id(data_key: bytes) -> str:
    """Tells one data key from another, and nothing else about it."""
    return hmac.digest(data_key, DATA_KEY_ID, hashlib.sha256).hex()[:16]
