"""`masking carriers plivo`: our application at Plivo, and the numbers on which it runs."""

from __future__ import annotations

import json
from typing import Annotated

import httpx
import typer

from masking.carriers.check import webhook_url
from masking.carriers.leave import shared_leave, voice_account
from masking.carriers.rest import RestApi, carriers_http
from masking.carriers.voice.setup import Change, Plan, carry_out, plan, wanted_for
from masking.command_line import AsJson
from masking.errors import MaskingError, StartupError
from masking.operate.carriers import app as carriers
from masking.operate.carriers import carrier_settings, carriers_numbers
from masking.operate.columns import Columns
from masking.operate.console import on_system
from masking.operate.system import OperatedSystem
from masking.settings import Settings, load_settings

app = typer.Typer(name="plivo", help="Plivo: its application for our numbers.", no_args_is_help=True)
carriers.add_typer(app)

EXIT_INCOMPLETE, EXIT_NOT_CONFIRMED = 1, 3
VERBS = {"create": "create", "update": "change", "attach": "attach"}

Name = Annotated[
    str | None, typer.Option("--name", help="The application's name; one that follows from the gateway's host else.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, change nothing.")]
AnyUrl = Annotated[
    bool, typer.Option("--any-url", help="Also where Plivo cannot reach the gateway's URL, as far as it tells.")
]


@app.callback()
def group() -> None:
    """Commands about Plivo."""


@app.command()
def setup(
    name: Name = None, yes: Yes = False, dry_run: DryRun = False, any_url: AnyUrl = False, as_json: AsJson = False
) -> None:
    """Let calls to our numbers reach this deployment's gateway.

    Makes or changes Plivo's application with the gateway's answer, hangup and fallback URLs, and attaches our numbers
    to it. Says first what it would change, and asks. Repeating it changes nothing more. Exits with 1 when Plivo's
    account lacks some of our numbers.
    """
    if as_json and not (yes or dry_run):
        raise typer.BadParameter("goes with --yes or --dry-run: nobody can be asked", param_hint="--json")
    found = on_system(lambda system: _planned(system, name, any_url=any_url))
    if not as_json:
        _show(found)
    done: list[Change] = []
    if found.changes and not dry_run:
        if not yes and not _confirmed():
            raise typer.Exit(EXIT_NOT_CONFIRMED)
        done = on_system(lambda system: _carried_out(system, found))
    if as_json:
        told = {
            "application": found.wanted.name,
            "changes": [change._asdict() for change in found.changes],
            "done": len(done),
            "missing": list(found.missing),
        }
        typer.echo(json.dumps(told))
    elif done:
        typer.echo(f"{len(done)} changes were made.")
    if found.missing:
        raise typer.Exit(EXIT_INCOMPLETE)


def _confirmed() -> bool:
    try:
        return typer.confirm("Change this at Plivo?")
    except typer.Abort:
        # Nobody answers.
        typer.echo(err=True)
        return False


def _rest(system: OperatedSystem, settings: Settings, http: httpx.AsyncClient) -> RestApi:
    if settings.carrier_api_url is None or settings.carrier_auth_token is None:
        raise StartupError("MASKING_CARRIER_API_URL, _AUTH_ID and _AUTH_TOKEN are not set: they name Plivo's account")
    leave = shared_leave(system.database, voice_account(system.keyring, settings), settings)
    token = settings.carrier_auth_token.get_secret_value()
    return RestApi(http, settings.carrier_api_url.rstrip("/"), settings.carrier_auth_id, token, leave)


async def _planned(system: OperatedSystem, name: str | None, *, any_url: bool) -> Plan:
    settings = carrier_settings(load_settings(), system.keyring)
    reached = webhook_url(settings.base_url, settings.carrier_api_url or "")
    if reached.outcome == "failed" and not any_url:
        raise MaskingError(reached.told)
    async with system.database.transaction() as connection:
        pool = await carriers_numbers(connection)
    async with carriers_http() as http:
        return await plan(_rest(system, settings, http), wanted_for(settings.base_url, name), pool)


async def _carried_out(system: OperatedSystem, found: Plan) -> list[Change]:
    settings = carrier_settings(load_settings(), system.keyring)
    async with carriers_http() as http:
        return [change async for change in carry_out(_rest(system, settings, http), found)]


def _show(found: Plan) -> None:
    if not found.changes:
        typer.echo(f"Nothing to change: the application {found.wanted.name} is as it should be.")
    else:
        state = "is new" if found.app_id is None else f"is there as {found.app_id}"
        typer.echo(f"The application {found.wanted.name} {state}.")
        rows = ((VERBS[change.kind], change.what, change.before or "–", change.after) for change in found.changes)
        typer.echo("\n".join(Columns("do", "what", "now", "then").lines(rows)))
    if found.missing:
        typer.echo(f"Plivo's account does not have: {', '.join(found.missing)}")
