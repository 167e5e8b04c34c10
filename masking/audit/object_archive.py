"""The archive in object storage, by `obstore`. Credentials come from each cloud's customary variables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING

from masking.audit.archive import name_of, root_of
from masking.audit.pack import LARGEST_PACK, SUFFIX, Pack, read, read_header
from masking.audit.place import Bucket
from masking.errors import ArchiveAway, MaskingError

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

CONNECT_TIMEOUT = timedelta(seconds=5)
REQUEST_TIMEOUT = timedelta(seconds=60)
"""For a request with its answer. No pack is larger than a history's 50 MB by much."""
RETRIES, RETRY_FOR = 3, timedelta(seconds=20)

MARKER = "masking.archive"
MARKED = b"Evidence packs, see docs/audit.md. Written to find out whether this storage replaces what is there.\n"

HEAD = 16 * 1024
"""Bytes from the start of a pack that hold its header."""

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
CHECK = {
    "s3": "check the bucket, AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "check the bucket and GOOGLE_APPLICATION_CREDENTIALS",
    "az": "check the container, AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


class ObjectArchive:
    """Packs as objects; see `Archive`. An object is there whole or not at all: nothing is left unfinished."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._is_prepared = False

    @cached_property
    def _store(self) -> S3Store | GCSStore | AzureStore:
        from obstore.store import AzureStore, GCSStore, S3Store

        client: ClientConfig = {
            "connect_timeout": CONNECT_TIMEOUT,
            "timeout": REQUEST_TIMEOUT,
            # Only where the operator says so, as for a server on the same machine.
            "allow_http": any(os.environ.get(name, "").startswith("http://") for name in ENDPOINTS),
        }
        retry: RetryConfig = {"max_retries": RETRIES, "retry_timeout": RETRY_FOR}
        scheme, name, prefix = self._bucket
        if scheme == "s3":
            return S3Store(
                name, prefix=prefix or None, client_options=client, retry_config=retry, conditional_put="etag"
            )
        if scheme == "gs":
            return GCSStore(name, prefix=prefix or None, client_options=client, retry_config=retry)
        return AzureStore(name, prefix=prefix or None, client_options=client, retry_config=retry)

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

    @contextmanager
    def _telling(self, name: str | None = None) -> Iterator[None]:
        """Turn the library's errors into ours. With a name, that object's absence is no fault of the archive."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            text = str(error)
            if name is not None and _NO_OBJECT.search(text):
                raise MaskingError(f"cannot read {self.where(name)}: it is empty or not there") from None
            raise ArchiveAway(f"{self._bucket}: {_what(text)}; {CHECK[self._bucket.scheme]}") from None


_NO_OBJECT = re.compile(r"<Code>(?:NoSuchKey|BlobNotFound|InvalidRange)</Code>|status code: 416")
_STATUS = re.compile(r"status code: (\d{3}[A-Za-z ]*)")
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")
_METADATA = re.compile(r"/latest/api/token|/latest/meta-data|/computeMetadata/|/metadata/identity/")
"""Where each cloud's machines ask for credentials that nobody gave them."""


def _what(text: str) -> str:
    """What went wrong, in few words. The library's own hold URLs, which hold signatures."""
    if _METADATA.search(text):
        return "there are no credentials"
    if status := _STATUS.search(text):
        code = _CODE.search(text)
        return f"it answers {status[1].strip()}" + (f" ({code[1]})" if code else "")
    if "HTTP error" in text:
        return "it cannot be reached"
    return re.sub(r"\S+://\S+", "…", text.partition("\n")[0])[:200]
