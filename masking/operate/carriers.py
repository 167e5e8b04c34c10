"""`masking carriers`: whether the carrier works, and setting it up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import typer
from pydantic import SecretStr

from masking.carriers.check import Step, check, check_masking
from masking.carriers.chosen import orders_of
from masking.carriers.leave import plivo_account, voice_account
from masking.carriers.plivo.configured import plivo_credentials, plivo_sessions
from masking.carriers.rest import carriers_http
from masking.carriers.voice.calls_api import CallsApi
from masking.command_line import AsJson, screen
from masking.operate.console import on_system
from masking.operate.system import OperatedSystem
from masking.privacy.keyring import Keyring
from masking.settings import Settings, load_settings
from masking.storage import carrier_turns
from masking.storage.carrier_turns import Account
from masking.storage.database import Connection
from masking.storage.numbers import numbers_of_carrier

app = typer.Typer(name="carriers", no_args_is_help=True, add_completion=False)

EXIT_FAILED = 1
VOICE = "voice"
COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


@app.command(name="check")
def check_(as_json: AsJson = False) -> None:
    """Tell step by step whether the carrier works, without placing a call. Exits with 1 if it does not.

    When it takes our credentials, it is asked again by everybody, should they have been refused before.
    """

    async def look(system: OperatedSystem) -> list[Step]:
        settings = carrier_settings(load_settings(), system.keyring)
        async with carriers_http() as http:
            masking = await _masking_steps(system, settings, http)
            if masking and settings.carrier == "plivo" and settings.carrier_api_url is None:
                # Nobody needs a carrier that places calls.
                return masking
            return [*await _voice_steps(system, settings, http), *masking]

    steps = on_system(look)
    works = all(step.outcome != "failed" for step in steps)
    if as_json:
        typer.echo(json.dumps({"works": works, "steps": [step._asdict() for step in steps]}))
    else:
        _show(steps)
        typer.echo("The carrier works." if works else "The carrier does not work.")
    if not works:
        raise typer.Exit(EXIT_FAILED)


def carrier_settings(settings: Settings, keyring: Keyring) -> Settings:
    """The settings, with what `masking run` adds to them for its simulator where they name no carrier."""
    if settings.database_url is not None or settings.carrier_api_url is not None:
        return settings
    token = settings.carrier_auth_token or SecretStr(keyring.derived_token("carrier"))
    return settings.model_copy(update={"carrier_api_url": settings.simulator_url, "carrier_auth_token": token})


async def carriers_numbers(connection: Connection) -> list[str]:
    """Our numbers that the voice carrier delivers, E.164."""
    return await numbers_of_carrier(connection, VOICE)


async def _voice_steps(system: OperatedSystem, settings: Settings, http: httpx.AsyncClient) -> list[Step]:
    """Of the carrier that places calls."""
    orders, account = orders_of(settings, http, None), voice_account(system.keyring, settings)
    if orders is None or settings.carrier_api_url is None or account is None:
        told = "MASKING_CARRIER_API_URL and MASKING_CARRIER_AUTH_TOKEN name nobody who places calls"
        return [Step("settings", "failed", told)]
    async with system.database.transaction() as connection:
        pool = await carriers_numbers(connection)
    steps = [Step("settings", "ok", f"{settings.carrier_auth_id} at {settings.carrier_api_url}")]
    return steps + await _looked(system, account, check(orders, settings.carrier_api_url, settings.base_url, pool))


async def _masking_steps(system: OperatedSystem, settings: Settings, http: httpx.AsyncClient) -> list[Step]:
    """Of Plivo, where it masks; none where the settings do not name it."""
    credentials, account = plivo_credentials(settings), plivo_account(system.keyring, settings)
    sessions = plivo_sessions(settings, http, None)
    if credentials is None or account is None or sessions is None:
        return []
    url = settings.plivo_api_url.rstrip("/")
    looked = check_masking(CallsApi(http, url, *credentials), sessions.reach, url, settings.base_url)
    steps = [Step("settings", "ok", f"{account.auth_id} at {url}"), *await _looked(system, account, looked)]
    return [step._replace(name=f"plivo: {step.name}") for step in steps]


async def _looked(system: OperatedSystem, account: Account, looked: AsyncIterator[Step]) -> list[Step]:
    steps = []
    async for step in looked:
        steps.append(step)
        if step.name == "credentials":
            async with system.database.transaction() as connection:
                steps += await _stops(connection, account, step)
                steps += await _rest(connection, account, step)
    return steps


async def _rest(connection: Connection, account: Account, credentials: Step) -> list[Step]:
    """That the carrier rests after failures in a row, and whether it still does."""
    rest = await carrier_turns.rest_of(connection, account)
    if rest is None:
        return []
    failed = f"it had failed {rest.in_a_row} times in a row"
    if credentials.outcome != "ok":
        return [Step("resting", "warning", f"{failed}, and is tried again by itself")]
    await carrier_turns.worked(connection, account)
    return [Step("resting", "ok", f"{failed}; from now on it is asked again")]


async def _stops(connection: Connection, account: Account, credentials: Step) -> list[Step]:
    """That the carrier was asked nothing any more, and whether it is again."""
    steps = []
    for stop in await carrier_turns.stops(connection):
        if stop.account != account.auth_id:
            continue
        since = f"nothing was asked since {stop.since:%Y-%m-%d %H:%M:%S} UTC, for {stop.why}"
        if stop.credentials != account.credentials:
            steps.append(Step("stopped", "warning", f"with other credentials, which some process may use: {since}"))
        elif credentials.outcome == "ok":
            await carrier_turns.resume(connection, account)
            steps.append(Step("stopped", "ok", f"{since}; from now on it is asked again"))
        else:
            steps.append(Step("stopped", "failed", since))
    return steps


def _show(steps: list[Step]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for step in steps:
        table.add_row(step.name, Text(step.outcome, style=COLOURS[step.outcome]), Text(step.told))
    screen(soft_wrap=True).print(table)
