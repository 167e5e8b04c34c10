"""Where recordings are kept: a folder, or a bucket of object storage. For threads; every call may wait."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from masking.errors import MaskingError, StorageAway
from masking.objects.bucket import store_of, telling
from masking.objects.folder import made_ready, written
from masking.objects.place import Bucket, named_place

if TYPE_CHECKING:
    from masking.objects.bucket import ObjectStore

PIECE = 256 * 1024
"""Bytes that are read at once."""
PART = 5 * 1024 * 1024


class RecordingStore(Protocol):
    """Files by name: a session's id, a slash and letters and digits. Each is there whole or not at all."""

    def prepare(self) -> None:
        """Remove what processes that were killed left unfinished.

        Raises:
            StorageAway: the place cannot be used.
        """

    def put(self, name: str, file: Path) -> None:
        """Keep a file's content; it takes the place of what was kept under the name.

        Raises:
            StorageAway: it cannot be written now.
        """

    def read(self, name: str) -> Iterator[bytes]:
        """The content, piece by piece.

        Raises:
            StorageAway: it cannot be read now.
            MaskingError: there is none.
        """

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is fine.

        Raises:
            StorageAway: it cannot be removed now.
        """


def open_store(place: str) -> RecordingStore:
    """The store at a path or a URL. Nothing is asked of it yet.

    Raises:
        MaskingError: the place is written wrongly.
    """
    found = named_place("MASKING_RECORDINGS", place)
    return FolderStore(found) if isinstance(found, Path) else BucketStore(found)


class FolderStore:
    """A sub-folder for each session; see `RecordingStore`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder, and tidy it."""
        try:
            made_ready(self._folder)
        except OSError as error:
            raise self._away("written", error) from None

    def put(self, name: str, file: Path) -> None:
        """Write it beside its place, then put it there in one step."""
        try:
            with written(self._folder / name, replaces=True) as kept, file.open("rb") as source:
                shutil.copyfileobj(source, kept, PIECE)
        except OSError as error:
            raise self._away("written", error) from None

    def read(self, name: str) -> Iterator[bytes]:
        """Read a file."""
        try:
            with (self._folder / name).open("rb") as file:
                while piece := file.read(PIECE):
                    yield piece
        except FileNotFoundError:
            raise MaskingError(f"cannot read {self._folder / name}: it is not there") from None
        except OSError as error:
            raise self._away("read", error) from None

    def remove(self, name: str) -> None:
        """Remove a file, and its folder with the last one."""
        path = self._folder / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise self._away("written", error) from None
        try:
            path.parent.rmdir()
        except OSError:
            # Others are in it, or it is gone.
            return

    def _away(self, what: str, error: OSError) -> StorageAway:
        return StorageAway(f"{self._folder} cannot be {what} ({error.strerror}): mend it, or set MASKING_RECORDINGS")


class BucketStore:
    """Objects; see `RecordingStore`. A large one is sent in parts, and is there once all of them are."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    @cached_property
    def _store(self) -> ObjectStore:
        return store_of(self._bucket)

    def prepare(self) -> None:
        """Nothing to tidy: the storage forgets parts by its own rules."""

    def put(self, name: str, file: Path) -> None:
        """Send it."""
        with telling(self._bucket, StorageAway):
            self._store.put(name, file, chunk_size=PART, max_concurrency=2)

    def read(self, name: str) -> Iterator[bytes]:
        """Fetch an object."""
        with telling(self._bucket, StorageAway, name):
            for piece in self._store.get(name).stream(min_chunk_size=PIECE):
                yield bytes(piece)

    def remove(self, name: str) -> None:
        """Delete an object."""
        try:
            with telling(self._bucket, StorageAway, name):
                self._store.delete(name)
        except StorageAway:
            raise
        except MaskingError:
            # It is not there.
            return
