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

NEAR = 1000
"""Up to here a page is read from the newest session on; farther ones from whichever end is nearer."""

Column = Literal["created_at", "expires_at", "duration"]
Operator = Literal[">", ">=", "<", "<="]


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


class SessionPage(NamedTuple):
    """A page of sessions, and how many there are in all."""

    sessions: list[Session]
    total_count: int


# Expired means expired, also before the workflow could write it down.
_STATUS = {
    "active": "(status <> 'expired' AND expires_at > now())",
    "in-progress": "(status = 'in-progress' AND expires_at > now())",
    "expired": "(status = 'expired' OR expires_at <= now())",
}


async def list_sessions(
    connection: Connection, keyring: Keyring, owner: Principal, wanted: SessionFilter, *, limit: int, offset: int
) -> SessionPage:
    """The sessions of an account that a filter lets through, newest first."""
    query = _Query(connection, keyring, *_conditions(keyring, owner, wanted))
    if offset <= NEAR:
        sessions = await query.page(limit, offset)
        if len(sessions) < limit and (sessions or offset == 0):
            # The last page tells the count.
            return SessionPage(sessions, offset + len(sessions))
        return SessionPage(sessions, await query.total())
    total = await query.total()
    if offset >= total:
        return SessionPage([], total)
    if offset <= total // 2:
        return SessionPage(await query.page(limit, offset), total)
    length = min(limit, total - offset)
    oldest_first = await query.page(length, total - offset - length, direction="ASC")
    return SessionPage(oldest_first[::-1], total)


class _Query(NamedTuple):
    """A filter as SQL: fixed fragments, and the values they refer to."""

    connection: Connection
    keyring: Keyring
    conditions: list[str]
    values: dict[str, object]

    async def total(self) -> int:
        where = " AND ".join(self.conditions)
        rows = await self.connection.execute(f"SELECT count(*) FROM sessions WHERE {where}", self.values)  # noqa: S608 fixed fragments only
        (found,) = await rows.fetchone() or (0,)
        return int(str(found))

    async def page(self, limit: int, offset: int, direction: Literal["ASC", "DESC"] = "DESC") -> list[Session]:
        """Sessions by time of creation. The page is found in the index alone; only its rows are read whole."""
        where, order = " AND ".join(self.conditions), f"created_at {direction}, session_uuid {direction}"
        async with self.connection.cursor(row_factory=class_row(SealedSession)) as cursor:
            await cursor.execute(
                "SELECT s.session_uuid, s.key_id, s.wrapped_key, s.sealed_session FROM"  # noqa: S608 fixed fragments only
                f" (SELECT session_uuid, created_at FROM sessions WHERE {where}"
                f"   ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s) page"
                f" JOIN sessions s USING (session_uuid) ORDER BY page.created_at {direction}, session_uuid {direction}",
                {**self.values, "limit": limit, "offset": offset},
            )
            return [row.opened(self.keyring) for row in await cursor.fetchall()]


def _conditions(keyring: Keyring, owner: Principal, wanted: SessionFilter) -> tuple[list[str], dict[str, object]]:
    """SQL conditions of fixed fragments, and the values they refer to."""
    conditions = ["account_id = %(account)s"]
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
        conditions.append(f"{bound.column} {bound.operator} %(bound{index})s")
        found[f"bound{index}"] = bound.value
    return conditions, found
