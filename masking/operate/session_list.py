"""`masking sessions list`: which sessions there are, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

import typer

from masking.command_line import AsJson, or_exit
from masking.domain.terms import Carrier
from masking.e164 import valid_e164
from masking.errors import MaskingError
from masking.operate.arguments import auth_id, inventory_number, moment, session_id
from masking.operate.columns import Columns
from masking.operate.pages import PAGE, Limit, print_list
from masking.operate.progress import progress
from masking.operate.sessions import app
from masking.operate.system import OperatedSystem
from masking.storage.accounts import principal_of
from masking.storage.database import Connection
from masking.storage.number_questions import was_ours
from masking.storage.session_list import (
    Bound,
    ListedSession,
    Position,
    SessionFilter,
    carriers_of,
    list_every_session,
    place_after,
)

COLUMNS = ("session", "account", "virtual number", "status", "created, UTC", "expires, UTC")
EXIT_UNREADABLE = 1


@app.command(name="list")
def list_(
    account: Annotated[
        str | None,
        typer.Option(
            help="Only of this account and its subaccounts, or of this subaccount.",
            metavar="AUTH_ID",
            parser=auth_id,
        ),
    ] = None,
    status: Annotated[
        Literal["active", "in-progress", "expired"] | None,
        typer.Option(help="As the API means it: one in progress is active, too."),
    ] = None,
    created_after: Annotated[
        datetime | None,
        typer.Option(help="Created at this moment or later, ISO 8601; UTC without an offset.", parser=moment),
    ] = None,
    created_before: Annotated[datetime | None, typer.Option(help="Created before this moment.", parser=moment)] = None,
    carrier: Annotated[
        Carrier | None, typer.Option(help="Only those that it masks. Reads each session that the rest leaves.")
    ] = None,
    number: Annotated[
        str | None, typer.Option(help="Only on this virtual number.", metavar="VIRTUAL_NUMBER", parser=inventory_number)
    ] = None,
    party: Annotated[
        str | None, typer.Option(help="Only those that this number, E.164, is a party of.", metavar="NUMBER")
    ] = None,
    limit: Limit = None,
    after: Annotated[
        str | None, typer.Option(help="Those that come behind this one.", metavar="SESSION", parser=session_id)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List sessions, newest first. Neither a party's number nor a PIN; of erased sessions nothing."""
    of_party = or_exit(lambda: _party(party))
    bounds = [Bound("created_at", ">=", created_after)] if created_after else []
    bounds += [Bound("created_at", "<", created_before)] if created_before else []
    wanted = SessionFilter(virtual_number=number, status=status or "all", bounds=tuple(bounds))
    unreadable: set[str] = set()

    async def fitting(system: OperatedSystem, connection: Connection, page: list[ListedSession]) -> list[ListedSession]:
        if carrier is None:
            return page
        masked_by = await carriers_of(connection, system.keyring, [each.session_uuid for each in page])
        unreadable.update(session_uuid for session_uuid, by in masked_by.items() if by is None)
        return [each for each in page if masked_by.get(each.session_uuid) == carrier]

    async def read(system: OperatedSystem, last: ListedSession | None, most: int) -> list[ListedSession]:
        async with system.database.transaction() as connection:
            owner = None if account is None else await principal_of(connection, account)
            place = await _begin(connection, after) if last is None else _behind(last)
            at_once = most if carrier is None else PAGE
            found: list[ListedSession] = []
            with progress("Reading sessions", quiet=as_json or carrier is None) as done:
                while len(found) < most:
                    page = await list_every_session(connection, system.keyring, owner, wanted, of_party, place, at_once)
                    found += await fitting(system, connection, page)
                    done(len(page))
                    if len(page) < at_once:
                        break
                    place = _behind(page[-1])
            if not found and last is None and number is not None and not await was_ours(connection, number):
                raise MaskingError("this number is not in the inventory, and no session was ever on it")
            return found[:most]

    columns = Columns(*COLUMNS)
    print_list("sessions", read, columns, _cells, limit, as_json=as_json, see="--limit and --after")
    if unreadable:
        typer.echo(f"masking: {len(unreadable)} could not be read: who masks them is not known", err=True)
        raise typer.Exit(EXIT_UNREADABLE)


def _party(number: str | None) -> str | None:
    valid = None if number is None else valid_e164(number)
    if number is not None and valid is None:
        raise MaskingError("--party is not a valid phone number")
    return valid


async def _begin(connection: Connection, after: str | None) -> Position | None:
    if after is None:
        return None
    place = await place_after(connection, after)
    if place is None:
        raise MaskingError("--after: there is no session with this id")
    return place


def _behind(session: ListedSession) -> Position:
    return Position("after", session.created_at, session.session_uuid)


def _cells(session: ListedSession) -> Sequence[str]:
    times = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (session.created_at, session.expires_at))
    return session.session_uuid, session.account, session.virtual_number, session.status, *times
