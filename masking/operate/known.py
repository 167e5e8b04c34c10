"""That what an operator names is there: else an empty list would tell of a misspelt id that all is well with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from masking.errors import MaskingError
from masking.storage.accounts import must_exist
from masking.storage.database import Connection
from masking.storage.resuming import standing

RowT = TypeVar("RowT")


async def session_must_be_known(connection: Connection, session_uuid: str | None) -> None:
    """Raise `MaskingError` where a session is named that does not exist."""
    if session_uuid is not None and await standing(connection, session_uuid) == "unknown":
        raise MaskingError("there is no session with this id")


def of_known_session(
    read: Callable[[Connection], Awaitable[list[RowT]]], session_uuid: str | None
) -> Callable[[Connection], Awaitable[list[RowT]]]:
    """Reads the same. Where that finds nothing, it raises `MaskingError` if a session is named that does not exist."""

    async def read_or_refuse(connection: Connection) -> list[RowT]:
        found = await read(connection)
        if not found:
            await session_must_be_known(connection, session_uuid)
        return found

    return read_or_refuse


async def unknown_among(connection: Connection, session_uuids: Sequence[str]) -> list[str]:
    """Those of them that are no session's id, in their order."""
    found = await connection.execute(
        "SELECT session_uuid FROM sessions WHERE session_uuid = ANY(%s)", (list(session_uuids),)
    )
    known = {row[0] for row in await found.fetchall()}
    return [session_uuid for session_uuid in session_uuids if session_uuid not in known]


async def account_must_be_known(connection: Connection, auth_id: str | None) -> None:
    """Raise `MaskingError` where an account or subaccount is named that does not exist."""
    if auth_id is not None:
        await must_exist(connection, auth_id)
