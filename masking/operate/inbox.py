"""`masking inbox`: what carriers told us that no workflow has, or that came too late."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Literal

import typer

from masking.command_line import AsJson, plain, say, say_some
from masking.operate.arguments import OfSession, Session
from masking.operate.console import in_transaction, on_system
from masking.operate.known import of_known_session
from masking.operate.progress import progress
from masking.operate.system import OperatedSystem
from masking.storage.batches import in_batches
from masking.storage.corrections import corrections_of
from masking.storage.inbox import Standing, retry_some, standing

app = typer.Typer(name="inbox", no_args_is_help=True, add_completion=False)


@app.command(name="list")
def list_(
    state: Annotated[
        Literal["waiting", "unreadable", "late"],
        typer.Option(help="On their way; impossible to decrypt; or come after their session had been settled."),
    ] = "waiting",
    session: OfSession = None,
    limit: Annotated[int, typer.Option(help="The oldest so many.", min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List events, oldest first: which session, which signal, since when. Never what they say."""

    found = in_transaction(
        of_known_session(lambda connection: standing(connection, state, limit + 1, session), session)
    )
    say_some("events", found, _line, state, limit, as_json=as_json)


def _line(event: Standing) -> str:
    tries = f", {event.attempts} tries" if event.attempts else ""
    return f"{event.received_at:%Y-%m-%d %H:%M:%S} UTC  {event.session_uuid}  {event.signal}{tries}"


@app.command(name="retry")
def retry_(as_json: AsJson = False) -> None:
    """Let events that wait for a later try, or could not be read, be tried at once: after keys were mended, say."""

    async def again(system: OperatedSystem) -> int:
        with progress("Retrying events", quiet=as_json) as done:
            return await in_batches(system.database, retry_some, done)

    count = on_system(again)
    say({"retried": count}, f"{count} events will be tried again.", as_json=as_json)


@app.command()
def corrections(session: Session, as_json: AsJson = False) -> None:
    """Tell what late events added to a session's bill after it was closed. The bill itself never changes."""

    found = in_transaction(of_known_session(lambda connection: corrections_of(connection, session), session))
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
