"""`masking accounts`: who may use the API."""

from __future__ import annotations

import json
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from masking.command_line import AsJson, plain, say
from masking.domain.terms import Carrier
from masking.operate.arguments import AuthId, auth_id
from masking.operate.columns import Columns
from masking.operate.console import in_transaction, on_system
from masking.operate.system import OperatedSystem
from masking.storage.accounts import (
    Account,
    NewToken,
    create_account,
    disable_account,
    enable_account,
    list_accounts,
    rotate_token,
    set_carrier,
    set_deletion,
)

app = typer.Typer(name="accounts", no_args_is_help=True, add_completion=False)

DEFAULT_OVERLAP_HOURS = 24.0


class CarrierName(StrEnum):
    """Who masks an account's sessions."""

    VOICE = "voice"
    PLIVO = "plivo"
    DEFAULT = "default"

    @property
    def carrier(self) -> Carrier | None:
        """As it is stored."""
        carriers: dict[str, Carrier] = {"voice": "voice", "plivo": "plivo"}
        return carriers.get(self.value)


class AtCarrier(StrEnum):
    """What becomes of an account's recordings at the carrier, once we have fetched them."""

    DELETE = "delete"
    KEEP = "keep"
    DEFAULT = "default"

    @property
    def delete(self) -> bool | None:
        """As it is stored."""
        return None if self is AtCarrier.DEFAULT else self is AtCarrier.DELETE

    @classmethod
    def of(cls, delete: bool | None) -> AtCarrier:
        """From how it is stored."""
        return cls.DEFAULT if delete is None else (cls.DELETE if delete else cls.KEEP)


CARRIER_HELP = "Who masks its sessions; `default` is whom its main account names, or MASKING_CARRIER."


@app.command()
def create(
    parent: Annotated[
        str | None, typer.Option(help="Make a subaccount of this main account.", metavar="AUTH_ID", parser=auth_id)
    ] = None,
    carrier: Annotated[CarrierName, typer.Option(help=CARRIER_HELP)] = CarrierName.DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Make an account. Its token is shown this once."""

    async def make(system: OperatedSystem) -> NewToken:
        async with system.database.transaction() as connection:
            return await create_account(connection, system.keyring, parent_id=parent, carrier=carrier.carrier)

    _show_token(on_system(make), as_json=as_json)


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """List the accounts, each main account before its subaccounts."""
    accounts = in_transaction(list_accounts)
    if as_json:
        typer.echo(json.dumps({"accounts": [plain(account) for account in accounts]}))
        return
    columns = Columns("auth id", "created", "tokens", "numbers", "carrier", "recordings", "state",
                      right=("tokens", "numbers"))  # fmt: skip
    typer.echo("\n".join(columns.lines(map(_row, accounts))))


def _row(account: Account) -> tuple[str, ...]:
    name = account.auth_id if account.parent_id is None else f"  {account.auth_id}"
    state = "enabled" if account.disabled_at is None else "disabled"
    counts = (str(account.tokens), str(account.numbers))
    chosen = (account.carrier or "default", AtCarrier.of(account.delete_recordings).value)
    return name, f"{account.created_at:%Y-%m-%d %H:%M}", *counts, *chosen, state


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

    _show_token(on_system(replace), as_json=as_json)


@app.command(name="carrier")
def carrier_(
    auth_id: AuthId,
    carrier: Annotated[CarrierName, typer.Argument(help=CARRIER_HELP)],
    as_json: AsJson = False,
) -> None:
    """Choose who masks an account's sessions. Those that are open keep the carrier that they began with."""
    in_transaction(lambda connection: set_carrier(connection, auth_id, carrier.carrier))
    words = f"New sessions of {auth_id} are masked by: {carrier.value}."
    say({"auth_id": auth_id, "carrier": carrier.carrier}, words, as_json=as_json)


@app.command()
def recordings(
    auth_id: AuthId,
    at_carrier: Annotated[
        AtCarrier,
        typer.Argument(help="`default` is what its main account says, or MASKING_DELETE_CARRIER_RECORDINGS."),
    ],
    as_json: AsJson = False,
) -> None:
    """Choose whether the carrier deletes an account's recordings once we have fetched them, from now on.

    Only where MASKING_RECORDINGS names a place for them: elsewhere they are at the carrier alone, and stay there.
    """
    in_transaction(lambda connection: set_deletion(connection, auth_id, at_carrier.delete))
    words = f"Once they are fetched, new recordings of {auth_id} at the carrier: {at_carrier.value}."
    say({"auth_id": auth_id, "delete_recordings": at_carrier.delete}, words, as_json=as_json)


@app.command()
def disable(auth_id: AuthId, as_json: AsJson = False) -> None:
    """Let nobody in with an account, nor with its subaccounts. Its sessions run to their end."""
    in_transaction(lambda connection: disable_account(connection, auth_id))
    say({"auth_id": auth_id, "disabled": True}, f"{auth_id} is disabled.", as_json=as_json)


@app.command()
def enable(auth_id: AuthId, as_json: AsJson = False) -> None:
    """Let an account in again that was disabled, with the tokens that it has. Disabled subaccounts stay disabled."""
    in_transaction(lambda connection: enable_account(connection, auth_id))
    say({"auth_id": auth_id, "disabled": False}, f"{auth_id} is enabled.", as_json=as_json)


def _show_token(new: NewToken, *, as_json: bool) -> None:
    words = f"auth id     {new.auth_id}\nauth token  {new.auth_token}\n\nThe token is shown only now."
    say(new._asdict(), words, as_json=as_json)
