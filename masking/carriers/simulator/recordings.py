"""The recordings that the network keeps: on disk as ciphertext only."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from masking.carriers.simulator.audio import recorded
from masking.privacy.keyring import KEY_BYTES, Unreadable, seal, unseal

SEALED = ".sealed"

_FILE = re.compile(r"[0-9a-f-]{36}\.(mp3|wav)")


class Recordings:
    """Audio files under AES-256-GCM, each bound to its name.

    Args:
        folder: made when the first is written, for its owner only.
        token: the network's own secret, from which the key follows. With another one, those that there are cannot
            be read any more.
    """

    def __init__(self, folder: Path, token: str) -> None:
        self._folder = folder
        self._key = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"recordings").derive(token.encode())

    def record(self, file: str, seconds: int) -> None:
        """Record a conversation; the file's ending tells its format, `mp3` or `wav`."""
        self._write(file, recorded(file.rpartition(".")[2], seconds))

    def read(self, file: str) -> bytes | None:
        """The audio; None if there is no such recording, or it cannot be read."""
        if not _FILE.fullmatch(file):
            return None
        try:
            return unseal(self._key, (self._folder / f"{file}{SEALED}").read_bytes(), file.encode())
        except (FileNotFoundError, Unreadable):
            return None

    def delete(self, file: str) -> None:
        """Delete a recording; one that is not there is fine."""
        if _FILE.fullmatch(file):
            (self._folder / f"{file}{SEALED}").unlink(missing_ok=True)

    def seal_plain(self) -> None:
        """Put audio that an older version wrote in the clear under the key."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if _FILE.fullmatch(path.name):
                    self._write(path.name, path.read_bytes())
                    path.unlink()

    def _write(self, file: str, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{file}{SEALED}"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as sealed:
            sealed.write(seal(self._key, content, file.encode()))
