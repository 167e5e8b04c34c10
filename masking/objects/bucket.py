"""A bucket of object storage, by `obstore`. Credentials come from each cloud's customary variables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from masking.errors import MaskingError, StorageAway
from masking.objects.place import Bucket

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

    ObjectStore: TypeAlias = S3Store | GCSStore | AzureStore

CONNECT_TIMEOUT = timedelta(seconds=5)
REQUEST_TIMEOUT = timedelta(seconds=60)
"""For a request with its answer."""
RETRIES, RETRY_FOR = 3, timedelta(seconds=20)

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
CHECK = {
    "s3": "check the bucket, AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "check the bucket and GOOGLE_APPLICATION_CREDENTIALS",
    "az": "check the container, AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


def store_of(bucket: Bucket) -> ObjectStore:
    """The bucket. Nothing is asked of it yet."""
    from obstore.store import AzureStore, GCSStore, S3Store

    client: ClientConfig = {
        "connect_timeout": CONNECT_TIMEOUT,
        "timeout": REQUEST_TIMEOUT,
        # Only where the operator says so, as for a server on the same machine.
        "allow_http": any(os.environ.get(name, "").startswith("http://") for name in ENDPOINTS),
    }
    retry: RetryConfig = {"max_retries": RETRIES, "retry_timeout": RETRY_FOR}
    scheme, name, prefix = bucket
    if scheme == "s3":
        return S3Store(name, prefix=prefix or None, client_options=client, retry_config=retry, conditional_put="etag")
    if scheme == "gs":
        return GCSStore(name, prefix=prefix or None, client_options=client, retry_config=retry)
    return AzureStore(name, prefix=prefix or None, client_options=client, retry_config=retry)


@contextmanager
def telling(bucket: Bucket, away: type[StorageAway], name: str | None = None) -> Iterator[None]:
    """Turn the library's errors into ours. With a name, that object's absence is no fault of the bucket."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError) as error:
        text = str(error)
        if name is not None and _NO_OBJECT.search(text):
            raise MaskingError(f"cannot read {bucket}/{name}: it is empty or not there") from None
        raise away(f"{bucket}: {_what(text)}; {CHECK[bucket.scheme]}") from None


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
