"""The inventory of virtual numbers, as operators keep it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from psycopg.rows import class_row

from masking.errors import MaskingError
from masking.storage.database import Connection

State = Literal["available", "draining", "blocked"]


class NumberError(MaskingError):
    """A number cannot be kept so; the message says why and what to do."""


class NewNumber(NamedTuple):
    """A number to add.

    Attributes:
        number: E.164.
        account_id: the account or subaccount whose sessions may use it.
        country: ISO country.
        area: free words, such as a city.
        carrier: who delivers its calls.
        capabilities: what it can do, such as `voice`.
    """

    number: str
    account_id: str
    country: str
    area: str = ""
    carrier: str = "voice"
    capabilities: tuple[str, ...] = ("voice",)


class StoredNumber(NamedTuple):
    """A number as the inventory shows it. `live` and `cooling` count sessions."""

    number: str
    account_id: str
    country: str
    area: str
    carrier: str
    capabilities: list[str]
    state: State
    added_at: datetime
    live: int
    cooling: int


class Holder(NamedTuple):
    """A live session on a number."""

    session_uuid: str
    expires_at: datetime


async def add_numbers(connection: Connection, numbers: Sequence[NewNumber]) -> int:
    """Add numbers, or describe anew those that the account has already. How many are new.

    Raises:
        NumberError: an account does not exist, or another account has one of them; then none is added.
    """
    accounts = sorted({new.account_id for new in numbers})
    known = await connection.execute("SELECT auth_id FROM accounts WHERE auth_id = ANY(%s)", (accounts,))
    missing = set(accounts) - {str(row[0]) for row in await known.fetchall()}
    if missing:
        raise NumberError(f"there is no account {min(missing)}; list them with `masking accounts list`")
    before = await _count(connection)
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO numbers (number, account_id, country, area, carrier, capabilities)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (number) DO UPDATE SET country = excluded.country,"
            " area = excluded.area, carrier = excluded.carrier, capabilities = excluded.capabilities"
            " WHERE numbers.account_id = excluded.account_id",
            [(*new[:5], list(new.capabilities)) for new in numbers],
        )
    elsewhere = await connection.execute(
        "SELECT n.number FROM numbers n JOIN unnest(%s::text[], %s::text[]) AS wanted (number, account_id)"
        " ON wanted.number = n.number WHERE n.account_id <> wanted.account_id ORDER BY 1 LIMIT 1",
        ([new.number for new in numbers], [new.account_id for new in numbers]),
    )
    taken = await elsewhere.fetchone()
    if taken is not None:
        raise NumberError(f"{taken[0]} belongs to another account; remove it there first")
    return await _count(connection) - before


async def list_numbers(
    connection: Connection, *, account_id: str | None = None, country: str | None = None, state: State | None = None
) -> list[StoredNumber]:
    """The numbers of an account, country and state, or all; by account and rank."""
    async with connection.cursor(row_factory=class_row(StoredNumber)) as cursor:
        await cursor.execute(
            "SELECT n.number, n.account_id, n.country, n.area, n.carrier, n.capabilities, n.state, n.added_at,"
            " count(DISTINCT r.session_uuid) FILTER (WHERE r.expires_at > now()) AS live,"
            " count(DISTINCT r.session_uuid) FILTER (WHERE r.expires_at <= now()) AS cooling"
            " FROM numbers n LEFT JOIN routes r ON r.virtual_number = n.number AND r.held_until > now()"
            " WHERE (%(account)s::text IS NULL OR n.account_id = %(account)s)"
            " AND (%(country)s::text IS NULL OR n.country = %(country)s)"
            " AND (%(state)s::text IS NULL OR n.state = %(state)s)"
            " GROUP BY n.number ORDER BY n.account_id, n.rank",
            {"account": account_id, "country": country, "state": state},
        )
        return await cursor.fetchall()


async def set_state(connection: Connection, number: str, state: State) -> list[Holder]:
    """Put a number in a state; a blocked one must have no live session.

    No session can be opened on it between the look and the change.

    Returns:
        The live sessions that keep it from being blocked; then its state is as it was.

    Raises:
        NumberError: there is no such number.
    """
    holders = await _locked_holders(connection, number)
    if state == "blocked" and holders:
        return holders
    await connection.execute("UPDATE numbers SET state = %s WHERE number = %s", (state, number))
    return []


async def remove_number(connection: Connection, number: str) -> list[Holder]:
    """Take a number out of the inventory; it must have no live session.

    Returns:
        The live sessions that keep it there.

    Raises:
        NumberError: there is no such number.
    """
    holders = await _locked_holders(connection, number)
    if not holders:
        await connection.execute("DELETE FROM numbers WHERE number = %s", (number,))
    return holders


async def _locked_holders(connection: Connection, number: str) -> list[Holder]:
    locked = await connection.execute("SELECT 1 FROM numbers WHERE number = %s FOR UPDATE", (number,))
    if await locked.fetchone() is None:
        raise NumberError(f"{number} is not in the inventory; list it with `masking numbers list`")
    async with connection.cursor(row_factory=class_row(Holder)) as cursor:
        await cursor.execute(
            "SELECT session_uuid, max(expires_at) AS expires_at FROM routes"
            " WHERE virtual_number = %s AND expires_at > now() GROUP BY 1 ORDER BY 2",
            (number,),
        )
        return await cursor.fetchall()


async def _count(connection: Connection) -> int:
    row = await (await connection.execute("SELECT count(*) FROM numbers")).fetchone()
    return int(str(row[0])) if row is not None else 0
