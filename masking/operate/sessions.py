"""`masking sessions`: the story of one session."""

from __future__ import annotations

from typing import Annotated

import typer

from masking.command_line import AsJson
from masking.domain.timeline import Timeline
from masking.errors import MaskingError
from masking.operate.arguments import Session
from masking.operate.console import on_system
from masking.operate.system import OperatedSystem

app = typer.Typer(name="sessions", no_args_is_help=True, add_completion=False)

Numbers = Annotated[bool, typer.Option("--numbers", help="Show phone numbers in full; that this was done is noted.")]


@app.callback()
def _group() -> None:
    """Keep `show` a command of its own."""


@app.command()
def show(session: Session, numbers: Numbers = False, as_json: AsJson = False) -> None:
    """Tell what happened in a session: who called when, what each side saw, decisions, callbacks, money."""
    from masking.operate.timeline_lines import print_timeline

    found = on_system(lambda system: _told(system, session, numbers))
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        print_timeline(found)


async def _told(system: OperatedSystem, session_uuid: str, numbers: bool) -> Timeline:
    # They load what Temporal's messages consist of, and a phone number library.
    from masking.audit.ledger import ledger_records
    from masking.audit.opening import opened
    from masking.audit.stored import stored_records
    from masking.audit.telling import told, told_of_erased
    from masking.operate.looking import NUMBERS, operator_looks
    from masking.operate.session_keys import cipher_of
    from masking.operate.timeline_lines import show_by
    from masking.privacy.keyring import Unreadable
    from masking.storage.evidence import read_evidence, read_keys

    async with system.database.transaction() as connection:
        stored = await read_evidence(connection, session_uuid)
        ledger = await ledger_records(connection, session_uuid)
        key = (await read_keys(connection, [session_uuid])).get(session_uuid)
    if stored is None or key is None:
        raise MaskingError("there is no session with this id; one that was refused left nothing but its history")
    try:
        if key.erased_at is not None:
            held = opened([*stored_records(stored, None, None), *ledger], None)
            return told_of_erased(session_uuid, held, key.erased_at)
        cipher = cipher_of(system, key)
        held = opened([*stored_records(stored, cipher, None), *ledger], cipher)
    except Unreadable as error:
        raise MaskingError(f"the session cannot be read: {error}") from None
    if held.session is None:
        raise MaskingError("the session's state is not stored")
    if numbers:
        await operator_looks(system, NUMBERS, session_uuid=session_uuid)
    return told(held, held.session, show_by(numbers))
