"""Where files are kept: in a folder, or in a bucket of some object storage under a prefix."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from masking.errors import MaskingError

SCHEMES = ("s3", "gs", "az")
"""S3 and what speaks its language, Google Cloud Storage, Azure Blob Storage (whose buckets are containers)."""

RULE = "must be a folder, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER"

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}", re.ASCII)
_PREFIX = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._=-]*)*/?", re.ASCII)


class Bucket(NamedTuple):
    """A bucket and what the names in it begin with; no slash at either end of that, empty for the whole bucket."""

    scheme: str
    name: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}" + (f"/{self.prefix}" if self.prefix else "")


def named_place(name: str, written: str) -> Path | Bucket:
    """See `place_of`.

    Args:
        name: what the place is, or the setting that names it, for whoever wrote it.

    Raises:
        MaskingError: it is written wrongly.
    """
    try:
        return place_of(written)
    except ValueError as error:
        raise MaskingError(f"{name} {error}") from None


def place_of(written: str) -> Path | Bucket:
    """The place that is written as a path or a URL. A folder's path is made absolute.

    Raises:
        ValueError: it is written wrongly; tells the rule, never what was written.
    """
    if "://" not in written:
        return Path(written).absolute()
    url = urlsplit(written)
    if "@" in url.netloc:
        raise ValueError("must hold no credentials: these come from the environment (docs/audit.md)")
    if url.query or url.fragment:
        raise ValueError(RULE)
    if url.scheme == "file" and url.netloc in ("", "localhost") and url.path.strip("/"):
        return Path(unquote(url.path))
    if url.scheme not in SCHEMES or not _BUCKET.fullmatch(url.netloc) or not _PREFIX.fullmatch(url.path):
        raise ValueError(RULE)
    return Bucket(url.scheme, url.netloc, url.path.strip("/"))
