"""The connection pool, and how a process learns that PostgreSQL is not there."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Protocol

from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from masking.errors import StartupError
from masking.settings import Settings

Connection = AsyncConnection[tuple[object, ...]]

CONNECT_TIMEOUT = 5.0
"""Seconds to wait for a connection, from the server or from the pool."""

STATEMENT_TIMEOUT_MS = 10_000
LONG_STATEMENT_TIMEOUT_MS = 600_000
POOL_SIZE = 8

UNHEARD_MS = 10_000
"""Whoever vanished, as a host does that loses its power, is given up by the other end after so long."""

_PROBES = {"keepalives_idle": 4, "keepalives_interval": 2, "keepalives_count": 3}
"""Seconds, seconds, and how many: within `UNHEARD_MS` they tell who is there. Linux itself takes hours."""

# The server's end matters as much: it keeps the locks of a client that vanished.
_SERVERS_END = " ".join(
    [f"-c tcp_{name}={value}" for name, value in _PROBES.items()] + [f"-c tcp_user_timeout={UNHEARD_MS}"]
)

LASTING: dict[str, Any] = {
    "connect_timeout": int(CONNECT_TIMEOUT),
    "tcp_user_timeout": UNHEARD_MS,
    **_PROBES,
    "options": _SERVERS_END,
}
"""How a connection is made that stays."""

_OPTIONS: dict[str, Any] = {
    **LASTING,
    "options": f"{_SERVERS_END} -c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC",
}


async def may_take_long(connection: Connection) -> None:
    """Let what follows in this transaction look at all there is: no row is locked meanwhile, and a person waits."""
    await connection.execute(f"SET LOCAL statement_timeout = {LONG_STATEMENT_TIMEOUT_MS}")


class Database:
    """A pool of connections to PostgreSQL. Use it as an async context manager."""

    def __init__(self, url: str, *, size: int = POOL_SIZE) -> None:
        self._size = size
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=size,
            max_waiting=size * 50,
            timeout=CONNECT_TIMEOUT,
            open=False,
            kwargs={"autocommit": True, **_OPTIONS},
        )

    async def __aenter__(self) -> Database:
        with _silent_pool():
            try:
                await self._pool.open(wait=True, timeout=CONNECT_TIMEOUT)
            except PoolTimeout:
                await self._pool.close()
                raise StartupError("DATABASE_URL: PostgreSQL does not answer there or refuses the login") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed at the end, rolled back on an error."""
        for left in range(self._size, -1, -1):
            async with AsyncExitStack() as stack:
                connection = await stack.enter_async_context(self._pool.connection())
                try:
                    await stack.enter_async_context(connection.transaction())
                except OperationalError:
                    # The server closed it while it was idle: the pool lets it go and has another.
                    if left:
                        continue
                    raise
                yield connection
                return

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[Connection]:
        """A connection on which each statement is a transaction of its own, for those who try again."""
        async with self._pool.connection() as connection:
            yield connection

    @asynccontextmanager
    async def pipelined(self) -> AsyncIterator[Connection]:
        """A transaction that costs few round trips: statements go out together until an answer is read.

        For those who try again: the fault of a statement may be raised by a later one, and the
        first one's by a connection that the server closed while it was idle.
        """
        async with self._pool.connection() as connection, connection.pipeline():
            await connection.execute("BEGIN")
            yield connection
            await connection.execute("COMMIT")


class Unpooled:
    """Connections to PostgreSQL that are made when they are needed, for who seldom needs one."""

    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection of its own in a transaction: committed at the end, rolled back on an error."""
        connecting = AsyncConnection.connect(self._url, autocommit=True, **_OPTIONS)
        async with await connecting as connection, connection.transaction():
            yield connection


class Transactions(Protocol):
    """Where transactions come from."""

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """A connection in a transaction."""


@contextmanager
def _silent_pool() -> Iterator[None]:
    """Let the pool log nothing: that it cannot be opened is told once, and by us."""
    logger = logging.getLogger("psycopg.pool")
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def database_url(settings: Settings) -> str:
    """The URL of the PostgreSQL to use.

    Raises:
        StartupError: `DATABASE_URL` is not set.
    """
    if settings.database_url is None:
        raise StartupError("DATABASE_URL is not set: name a PostgreSQL, or let `masking run` start one")
    return settings.database_url.get_secret_value()
