"""The archive in object storage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING

from masking.audit.archive import name_of, root_of
from masking.audit.pack import LARGEST_PACK, SUFFIX, Pack, read, read_header
from masking.errors import ArchiveAway, MaskingError
from masking.objects.bucket import store_of, telling
from masking.objects.place import Bucket

if TYPE_CHECKING:
    from masking.objects.bucket import ObjectStore


MARKER = "masking.archive"
MARKED = b"Evidence packs, see docs/audit.md. Written to find out whether this storage replaces what is there.\n"

HEAD = 16 * 1024
"""Bytes from the start of a pack that hold its header."""


class ObjectArchive:
    """Packs as objects; see `Archive`. An object is there whole or not at all: nothing is left unfinished."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._is_prepared = False

    @cached_property
    def _store(self) -> ObjectStore:
        return store_of(self._bucket)

    def prepare(self) -> None:
        """Find out, once, whether the storage can be written and replaces nothing."""
        if self._is_prepared:
            return
        self._create(MARKER, MARKED)
        if self._create(MARKER, MARKED):
            raise ArchiveAway(f"{self._bucket}: it replaces what is there; use storage that knows conditional writes")
        self._is_prepared = True

    def keep(self, session_uuid: str, settled_at: datetime, lines: Iterable[bytes]) -> str:
        """Write it by one request, which the storage refuses where there is one."""
        self.prepare()
        name = name_of(session_uuid, settled_at)
        self._create(name, b"".join(lines))
        return root_of(self.read(name), session_uuid, self.where(name))

    def names(self) -> Iterator[str]:
        """Listed page by page."""
        with self._telling():
            for page in self._store.list():
                yield from (each["path"] for each in page if each["path"].endswith(SUFFIX))

    def read(self, name: str) -> Pack:
        """Fetch an object."""
        with self._telling(name):
            found = self._store.get(name)
            if found.meta["size"] > LARGEST_PACK:
                raise MaskingError(f"cannot read {self.where(name)}: it is larger than any pack")
            content = found.bytes()
        return read(BytesIO(content))

    def session_of(self, name: str) -> str | None:
        """Fetch the beginning of an object. None also for one that is not there."""
        try:
            with self._telling(name):
                start = bytes(self._store.get_range(name, start=0, length=HEAD))
        except ArchiveAway:
            raise
        except MaskingError:
            return None
        line, end, _ = start.partition(b"\n")
        return header.session_uuid if (header := read_header(line + end)) is not None else None

    def where(self, name: str) -> str:
        """An object's URL."""
        return f"{self._bucket}/{name}"

    def _create(self, name: str, content: bytes) -> bool:
        """Whether it was written; False where there is one."""
        from obstore.exceptions import AlreadyExistsError

        with self._telling():
            try:
                # In parts, it would be put there unconditionally.
                self._store.put(name, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def _telling(self, name: str | None = None) -> AbstractContextManager[None]:
        return telling(self._bucket, ArchiveAway, name)
