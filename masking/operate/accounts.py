"""`masking accounts`: who may use the API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, TypeVar

import typer

from masking.errors import MaskingError
from masking.operate.system import OperatedSystem, operated_system
from masking.process import EXIT_CANNOT_START
from masking.settings import load_settings
from masking.storage.accounts import (
    Account,
    NewToken,
    create_account,
    disable_account,
    list_accounts,
    rotate_token,
)

app = typer.Typer(name="accounts", help="Accounts and subaccounts, and their tokens.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
AuthId = Annotated[str, typer.Argument(help="The account's auth id, MA… or SA….", metavar="AUTH_ID")]
DEFAULT_OVERLAP_HOURS = 24.0

ResultT = TypeVar("ResultT")


@app.command()
def create(
    parent: Annotated[
        str | None, typer.Option(help="Make a subaccount of this main account.", metavar="AUTH_ID")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an account. Its token is shown this once."""

    async def make(system: OperatedSystem) -> NewToken:
        async with system.database.transaction() as connection:
            return await create_account(connection, system.keyring, parent_id=parent)

    _show_token(_on_system(make), as_json=as_json)


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """List the accounts, each main account before its subaccounts."""

    async def find(system: OperatedSystem) -> list[Account]:
        async with system.database.transaction() as connection:
            return await list_accounts(connection)

    accounts = _on_system(find)
    if as_json:
        typer.echo(json.dumps({"accounts": [_told(account) for account in accounts]}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("auth id", "created", "tokens", "numbers", "state")
    for account in accounts:
        name = account.auth_id if account.parent_id is None else f"  {account.auth_id}"
        state = "enabled" if account.disabled_at is None else "disabled"
        table.add_row(name, f"{account.created_at:%Y-%m-%d %H:%M}", str(account.tokens), str(account.numbers), state)
    Console().print(table)


@app.command(name="rotate-token")
def rotate(
    auth_id: AuthId,
    overlap: Annotated[
        float, typer.Option(help="Hours for which the old tokens stay valid.", min=0, max=8760)
    ] = DEFAULT_OVERLAP_HOURS,
    as_json: AsJson = False,
) -> None:
    """Give an account a new token. Callbacks are signed with both while the old one is valid."""

    async def replace(system: OperatedSystem) -> NewToken:
        async with system.database.transaction() as connection:
            return await rotate_token(connection, system.keyring, auth_id, timedelta(hours=overlap))

    _show_token(_on_system(replace), as_json=as_json)


@app.command()
def disable(auth_id: AuthId, as_json: AsJson = False) -> None:
    """Let nobody in with an account, nor with its subaccounts. Its sessions run to their end."""

    async def end(system: OperatedSystem) -> None:
        async with system.database.transaction() as connection:
            await disable_account(connection, auth_id)

    _on_system(end)
    typer.echo(json.dumps({"auth_id": auth_id, "disabled": True}) if as_json else f"{auth_id} is disabled.")


def _told(account: Account) -> dict[str, object]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value for key, value in account._asdict().items()
    }


def _show_token(new: NewToken, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(new._asdict()))
        return
    typer.echo(f"auth id     {new.auth_id}\nauth token  {new.auth_token}\n\nThe token is shown only now.")


def _on_system(action: Callable[[OperatedSystem], Awaitable[ResultT]]) -> ResultT:
    """Run one action, and exit with 2 and a line that says what to do when it cannot be done."""

    async def act() -> ResultT:
        async with operated_system(load_settings()) as system:
            return await action(system)

    try:
        return asyncio.run(act())
    except MaskingError as error:
        typer.echo(f"masking: {error}", err=True)
        raise typer.Exit(EXIT_CANNOT_START) from None
