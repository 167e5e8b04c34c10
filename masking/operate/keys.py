"""`masking keys`: the master keys, and what is under them."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from pathlib import Path

import typer

from masking.command_line import AsJson, or_exit, say
from masking.errors import StartupError
from masking.operate import ingress
from masking.operate.console import on_system
from masking.operate.progress import progress
from masking.operate.system import OperatedSystem, with_keys_file
from masking.privacy.key_files import add_master_key, load_keyring
from masking.privacy.keyring import FOLLOW_EVERY_S
from masking.settings import load_settings
from masking.storage.database import CONNECT_TIMEOUT
from masking.storage.key_checks import take_note
from masking.storage.rewrapping import PLACES, Use, forget_unused, rewrap_some, uses

FOLLOWED_WITHIN_S = FOLLOW_EVERY_S + CONNECT_TIMEOUT
"""So long after the key file changed, every process has taken it up, and written what it had encrypted before."""

app = typer.Typer(name="keys", no_args_is_help=True, add_completion=False)
app.add_typer(ingress.app)


@app.command(name="list")
def list_(as_json: AsJson = False) -> None:
    """List the master keys by their ids: which one encrypts, and how much is under each."""

    async def look(system: OperatedSystem) -> tuple[str, tuple[str, ...], list[Use]]:
        async with system.database.transaction() as connection:
            return system.keyring.current, system.keyring.master_ids, await uses(connection)

    current, ids, found = on_system(look)
    counts: defaultdict[str, dict[str, int]] = defaultdict(lambda: {place.what: 0 for place in PLACES})
    for use in found:
        counts[use.key_id][use.what] = use.how_many
    keys = [
        {"key_id": key_id, "current": key_id == current, "present": key_id in ids, **counts[key_id]}
        for key_id in sorted({*ids, *counts}, key=lambda name: (len(name), name))
    ]
    if as_json:
        typer.echo(json.dumps({"keys": keys}))
        return
    for key in keys:
        state = "encrypts" if key["current"] else "still decrypts" if key["present"] else "MISSING from the key ring"
        under = ", ".join(f"{key[place.what]} {place.what}" for place in PLACES)
        typer.echo(f"{key['key_id']}  {state}: {under}")


@app.command()
def rotate(as_json: AsJson = False) -> None:
    """Add a fresh master key to the key file; every process encrypts with it within seconds.

    The older ones still decrypt. `masking keys rewrap` then moves what is stored under them.
    """
    path = or_exit(_key_file)

    async def change(system: OperatedSystem) -> str:
        # With the keys of this very database, or it was stopped above.
        key_id = await asyncio.to_thread(add_master_key, path)
        async with system.database.transaction() as connection:
            await take_note(connection, load_keyring(with_keys_file(load_settings())))
        return key_id

    key_id = on_system(change)
    words = f"{key_id} encrypts from now on. Back up the key file, then: masking keys rewrap"
    say({"current": key_id}, words, as_json=as_json)


@app.command()
def rewrap(as_json: AsJson = False) -> None:
    """Move everything that is stored under older master keys to the current one. Safe to stop and to repeat.

    After a rotation it waits a few seconds first, until no process encrypts with an older one any more.
    """

    async def move(system: OperatedSystem) -> tuple[int, int]:
        if (wait := _left_to_follow()) > 0:
            typer.echo(f"Waiting {wait:.0f} s: until then a process may encrypt with an older key.", err=True)
            await asyncio.sleep(wait)
        current, moved, unreadable = system.keyring.current, 0, 0
        async with system.database.transaction() as connection:
            total = sum(use.how_many for use in await uses(connection) if use.key_id != current)
        with progress("Moving keys and tokens", total, quiet=as_json) as done:
            for place in PLACES:
                after: tuple[object, ...] | None = None
                while True:
                    async with system.database.transaction() as connection:
                        batch = await rewrap_some(connection, system.keyring, place, after)
                    moved, unreadable, after = moved + batch.moved, unreadable + batch.unreadable, batch.last
                    done(batch.moved + batch.unreadable)
                    if after is None:
                        break
        async with system.database.transaction() as connection:
            await forget_unused(connection, system.keyring)
        return moved, unreadable

    moved, unreadable = on_system(move)
    words = f"{moved} keys and tokens were moved to the current master key."
    say({"moved": moved, "unreadable": unreadable}, words, as_json=as_json)
    if unreadable:
        typer.echo(
            f"masking: {unreadable} could not be read and were left as they are; `masking keys list` tells which"
            " master key is missing",
            err=True,
        )
        raise typer.Exit(1)


def _left_to_follow() -> float:
    """Seconds until what was encrypted with the keys before the last change of the key file is in the database."""
    settings = with_keys_file(load_settings())
    if settings.keys is not None or settings.keys_command is not None or settings.keys_file is None:
        return 0.0
    return min(FOLLOWED_WITHIN_S, settings.keys_file.stat().st_mtime + FOLLOWED_WITHIN_S - time.time())


def _key_file() -> Path:
    settings = load_settings()
    if settings.keys is not None:
        raise StartupError(
            "the keys come from MASKING_KEYS: add a new one to its JSON, 32 random bytes in base64, give it to every"
            " process, then make it `current` there; or use MASKING_KEYS_FILE"
        )
    if settings.keys_command is not None:
        raise StartupError(
            "the keys come from MASKING_KEYS_COMMAND: add a new one, 32 random bytes in base64, where it reads them,"
            " restart every process, then make it `current` there and restart them again"
        )
    path = with_keys_file(settings).keys_file
    if path is None:
        raise StartupError("no keys: set MASKING_KEYS_FILE to a key file, or MASKING_DATA to the data folder")
    return path
