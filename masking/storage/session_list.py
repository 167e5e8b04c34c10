"""Lists of sessions, newest first, filtered and paged."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple

from psycopg.rows import class_row

from masking.domain.session import Session
from masking.privacy.keyring import Keyring
from masking.storage.accounts import Principal
from masking.storage.database import Connection
from masking.storage.routes import identity_hash
from masking.storage.sessions import SealedSession

Column = Literal["created_at", "expires_at", "duration"]
Operator = Literal[">", ">=", "<", "<="]
Direction = Literal["after", "before"]


class Bound(NamedTuple):
    """A column compared with a value."""

    column: Column
    operator: Operator
    value: datetime | int


class SessionFilter(NamedTuple):
    """Which sessions to list. Numbers in E.164; None filters nothing."""

    first_party: str | None = None
    second_party: str | None = None
    virtual_number: str | None = None
    subaccount: str | None = None
    status: Literal["active", "in-progress", "expired", "all"] = "all"
    bounds: tuple[Bound, ...] = ()


class Position(NamedTuple):
    """A place in a list: after a session, where the older ones are, or before it."""

    direction: Direction
    created_at: datetime
    session_uuid: str


class SessionPage(NamedTuple):
    """A page of sessions.

    Attributes:
        newer, older: whether the list has sessions before and after those of the page.
        edges: the places before its first and after its last session; None for an empty page.
    """

    sessions: list[Session]
    newer: bool
    older: bool
    edges: tuple[Position, Position] | None


async def list_sessions(
    connection: Connection, keyring: Keyring, owner: Principal, wanted: SessionFilter, *, limit: int, offset: int
) -> tuple[SessionPage, int]:
    """The sessions of an account that a filter lets through, newest first, and how many there are in all."""
    query = _Query(connection, *_conditions(keyring, owner, wanted))
    rows = await query.rows(limit + 1, offset)
    page = _page(rows[:limit], keyring, newer=offset > 0, older=len(rows) > limit)
    if page.older and page.edges is not None:
        # The count goes on where the page ended, so that nothing is read twice.
        return page, offset + limit + await query.total(page.edges[1])
    if rows or offset == 0:
        return page, offset + len(rows)
    return page, await query.total()


async def list_sessions_from(
    connection: Connection,
    keyring: Keyring,
    owner: Principal,
    wanted: SessionFilter,
    position: Position,
    *,
    limit: int,
) -> SessionPage:
    """The same list from a position on: up to `limit` sessions right after or right before it, newest first."""
    query = _Query(connection, *_conditions(keyring, owner, wanted))
    rows = await query.rows(limit + 1, 0, position)
    more, rows = len(rows) > limit, rows[:limit]
    if position.direction == "after":
        return _page(rows, keyring, newer=True, older=more)
    return _page(rows[::-1], keyring, newer=more, older=True)


class _Row(NamedTuple):
    session_uuid: str
    key_id: str
    wrapped_key: bytes
    sealed_session: bytes
    created_at: datetime


def _page(rows: list[_Row], keyring: Keyring, *, newer: bool, older: bool) -> SessionPage:
    sealed = (SealedSession(row.session_uuid, row.key_id, row.wrapped_key, row.sealed_session) for row in rows)
    edges = (_position("before", rows[0]), _position("after", rows[-1])) if rows else None
    return SessionPage([session.opened(keyring) for session in sealed], newer, older, edges)


def _position(direction: Direction, row: _Row) -> Position:
    return Position(direction, row.created_at, row.session_uuid)


class _Query(NamedTuple):
    """A filter as SQL: fixed fragments, and the values they refer to."""

    connection: Connection
    conditions: list[str]
    values: dict[str, object]

    async def total(self, position: Position | None = None) -> int:
        """How many sessions there are; from a position on, if there is one."""
        where, values = self._where(position)
        rows = await self.connection.execute(f"SELECT count(*) FROM sessions WHERE {where}", values)  # noqa: S608 fixed fragments only
        (found,) = await rows.fetchone() or (0,)
        return int(str(found))

    async def rows(self, limit: int, offset: int, position: Position | None = None) -> list[_Row]:
        """Sessions from the newest on, or away from a position. They are found in the index alone; only those of
        the page are read whole."""
        where, values = self._where(position)
        direction = "ASC" if position is not None and position.direction == "before" else "DESC"
        order = f"created_at {direction}, session_uuid {direction}"
        async with self.connection.cursor(row_factory=class_row(_Row)) as cursor:
            await cursor.execute(
                "SELECT s.session_uuid, s.key_id, s.wrapped_key, s.sealed_session, s.created_at FROM"  # noqa: S608 fixed fragments only
                f" (SELECT session_uuid FROM sessions WHERE {where} ORDER BY {order}"
                "   LIMIT %(limit)s OFFSET %(offset)s) page"
                f" JOIN sessions s USING (session_uuid) ORDER BY s.created_at {direction}, s.session_uuid {direction}",
                {**values, "limit": limit, "offset": offset},
            )
            return await cursor.fetchall()

    def _where(self, position: Position | None) -> tuple[str, dict[str, object]]:
        if position is None:
            return " AND ".join(self.conditions), self.values
        beyond = "<" if position.direction == "after" else ">"
        place = f"(created_at, session_uuid) {beyond} (%(place_created_at)s, %(place_uuid)s)"
        values = {"place_created_at": position.created_at, "place_uuid": position.session_uuid}
        return " AND ".join([*self.conditions, place]), {**self.values, **values}


# No session of the account lasts longer, so whatever expires after a time was created at most so long before it.
_LONGEST = "(SELECT (max(duration) + 1) * interval '1 second' FROM sessions WHERE account_id = %(account)s)"
# Expired means expired, also before the workflow could write it down.
_ALIVE = f"expires_at > now() AND created_at > now() - {_LONGEST}"
_STATUS = {
    "active": f"(status <> 'expired' AND {_ALIVE})",
    "in-progress": f"(status = 'in-progress' AND {_ALIVE})",
    "expired": "(status = 'expired' OR expires_at <= now())",
}


def _conditions(keyring: Keyring, owner: Principal, wanted: SessionFilter) -> tuple[list[str], dict[str, object]]:
    """SQL conditions of fixed fragments, and the values they refer to."""
    conditions = ["account_id = %(account)s", "status <> 'erased'"]
    found: dict[str, object] = {"account": owner.account_id}
    equal = {
        "subaccount_id": owner.subaccount_id or wanted.subaccount,
        "virtual_number": wanted.virtual_number,
        "first_party_hash": identity_hash(keyring, "number", wanted.first_party) if wanted.first_party else None,
        "second_party_hash": identity_hash(keyring, "number", wanted.second_party) if wanted.second_party else None,
    }
    for column, value in equal.items():
        if value is not None:
            conditions.append(f"{column} = %({column})s")
            found[column] = value
    if owner.subaccount_id is not None and wanted.subaccount not in (None, owner.subaccount_id):
        conditions.append("false")
    if wanted.status != "all":
        conditions.append(_STATUS[wanted.status])
    for index, bound in enumerate(wanted.bounds):
        value = f"%(bound{index})s"
        conditions.append(f"{bound.column} {bound.operator} {value}")
        found[f"bound{index}"] = bound.value
        if bound.column == "expires_at":
            # Which the index on the time of creation can use.
            implied = value if bound.operator in ("<", "<=") else f"{value} - {_LONGEST}"
            conditions.append(f"created_at {bound.operator} {implied}")
    return conditions, found
