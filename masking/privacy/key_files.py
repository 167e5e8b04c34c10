"""Where a process has its keys from: a key file, which may be replaced meanwhile, a variable, or a command."""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from masking.errors import StartupError
from masking.privacy.ingress import parsed_ingress
from masking.privacy.key_command import printed
from masking.privacy.keyring import KEY_BYTES, Keyring, key_bytes
from masking.settings import Settings

logger = logging.getLogger(__name__)

_NUMBERED = re.compile(r"k[0-9]{1,6}")


class _KeyFile(BaseModel):
    """The form of the key file and of `MASKING_KEYS`: keys as base64 of 32 bytes."""

    model_config = ConfigDict(hide_input_in_errors=True)

    current: str
    master: dict[str, SecretStr] = Field(min_length=1)
    lookup: SecretStr


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
            # Of before it is read: one that changes meanwhile is read again. So is one that may not be read yet, which
            # nothing but its owner or its mode has to change for.
            state = self._state()
            content = self._path.read_bytes()
        except OSError as error:
            raise StartupError(f"MASKING_KEYS_FILE: cannot read {self._path}: {error.strerror}") from None
        self._seen = state
        try:
            return _parse(content.decode(), "MASKING_KEYS_FILE", source)
        except UnicodeDecodeError:
            raise StartupError(f"MASKING_KEYS_FILE: {self._path} is no text") from None

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

    The file is replaced at once and whole, with its owner and mode, so that whoever could read it still can.

    Raises:
        StartupError: it cannot be read or written, is no key ring, or is being changed by another process.
    """
    # What a link stands for: others may read it by its own name.
    path = path.resolve()
    with _alone(path):
        ring = _KeyFollower(path).read()
        key_id = f"k{1 + max((int(known[1:]) for known in ring.master_ids if _NUMBERED.fullmatch(known)), default=0)}"
        try:
            content = json.loads(path.read_text())
            content["master"][key_id], content["current"] = _new_key(), key_id
            write_key_file(path, _written(content))
        except OSError as error:
            raise StartupError(f"MASKING_KEYS_FILE: cannot write {path}: {error.strerror}") from None
    return key_id


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from changing a key file: of two keys with one id, one would be lost, and what is under it."""
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise StartupError(f"MASKING_KEYS_FILE: cannot read {path.parent}: {error.strerror}") from None
    try:
        # Of the folder, since the file itself becomes another one. It ends with the process.
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StartupError(f"MASKING_KEYS_FILE: another process is changing {path} at this moment") from None
    finally:
        os.close(folder)


def write_key_file(path: Path, content: str) -> None:
    """Write a key file whole or not at all: readable by its owner only; one that it replaces keeps its owner and mode.

    Raises:
        OSError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.new")
    like = path.stat() if path.exists() else None
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            if like is not None:
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
                os.fchmod(file.fileno(), like.st_mode & 0o777)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _new_key() -> str:
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def _written(content: dict[str, object]) -> str:
    return json.dumps(content, indent=2) + "\n"


def ensure_keys_file(path: Path) -> None:
    """Make the key file if it is missing: mode 0600, never overwriting one that exists.

    Raises:
        OSError: it cannot be written, and is not there.
    """
    with _alone(path):
        if not path.exists():
            write_key_file(path, new_key_file())


def _parse(content: str, name: str, source: Callable[[], Keyring | None] | None = None) -> Keyring:
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
