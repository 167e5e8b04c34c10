"""`masking keys ingress`: the keys under which other services write, one for each day."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from masking.command_line import AsJson, or_exit, say
from masking.errors import MaskingError
from masking.operate.console import in_transaction, on_system
from masking.operate.system import OperatedSystem
from masking.privacy.ingress import ingress_file, ingress_key_id
from masking.privacy.key_files import write_key_file
from masking.storage.ingress_keys import (
    destroy,
    list_ingress_keys,
    make_ahead,
    read_ingress_keys,
)

app = typer.Typer(
    name="ingress", help="The keys under which other services write: one for each day.", no_args_is_help=True
)


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """List them by day (UTC): the master key that wraps each, and how many sessions that lived on it are left."""
    found = in_transaction(list_ingress_keys)
    if as_json:
        told = [
            {
                "key_id": ingress_key_id(key.day),
                "wrapped_by": key.key_id or None,
                "destroyed_at": key.destroyed_at.isoformat() if key.destroyed_at else None,
                "open_sessions": key.open,
                "kept_sessions": key.kept,
            }
            for key in found
        ]
        typer.echo(json.dumps({"ingress_keys": told}))
        return
    for key in found:
        state = f"destroyed at {key.destroyed_at:%Y-%m-%d %H:%M} UTC" if key.destroyed_at else f"under {key.key_id}"
        typer.echo(
            f"{ingress_key_id(key.day)}  {state}; of the sessions that lived on its day {key.open} are open,"
            f" {key.kept} not erased"
        )


@app.command()
def export(
    file: Annotated[
        Path, typer.Argument(help="Where to write them; a file that exists is replaced, and keeps its owner and mode.")
    ],
    days: Annotated[int, typer.Option(help="For so many days, today among them.", min=1, max=400)] = 7,
    back: Annotated[
        int, typer.Option(help="And those of so many days before, to read what began on them.", min=0, max=400)
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Write the keys of some days to a file, for a service: its `MASKING_KEYS_FILE`, or its `MASKING_KEYS`.

    Keys that are not there yet are made. Whoever has the file can write for those days, and read what services that
    had it wrote and were answered.
    """

    async def read(system: OperatedSystem) -> dict[str, bytes]:
        today = datetime.now(UTC).date()
        async with system.database.transaction() as connection:
            await make_ahead(connection, system.keyring, days, today)
            first, last = today - timedelta(days=back), today + timedelta(days=days - 1)
            return await read_ingress_keys(connection, system.keyring, first, last)

    keys = on_system(read)
    or_exit(lambda: _write(file, ingress_file(keys)))
    say({"file": str(file), "keys": sorted(keys)}, f"{file}: {min(keys)} to {max(keys)}", as_json=as_json)


@app.command(name="destroy")
def destroy_(
    day: Annotated[str, typer.Argument(help="Its day, YYYY-MM-DD.", metavar="DAY")],
    yes: Annotated[bool, typer.Option("--yes", help="It is meant; it cannot be undone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Destroy the key of a day before the retention does: what services wrote under it is unreadable from then on.

    So are the evidence packs that are yet to be exported of sessions that services told of something on that day.
    """
    which = or_exit(lambda: _day(day))
    if not yes:
        or_exit(lambda: _refuse("this cannot be undone: add --yes"))

    reason = in_transaction(lambda connection: destroy(connection, which))
    if reason is not None:
        or_exit(lambda: _refuse(f"{ingress_key_id(which)} was not destroyed: {reason}"))
    say({"destroyed": ingress_key_id(which)}, f"{ingress_key_id(which)} is destroyed.", as_json=as_json)


def _day(told: str) -> date:
    try:
        return date.fromisoformat(told.removeprefix("ingress-"))
    except ValueError:
        raise MaskingError("a day is written YYYY-MM-DD") from None


def _refuse(why: str) -> None:
    raise MaskingError(why)


def _write(file: Path, content: str) -> None:
    try:
        write_key_file(file, content)
    except OSError as error:
        raise MaskingError(f"cannot write {file}: {error.strerror}") from None
