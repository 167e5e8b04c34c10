"""Places for an archive, and hands to meddle with what is in them: a folder, and a bucket of an S3 server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import httpx
from obstore.store import S3Store

from masking.audit.pack import SUFFIX

KEY_ID, SECRET = "AKIAOFATEST", "secret-of-a-test"


class Place(Protocol):
    """Where an archive is, as the setting tells it, and what is there by the packs' names."""

    written: str

    def stamps(self) -> dict[str, object]:
        """By session, what changes when its pack is written again."""

    def put(self, name: str, content: bytes) -> None: ...

    def get(self, name: str) -> bytes: ...

    def remove(self, name: str) -> None: ...


class Folder:
    def __init__(self, folder: Path) -> None:
        self.folder, self.written = folder, str(folder)

    def stamps(self) -> dict[str, object]:
        return {path.stem: path.stat().st_mtime_ns for path in self.folder.rglob(f"*{SUFFIX}")}

    def put(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def get(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()


class InBucket:
    def __init__(self, endpoint: str, bucket: str) -> None:
        self.written = f"s3://{bucket}/some/prefix"
        httpx.put(f"{endpoint}/{bucket}").raise_for_status()
        self.store = S3Store(bucket, prefix="some/prefix", client_options={"allow_http": True})

    def stamps(self) -> dict[str, object]:
        found = [each for page in self.store.list() for each in page if each["path"].endswith(SUFFIX)]
        return {Path(each["path"]).stem: (each["e_tag"], each["last_modified"]) for each in found}

    def put(self, name: str, content: bytes) -> None:
        self.store.put(name, content)

    def get(self, name: str) -> bytes:
        return bytes(self.store.get(name).bytes())

    def remove(self, name: str) -> None:
        self.store.delete(name)


@contextmanager
def s3_server() -> Iterator[str]:
    """An S3 server in this process. It knows conditional writes; it lets everybody do everything."""
    # It takes its time to import, and most processes of a test run need none.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def s3_environment(endpoint: str) -> dict[str, str]:
    """What a worker is given for it."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }


def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port
