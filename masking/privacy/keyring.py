"""The keys: master keys by id, and the key of the look-up hashes.

A master key wraps each session's own data key and derives the key of Temporal's payloads.
The look-up key never rotates with it, since hashes must stay comparable.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from masking.errors import MaskingError, StartupError
from masking.settings import Settings

KEY_BYTES = 32
NONCE_BYTES = 12


class Unreadable(MaskingError):
    """A ciphertext cannot be read: it was altered, or its key is not in the key ring."""


class _KeyFile(BaseModel):
    """The form of the key file and of `MASKING_KEYS`: keys as base64 of 32 bytes."""

    model_config = ConfigDict(hide_input_in_errors=True)

    current: str
    master: dict[str, SecretStr] = Field(min_length=1)
    lookup: SecretStr


class Keyring:
    """The keys in memory.

    Args:
        master: master keys by id; each 32 bytes.
        current: the id of the one that encrypts.
        lookup: the key of look-up hashes, 32 bytes.
    """

    def __init__(self, master: dict[str, bytes], current: str, lookup: bytes) -> None:
        self._master = master
        self._lookup = lookup
        self._derived: dict[tuple[str, str], bytes] = {}
        self.current = current

    def seal(self, plaintext: bytes, purpose: str) -> tuple[str, bytes]:
        """Encrypt under the current master key. Returns the key's id and the ciphertext.

        `purpose` is one of a few fixed words: each has its own key, and a ciphertext made
        for one cannot be passed off as made for another.
        """
        return self.current, seal(self._key(self.current, purpose), plaintext, purpose.encode())

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
        return base64.b32encode(_derive(self._lookup, f"token {purpose}"))[:40].decode()

    def _key(self, key_id: str, purpose: str) -> bytes:
        derived = self._derived.get((key_id, purpose))
        if derived is None:
            master = self._master.get(key_id)
            if master is None:
                raise Unreadable("the key ring lacks the key of a ciphertext; add it to the keys in use")
            derived = self._derived[key_id, purpose] = _derive(master, purpose)
        return derived


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


def load_keyring(settings: Settings) -> Keyring:
    """Read the keys from `MASKING_KEYS`, or from the file that `MASKING_KEYS_FILE` names.

    Raises:
        StartupError: neither is set, or what they hold is no key ring.
    """
    if settings.keys is not None:
        return _parse(settings.keys.get_secret_value(), "MASKING_KEYS")
    path = settings.keys_file
    if path is None:
        raise StartupError("no keys: set MASKING_KEYS_FILE to a key file, or MASKING_KEYS to its content")
    try:
        content = path.read_text()
    except OSError as error:
        raise StartupError(f"MASKING_KEYS_FILE: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise StartupError(f"MASKING_KEYS_FILE: {path} is no text") from None
    return _parse(content, "MASKING_KEYS_FILE")


def new_key_file() -> str:
    """The content of a key file with fresh keys."""
    master, lookup = (base64.b64encode(os.urandom(KEY_BYTES)).decode() for _ in range(2))
    content = {"current": "k1", "master": {"k1": master}, "lookup": lookup}
    return json.dumps(content, indent=2) + "\n"


def ensure_keys_file(path: Path) -> None:
    """Make the key file if it is missing: mode 0600, never overwriting one that exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(new_key_file())


def _parse(content: str, source: str) -> Keyring:
    try:
        parsed = _KeyFile.model_validate_json(content)
        master = {key_id: _key_bytes(key) for key_id, key in parsed.master.items()}
        lookup = _key_bytes(parsed.lookup)
    except (ValidationError, ValueError):
        raise StartupError(
            f'{source} is no key ring: JSON with "current", "master" and "lookup", each key 32 bytes in base64'
        ) from None
    if parsed.current not in master:
        raise StartupError(f"{source}: the current key is not among its master keys")
    return Keyring(master, parsed.current, lookup)


def _key_bytes(encoded: SecretStr) -> bytes:
    key = base64.b64decode(encoded.get_secret_value(), validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError("wrong length")
    return key


def _derive(key: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(key)
