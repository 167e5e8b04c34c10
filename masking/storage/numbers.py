"""The inventory of virtual numbers, as operators keep it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from psycopg.rows import class_row

from masking.errors import MaskingError
from masking.storage.database import Connection

AT_ONCE = 5_000
"""Numbers to a statement: a large inventory takes longer than one statement may."""

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
    """A number as the inventory shows it. `live` and `cooling` count sessions.

    Attributes:
        rank: its place in the inventory; places in between may be empty.
    """

    number: str
    account_id: str
    country: str
    area: str
    carrier: str
    capabilities: list[str]
    state: State
    added_at: datetime
    rank: int
    live: int
    cooling: int


class Holder(NamedTuple):
    """A live session on a number."""

    session_uuid: str
    expires_at: datetime


async def add_numbers(
    connection: Connection, numbers: Sequence[NewNumber], done: Callable[[int], None] = lambda _: None
) -> int:
    """Add numbers, in their order, or describe anew those that the account has already. How many are new.

    Args:
        done: is told how many more are added.

    Raises:
        NumberError: an account does not exist, or another account has one of them; then none is added.
    """
    await must_be_addable(connection, numbers)
    new = 0
    for part in _parts(numbers):
        new += await _add(connection, part)
        done(len(part))
    return new


async def must_be_addable(connection: Connection, numbers: Sequence[NewNumber]) -> None:
    """Check that numbers could be added now.

    Raises:
        NumberError: an account does not exist, or another account has one of them.
    """
    accounts = sorted({new.account_id for new in numbers})
    known = await connection.execute("SELECT auth_id FROM accounts WHERE auth_id = ANY(%s)", (accounts,))
    missing = set(accounts) - {str(row[0]) for row in await known.fetchall()}
    if missing:
        raise NumberError(f"there is no account {min(missing)}; list them with `masking accounts list`")
    for part in _parts(numbers):
        await _must_be_nobody_elses(connection, part)


def _parts(numbers: Sequence[NewNumber]) -> Iterator[Sequence[NewNumber]]:
    for begin in range(0, len(numbers), AT_ONCE):
        yield numbers[begin : begin + AT_ONCE]


async def _add(connection: Connection, numbers: Sequence[NewNumber]) -> int:
    kept = await connection.execute(
        "INSERT INTO numbers (number, account_id, country, area, carrier, capabilities)"
        " SELECT number, account_id, country, area, carrier, string_to_array(capabilities, ' ')"
        " FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) WITH ORDINALITY"
        " AS new (number, account_id, country, area, carrier, capabilities, place) ORDER BY place"
        " ON CONFLICT (number) DO UPDATE SET country = excluded.country,"
        " area = excluded.area, carrier = excluded.carrier, capabilities = excluded.capabilities"
        # A row that was just inserted has no transaction that locked or replaced it.
        " WHERE numbers.account_id = excluded.account_id RETURNING xmax = 0",
        [
            [new.number for new in numbers],
            [new.account_id for new in numbers],
            [new.country for new in numbers],
            [new.area for new in numbers],
            [new.carrier for new in numbers],
            [" ".join(new.capabilities) for new in numbers],
        ],
    )
    are_new = [bool(row[0]) for row in await kept.fetchall()]
    if len(are_new) < len(numbers):
        raise NumberError("another account was given one of the numbers meanwhile; try again to see which")
    return sum(are_new)


async def _must_be_nobody_elses(connection: Connection, numbers: Sequence[NewNumber]) -> None:
    wanted = {new.number: new.account_id for new in numbers}
    known = await connection.execute("SELECT number, account_id FROM numbers WHERE number = ANY(%s)", (list(wanted),))
    elsewhere = [str(number) for number, account_id in await known.fetchall() if account_id != wanted[str(number)]]
    if elsewhere:
        raise NumberError(f"{min(elsewhere)} belongs to another account; remove it there first")


async def list_numbers(
    connection: Connection,
    *,
    account_id: str | None = None,
    country: str | None = None,
    state: State | None = None,
    limit: int | None = None,
    after: StoredNumber | None = None,
) -> list[StoredNumber]:
    """The numbers of an account, country and state, or all; by account and rank.

    Args:
        limit: the first so many.
        after: those that come behind this one.
    """
    async with connection.cursor(row_factory=class_row(StoredNumber)) as cursor:
        await cursor.execute(
            "SELECT n.number, n.account_id, n.country, n.area, n.carrier, n.capabilities, n.state, n.added_at, n.rank,"
            " held.live, held.cooling FROM numbers n CROSS JOIN LATERAL ("
            "  SELECT count(DISTINCT session_uuid) FILTER (WHERE expires_at > now()) AS live,"
            "  count(DISTINCT session_uuid) FILTER (WHERE expires_at <= now()) AS cooling"
            "  FROM routes r WHERE r.virtual_number = n.number AND r.held_until > now()) held"
            " WHERE (%(account)s::text IS NULL OR n.account_id = %(account)s)"
            " AND (%(country)s::text IS NULL OR n.country = %(country)s)"
            " AND (%(state)s::text IS NULL OR n.state = %(state)s)"
            " AND (%(after)s::text IS NULL OR (n.account_id, n.rank) > (%(after)s, %(rank)s))"
            " ORDER BY n.account_id, n.rank LIMIT %(limit)s",
            {
                "account": account_id,
                "country": country,
                "state": state,
                "limit": limit,
                "after": after and after.account_id,
                "rank": after and after.rank,
            },
        )
        return await cursor.fetchall()


async def numbers_of_carrier(connection: Connection, carrier: str) -> list[str]:
    """The numbers, E.164, that a carrier delivers; by account and rank."""
    rows = await connection.execute(
        "SELECT number FROM numbers WHERE carrier = %s ORDER BY account_id, rank", (carrier,)
    )
    return [str(row[0]) for row in await rows.fetchall()]


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
