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
    conditions, values = _conditions(keyring, owner, wanted)
    where = " AND ".join(conditions)
    count = await (await connection.execute(f"SELECT count(*) FROM sessions WHERE {where}", values)).fetchone()  # noqa: S608 fixed fragments only
    async with connection.cursor(row_factory=class_row(SealedSession)) as cursor:
        # The page is found in the index alone; only its rows are read whole.
        await cursor.execute(
            "SELECT s.session_uuid, s.key_id, s.wrapped_key, s.sealed_session FROM"  # noqa: S608 fixed fragments only
            f" (SELECT session_uuid, created_at FROM sessions WHERE {where}"
            "   ORDER BY created_at DESC, session_uuid DESC LIMIT %(limit)s OFFSET %(offset)s) page"
            " JOIN sessions s USING (session_uuid) ORDER BY page.created_at DESC, page.session_uuid DESC",
            {**values, "limit": limit, "offset": offset},
        )
        rows = await cursor.fetchall()
    total = count[0] if count is not None else 0
    return SessionPage([row.opened(keyring) for row in rows], int(str(total)))


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
