"""`masking inbox`: what carriers told us that no workflow has, or that came too late."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Literal

import typer

from masking.command_line import AsJson, plain, say, say_some
from masking.errors import MaskingError
from masking.operate.console import on_system
from masking.operate.system import OperatedSystem
from masking.storage.corrections import Correction, corrections_of
from masking.storage.inbox import Standing, retry, standing
from masking.storage.resuming import standing as standing_of

app = typer.Typer(name="inbox", no_args_is_help=True, add_completion=False)

Session = Annotated[str | None, typer.Option("--session", help="Only of this session.", metavar="UUID")]


@app.command(name="list")
def list_(
    state: Annotated[
        Literal["waiting", "unreadable", "late"],
        typer.Option(help="On their way; impossible to decrypt; or come after their session had been settled."),
    ] = "waiting",
    session: Session = None,
    limit: Annotated[int, typer.Option(help="The oldest so many.", min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List events, oldest first: which session, which signal, since when. Never what they say."""

    async def find(system: OperatedSystem) -> list[Standing]:
        async with system.database.transaction() as connection:
            return await standing(connection, state, limit, session)

    say_some("events", on_system(find), _line, state, limit, as_json=as_json)


def _line(event: Standing) -> str:
    tries = f", {event.attempts} tries" if event.attempts else ""
    return f"{event.received_at:%Y-%m-%d %H:%M:%S} UTC  {event.session_uuid}  {event.signal}{tries}"


@app.command(name="retry")
def retry_(as_json: AsJson = False) -> None:
    """Let events that wait for a later try, or could not be read, be tried at once: after keys were mended, say."""

    async def again(system: OperatedSystem) -> int:
        async with system.database.transaction() as connection:
            return await retry(connection)

    count = on_system(again)
    say({"retried": count}, f"{count} events will be tried again.", as_json=as_json)


@app.command()
def corrections(
    session: Annotated[str, typer.Argument(help="The session's id.", metavar="SESSION")], as_json: AsJson = False
) -> None:
    """Tell what late events added to a session's bill after it was closed. The bill itself never changes."""

    async def find(system: OperatedSystem) -> list[Correction]:
        async with system.database.transaction() as connection:
            corrections = await corrections_of(connection, session)
            if not corrections and await standing_of(connection, session) == "unknown":
                raise MaskingError("there is no session with this id")
            return corrections

    found = on_system(find)
    if as_json:
        told = [plain(each) | {"amount": format(each.amount, "f")} for each in found]
        typer.echo(json.dumps({"corrections": told}))
        return
    for each in found:
        typer.echo(
            f"{each.corrected_at:%Y-%m-%d %H:%M:%S} UTC  {each.call_count:+} legs, {each.billed_duration:+} s billed,"
            f" {each.amount:+f} {each.currency}"
        )
    total = sum((each.amount for each in found), Decimal(0))
    typer.echo(f"{len(found)} corrections, {total:+f} in all.")
