"""`masking numbers`: the inventory of virtual numbers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from masking.command_line import AsJson, or_exit, say
from masking.errors import MaskingError
from masking.operate.arguments import auth_id, inventory_number
from masking.operate.columns import Columns
from masking.operate.console import in_transaction, on_system
from masking.operate.known import account_must_be_known
from masking.operate.number_file import new_number, read_numbers
from masking.operate.pages import Limit, print_list
from masking.operate.progress import progress
from masking.operate.system import OperatedSystem
from masking.storage.database import Connection
from masking.storage.numbers import (
    Holder,
    NewNumber,
    State,
    StoredNumber,
    add_numbers,
    list_numbers,
    must_be_addable,
    remove_number,
    set_state,
)

app = typer.Typer(name="numbers", no_args_is_help=True, add_completion=False)

EXIT_IN_USE = 1
SHOWN = 20
COLUMNS = {"number": "number", "account": "account_id"} | {
    name: name for name in ("country", "area", "carrier", "state", "live", "cooling")
}
"""Of a list, each with the attribute that it shows."""

Number = Annotated[str, typer.Argument(help="The number, E.164.", metavar="NUMBER", parser=inventory_number)]
Account = Annotated[str | None, typer.Option(help="The account or subaccount.", metavar="AUTH_ID", parser=auth_id)]
OrDrain = Annotated[bool, typer.Option("--drain", help="While sessions are live on it, let it drain instead.")]


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV: number, account, country, area, carrier, capabilities.")],
    account: Account = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check whether they could be added.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add the numbers of a file: all of them, or none when a line is wrong."""

    def read() -> list[NewNumber]:
        with progress("Reading numbers", quiet=as_json) as done:
            return read_numbers(file, account, done)

    numbers = or_exit(read)
    if dry_run:
        in_transaction(lambda connection: must_be_addable(connection, numbers))
        say({"checked": len(numbers)}, f"{len(numbers)} numbers could be imported.", as_json=as_json)
        return
    _add(numbers, as_json=as_json)


@app.command()
def add(
    number: Number,
    account: Annotated[
        str, typer.Option(help="The account or subaccount that may use it.", metavar="AUTH_ID", parser=auth_id)
    ],
    country: Annotated[str, typer.Option(help="ISO country; told by the number when left out.")] = "",
    area: Annotated[str, typer.Option(help="Such as a city.")] = "",
    carrier: Annotated[str, typer.Option(help="Who delivers its calls.")] = "voice",
    capabilities: Annotated[str, typer.Option(help="What it can do, separated by spaces.")] = "voice",
    as_json: AsJson = False,
) -> None:
    """Add one number."""

    def checked() -> list[NewNumber]:
        try:
            return [new_number(number, account, country, area, carrier, capabilities)]
        except ValueError as fault:
            raise MaskingError(str(fault)) from None

    _add(or_exit(checked), as_json=as_json)


@app.command(name="list")
def list_(
    account: Account = None,
    country: Annotated[str | None, typer.Option(help="ISO country.")] = None,
    state: Annotated[State | None, typer.Option(help="State.")] = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List numbers, with the sessions that live on them and those that still hold them after their end."""

    async def read(system: OperatedSystem, after: StoredNumber | None, most: int) -> list[StoredNumber]:
        async with system.database.transaction() as connection:
            found = await list_numbers(
                connection, account_id=account, country=country and country.upper(), state=state, limit=most,
                after=after,
            )  # fmt: skip
            if not found and after is None:
                await account_must_be_known(connection, account)
            return found

    def cells(number: StoredNumber) -> list[str]:
        return [str(getattr(number, name)) for name in COLUMNS.values()]

    print_list("numbers", read, Columns(*COLUMNS, right=("live", "cooling")), cells, limit, as_json=as_json)


@app.command()
def drain(number: Number, as_json: AsJson = False) -> None:
    """Open no more sessions on a number; those that live on it run to their end."""
    _change(number, "draining", lambda connection: set_state(connection, number, "draining"), as_json=as_json)


@app.command()
def reopen(number: Number, as_json: AsJson = False) -> None:
    """Let a draining or blocked number take sessions again."""
    _change(number, "available", lambda connection: set_state(connection, number, "available"), as_json=as_json)


@app.command()
def block(number: Number, or_drain: OrDrain = False, as_json: AsJson = False) -> None:
    """Take a number out of use. Refused while sessions are live on it, unless it may drain."""
    _change(number, "blocked", lambda connection: set_state(connection, number, "blocked"), or_drain, as_json=as_json)


@app.command()
def remove(number: Number, or_drain: OrDrain = False, as_json: AsJson = False) -> None:
    """Take a number out of the inventory. Refused while sessions are live on it, unless it may drain."""
    _change(number, "removed", lambda connection: remove_number(connection, number), or_drain, as_json=as_json)


def _add(numbers: list[NewNumber], *, as_json: bool) -> None:
    async def keep(system: OperatedSystem) -> int:
        with progress("Adding numbers", len(numbers), quiet=as_json or len(numbers) == 1) as done:
            async with system.database.transaction() as connection:
                return await add_numbers(connection, numbers, done)

    new = on_system(keep)
    known = len(numbers) - new
    say({"added": new, "known": known}, f"{new} numbers added, {known} known already.", as_json=as_json)


def _change(
    number: str,
    became: str,
    change: Callable[[Connection], Awaitable[list[Holder]]],
    or_drain: bool = False,
    *,
    as_json: bool,
) -> None:
    async def act(connection: Connection) -> tuple[list[Holder], str]:
        holders = await change(connection)
        if holders and or_drain:
            await set_state(connection, number, "draining")
        return holders, became if not holders else "draining" if or_drain else "unchanged"

    holders, state = in_transaction(act)
    told: dict[str, object] = {
        "number": number,
        "state": state,
        "live": [{"session_uuid": h.session_uuid, "expires_at": h.expires_at.isoformat()} for h in holders],
    }
    lines = [f"{number} is {state}."]
    if holders:
        lines.append(
            f"{len(holders)} sessions are live on it; the last ends {holders[-1].expires_at:%Y-%m-%d %H:%M} UTC:"
        )
        lines += [f"  {holder.session_uuid}" for holder in holders[:SHOWN]]
        lines += ["  …"] if len(holders) > SHOWN else []
        lines.append("Try again then." if or_drain else "Wait for their end, or use --drain.")
    say(told, "\n".join(lines), as_json=as_json)
    if state == "unchanged":
        raise typer.Exit(EXIT_IN_USE)
