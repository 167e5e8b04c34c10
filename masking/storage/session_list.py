"""Lists of sessions, newest first, filtered and paged."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from psycopg.rows import class_row

from masking.domain.session import Session
from masking.domain.terms import Carrier
from masking.privacy.keyring import Keyring, Unreadable
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


class ListedSession(NamedTuple):
    """A session as operators' lists show it: what is stored in the clear.

    Attributes:
        account: who has it: an account's or a subaccount's auth id.
        status: in the API's words.
    """

    session_uuid: str
    account: str
    virtual_number: str
    status: str
    created_at: datetime
    expires_at: datetime


async def list_every_session(
    connection: Connection,
    keyring: Keyring,
    owner: Principal | None,
    wanted: SessionFilter,
    party: str | None,
    after: Position | None,
    limit: int,
) -> list[ListedSession]:
    """Up to `limit` sessions of an account, or of all, that a filter lets through, newest first.

    Args:
        party: a number, E.164, that is either party of theirs.
        after: where they begin.
    """
    values: dict[str, object] = {"limit": limit}
    sides = [wanted]
    if party is not None:
        sides = [wanted._replace(first_party=party), wanted._replace(second_party=party)]
    newest = []
    for side in sides:
        of_one = _Query(connection, *_conditions(keyring, owner, side, "a.auth_id"))
        where, more = of_one.where(after)
        newest.append(f"(SELECT session_uuid, created_at FROM sessions WHERE {where} {_NEWEST})")  # noqa: S608
        values |= more
    async with connection.cursor(row_factory=class_row(ListedSession)) as cursor:
        # Of each account and side by an index, as the API's lists; no index has the sessions of all in their order.
        await cursor.execute(
            "SELECT s.session_uuid, coalesce(s.subaccount_id, s.account_id) AS account, s.virtual_number,"  # noqa: S608
            " CASE WHEN s.expires_at <= now() THEN 'expired' ELSE s.status END AS status, s.created_at, s.expires_at"
            f" FROM (SELECT found.* FROM accounts a CROSS JOIN LATERAL ({' UNION '.join(newest)}) found"
            "  WHERE a.parent_id IS NULL AND (%(account)s::text IS NULL OR a.auth_id = %(account)s)"
            f"  {_NEWEST}) page JOIN sessions s USING (session_uuid) ORDER BY s.created_at DESC, s.session_uuid DESC",
            values,
        )
        return await cursor.fetchall()


_NEWEST = "ORDER BY created_at DESC, session_uuid DESC LIMIT %(limit)s"


async def place_after(connection: Connection, session_uuid: str) -> Position | None:
    """The place after a session; None if there is no such session."""
    found = await connection.execute("SELECT created_at FROM sessions WHERE session_uuid = %s", (session_uuid,))
    row: tuple[datetime] | None = await found.fetchone()  # type: ignore[assignment] # a timestamp
    return None if row is None else Position("after", row[0], session_uuid)


async def carriers_of(
    connection: Connection, keyring: Keyring, session_uuids: Sequence[str]
) -> dict[str, Carrier | None]:
    """Who masks each of some sessions, which takes reading them; None where it cannot be read."""

    def carrier(session: SealedSession) -> Carrier | None:
        try:
            return session.opened(keyring).carrier
        except Unreadable:
            return None

    async with connection.cursor(row_factory=class_row(SealedSession)) as cursor:
        await cursor.execute(
            "SELECT session_uuid, key_id, wrapped_key, sealed_session FROM sessions"
            " WHERE session_uuid = ANY(%s) AND status <> 'erased'",
            (list(session_uuids),),
        )
        return {row.session_uuid: carrier(row) for row in await cursor.fetchall()}


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
        where, values = self.where(position)
        rows = await self.connection.execute(f"SELECT count(*) FROM sessions WHERE {where}", values)  # noqa: S608 fixed fragments only
        (found,) = await rows.fetchone() or (0,)
        return int(str(found))

    async def rows(self, limit: int, offset: int, position: Position | None = None) -> list[_Row]:
        """Sessions from the newest on, or away from a position. They are found in the index alone; only those of
        the page are read whole."""
        where, values = self.where(position)
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

    def where(self, position: Position | None) -> tuple[str, dict[str, object]]:
        """The conditions as one, from a position on, and the values."""
        if position is None:
            return " AND ".join(self.conditions), self.values
        beyond = "<" if position.direction == "after" else ">"
        place = f"(created_at, session_uuid) {beyond} (%(place_created_at)s, %(place_uuid)s)"
        values = {"place_created_at": position.created_at, "place_uuid": position.session_uuid}
        return " AND ".join([*self.conditions, place]), {**self.values, **values}


def _conditions(
    keyring: Keyring, owner: Principal | None, wanted: SessionFilter, account: str = "%(account)s"
) -> tuple[list[str], dict[str, object]]:
    """SQL conditions of fixed fragments, and the values they refer to.

    Args:
        owner: None for whichever account it is.
        account: the main account, as SQL.
    """
    subaccount = owner and owner.subaccount_id
    conditions = [f"account_id = {account}", "status <> 'erased'"]
    found: dict[str, object] = {"account": owner and owner.account_id}
    equal = {
        "subaccount_id": subaccount or wanted.subaccount,
        "virtual_number": wanted.virtual_number,
        "first_party_hash": identity_hash(keyring, "number", wanted.first_party) if wanted.first_party else None,
        "second_party_hash": identity_hash(keyring, "number", wanted.second_party) if wanted.second_party else None,
    }
    for column, value in equal.items():
        if value is not None:
            conditions.append(f"{column} = %({column})s")
            found[column] = value
    if subaccount is not None and wanted.subaccount not in (None, subaccount):
        conditions.append("false")
    # No session of the account lasts longer, so whatever expires after a time was created at most so long before it.
    longest = f"(SELECT (max(duration) + 1) * interval '1 second' FROM sessions WHERE account_id = {account})"  # noqa: S608
    if wanted.status != "all":
        conditions.append(_status(wanted.status, longest))
    for index, bound in enumerate(wanted.bounds):
        value = f"%(bound{index})s"
        conditions.append(f"{bound.column} {bound.operator} {value}")
        found[f"bound{index}"] = bound.value
        if bound.column == "expires_at":
            # Which the index on the time of creation can use.
            implied = value if bound.operator in ("<", "<=") else f"{value} - {longest}"
            conditions.append(f"created_at {bound.operator} {implied}")
    return conditions, found


def _status(status: str, longest: str) -> str:
    """Expired means expired, also before the workflow could write it down."""
    alive = f"expires_at > now() AND created_at > now() - {longest}"
    return {
        "active": f"(status <> 'expired' AND {alive})",
        "in-progress": f"(status = 'in-progress' AND {alive})",
        "expired": "(status = 'expired' OR expires_at <= now())",
    }[status]
