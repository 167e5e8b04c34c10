"""The keys: master keys by id, and the key of the look-up hashes.

A master key wraps each session's own data key, and the ingress keys under which other services write.
The look-up key never rotates with it, since hashes must stay comparable.

Other services hold a ring of ingress keys instead, one for each day (`masking keys ingress export`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from masking.errors import MaskingError, StartupError
from masking.privacy.key_command import printed
from masking.settings import Settings

KEY_BYTES = 32
NONCE_BYTES = 12

FOLLOW_EVERY_S, UNKNOWN_KEY_EVERY_S = 5.0, 1.0
"""How often a process looks whether the key file has changed: while all goes well, and for a key it does not know."""

logger = logging.getLogger(__name__)

_NUMBERED = re.compile(r"k[0-9]{1,6}")


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
                raise Unreadable("the key ring lacks the key of a ciphertext; add it to the keys in use")
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


def load_keyring(settings: Settings) -> Keyring:
    """Read the keys from `MASKING_KEYS`, from what `MASKING_KEYS_COMMAND` prints, or from `MASKING_KEYS_FILE`.

    Raises:
        StartupError: none is set, or what they hold is no key ring.
    """
    if settings.keys is not None:
        return _parse(settings.keys.get_secret_value(), "MASKING_KEYS")
    if settings.keys_command is not None:
        return _parse(printed(settings.keys_command), "MASKING_KEYS_COMMAND")
    if settings.keys_file is None:
        raise StartupError("no keys: set MASKING_KEYS_FILE to a key file, or MASKING_KEYS to its content")
    file = _KeyFollower(settings.keys_file)
    return file.read(source=file.newer)


class _KeyFollower:
    """A key file that may be replaced while it is in use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None

    def read(self, source: Callable[[], Keyring | None] | None = None) -> Keyring:
        try:
            self._seen = self._state()
            content = self._path.read_text()
        except OSError as error:
            raise StartupError(f"MASKING_KEYS_FILE: cannot read {self._path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise StartupError(f"MASKING_KEYS_FILE: {self._path} is no text") from None
        return _parse(content, "MASKING_KEYS_FILE", source)

    def newer(self) -> Keyring | None:
        try:
            return self.read() if self._state() != self._seen else None
        except (StartupError, OSError):
            logger.error("the key file has changed and cannot be read; the keys in use stay")
            return None

    def _state(self) -> tuple[int, ...]:
        found = self._path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size


def new_key_file() -> str:
    """The content of a key file with fresh keys."""
    return _written({"current": "k1", "master": {"k1": _new_key()}, "lookup": _new_key()})


def add_master_key(path: Path) -> str:
    """Add a fresh master key to a key file, for everything that is encrypted from now on. Returns its id.

    The file is replaced at once and whole, with its mode.

    Raises:
        StartupError: it cannot be read or written, or is no key ring.
    """
    ring = _KeyFollower(path).read()
    key_id = f"k{1 + max((int(known[1:]) for known in ring.master_ids if _NUMBERED.fullmatch(known)), default=0)}"
    try:
        content = json.loads(path.read_text())
        content["master"][key_id], content["current"] = _new_key(), key_id
        beside = path.with_name(f".{path.name}.new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            file.write(_written(content))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise StartupError(f"MASKING_KEYS_FILE: cannot write {path}: {error.strerror}") from None
    return key_id


def _new_key() -> str:
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def _written(content: dict[str, object]) -> str:
    return json.dumps(content, indent=2) + "\n"


def ensure_keys_file(path: Path) -> None:
    """Make the key file if it is missing: mode 0600, never overwriting one that exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(new_key_file())


def _parse(content: str, name: str, source: Callable[[], Keyring | None] | None = None) -> Keyring:
    # It is a kind of key ring itself.
    from masking.privacy.ingress import parsed_ingress

    if (ingress := parsed_ingress(content, source)) is not None:
        return ingress
    try:
        parsed = _KeyFile.model_validate_json(content)
        master = {key_id: key_bytes(key) for key_id, key in parsed.master.items()}
        lookup = key_bytes(parsed.lookup)
    except (ValidationError, ValueError):
        raise StartupError(
            f'{name} is no key ring: JSON with "current", "master" and "lookup", each key 32 bytes in base64'
        ) from None
    if parsed.current not in master:
        raise StartupError(f"{name}: the current key is not among its master keys")
    return Keyring(master, parsed.current, lookup, source)


def key_bytes(encoded: SecretStr) -> bytes:
    """A key as key files hold it. Raises `ValueError` where it is none."""
    key = base64.b64decode(encoded.get_secret_value(), validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError("wrong length")
    return key


def derive(key: bytes, purpose: str) -> bytes:
    """The key that follows from another one for a purpose. 32 bytes."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(key)
