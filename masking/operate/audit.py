"""`masking audit`: evidence packs of sessions, and what they prove."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masking.command_line import AsJson, or_exit, printable, say
from masking.errors import MaskingError, StartupError
from masking.operate.arguments import Session
from masking.operate.console import on_system
from masking.operate.sessions import Numbers
from masking.operate.system import OperatedSystem, operated_system, with_keys_file
from masking.settings import load_settings

if TYPE_CHECKING:
    from masking.audit.keys import Keys
    from masking.audit.pack import Header, Pack
    from masking.domain.timeline import Timeline

app = typer.Typer(name="audit", no_args_is_help=True, add_completion=False)

EXIT_DIFFERS, EXIT_NOT_ALL = 1, 3

KeyOption = Annotated[
    Path | None,
    typer.Option("--key", help="The file of the session's key, of `masking audit key`.", exists=True, dir_okay=False),
]
Offline = Annotated[bool, typer.Option("--offline", help="Ask no database for the session's key.")]
Signer = Annotated[
    str | None,
    typer.Option(help="The public key that must have signed; this system's, where its keys are.", metavar="BASE64"),
]


@app.command(name="export")
def export_(
    session: Session,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file; SESSION.evidence here unless given.", dir_okay=False),
    ] = None,
    is_open: Annotated[
        bool, typer.Option("--open", help="Leave nothing sealed: readable by anybody, also after an erasure.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the evidence pack of a session whose bill is closed: one file, chained, signed, sealed."""
    from masking.audit.pack import SUFFIX

    ending = f".open{SUFFIX}" if is_open else SUFFIX
    path = output or Path(f"{session}{ending}")
    header = on_system(lambda system: _export(system, session, path, is_open))
    if is_open:
        typer.echo("masking: this pack stands in the clear: an erasure of the session will not reach it", err=True)
    words = f"{path}: signed by {header.public_key}"
    say({"file": str(path), "header": header.model_dump(mode="json")}, words, as_json=as_json)


@app.command()
def key(session: Session) -> None:
    """Print the data key of a session, for who is to verify its pack without this system.

    Whoever has it can read the session's packs, also after the session was erased. That it was given is noted.
    """
    typer.echo(on_system(lambda system: _key(system, session)))


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="An evidence pack.", exists=True, dir_okay=False)],
    key_file: KeyOption = None,
    offline: Offline = False,
    numbers: Numbers = False,
    as_json: AsJson = False,
) -> None:
    """Tell what a pack says happened. It is read, not verified beyond its bytes and its signature."""
    from masking.operate.timeline_lines import print_timeline

    pack, told = or_exit(lambda: asyncio.run(_shown(file, key_file, offline, numbers)))
    if as_json:
        typer.echo(told.model_dump_json())
    else:
        print_timeline(told)
    if pack.faults:
        told_so = f"masking: the pack was altered: {printable(str(pack.faults[0]))}; `masking audit verify` tells all"
        typer.echo(told_so, err=True)
        raise typer.Exit(EXIT_DIFFERS)


async def _export(system: OperatedSystem, session_uuid: str, path: Path, is_open: bool) -> Header:
    # They load Temporal's client.
    from temporalio.service import RPCError

    from masking.audit.export import code_commit, export, write_whole
    from masking.operate.looking import operator_looks
    from masking.run.system import temporal_environment
    from masking.temporal import connect

    settings = load_settings()
    client = await connect(system.keyring, environment=temporal_environment(settings))
    commit = code_commit(settings.build_id)
    try:
        made = await export(client, system.database, system.keyring, session_uuid, commit=commit, is_open=is_open)
    except RPCError as error:
        raise MaskingError(f"Temporal does not give the history ({error.status.name}); try again") from None
    if is_open:
        await operator_looks(system, "evidence pack in the clear", session_uuid=session_uuid)
    try:
        await asyncio.to_thread(write_whole, path, made.lines)
    except OSError as error:
        raise MaskingError(f"cannot write {path}: {error.strerror}") from None
    # Temporal's core may abort an interpreter that ends at once (sdk-python #300).
    await asyncio.sleep(0.05)
    return made.header


async def _key(system: OperatedSystem, session_uuid: str) -> str:
    from masking.audit.keys import KeyFile
    from masking.operate.looking import operator_looks
    from masking.operate.session_keys import cipher_of
    from masking.privacy.keyring import Unreadable
    from masking.storage.evidence import read_keys

    async with system.database.transaction() as connection:
        stored = (await read_keys(connection, [session_uuid])).get(session_uuid)
    if stored is None:
        raise MaskingError("there is no session with this id")
    try:
        cipher = cipher_of(system, stored)
    except Unreadable as error:
        raise MaskingError(str(error)) from None
    await operator_looks(system, "data key of a session", session_uuid=session_uuid)
    return KeyFile.of(session_uuid, cipher).model_dump_json()


async def _shown(file: Path, key_file: Path | None, offline: bool, numbers: bool) -> tuple[Pack, Timeline]:
    from masking.audit.keys import cipher_of
    from masking.audit.opening import opened
    from masking.audit.packs import read_file
    from masking.audit.telling import told
    from masking.operate.timeline_lines import show_by
    from masking.privacy.keyring import Unreadable

    pack = await asyncio.to_thread(read_file, file)
    if pack.header is None:
        raise MaskingError(f"{file}: {pack.faults[0]}")
    keys = await keys_for(pack.header, key_file, offline, None, looks=numbers)
    try:
        cipher = cipher_of(pack.header, keys)
        held = opened(pack.records, cipher)
        session = held.session
        if session is None:
            from masking.audit.history import refused_session, runs_of

            session = refused_session(runs_of(pack.records, cipher))
    except Unreadable as error:
        raise MaskingError(f"it cannot be read: {error}") from None
    if session is None:
        raise MaskingError("it holds no session; `masking audit verify` tells what is wrong with it")
    return pack, told(held, session, show_by(numbers))


async def keys_for(
    header: Header, key_file: Path | None, offline: bool, signer: str | None, *, looks: bool = False
) -> Keys:
    """What a pack is verified and read with: from a file, else from this system unless that is not to be asked.

    Args:
        looks: whether numbers are to be shown in full.

    Raises:
        MaskingError: the key file is none.
    """
    from masking.audit.keys import Keys, key_of, read_key_file
    from masking.operate.looking import NUMBERS, operator_looks
    from masking.operate.session_keys import keys_of

    named = signer or own_signer()
    if key_file is not None:
        content = await asyncio.to_thread(key_file.read_text, errors="replace")
        return Keys(key_of(read_key_file(content)), "", named)
    if offline or header.is_open:
        return Keys(None, "the session's key is not at hand; --key names its file", named)
    try:
        async with operated_system(load_settings()) as system:
            if looks:
                await operator_looks(system, NUMBERS, session_uuid=header.session_uuid)
            return (await keys_of(system, [header.session_uuid], named))[header.session_uuid]
    except StartupError as error:
        return Keys(None, f"the session's key is not at hand; --key names its file ({error})", named)


def own_signer() -> str | None:
    """The public key of this system's packs; None where its keys are not at hand."""
    from masking.audit.signing import Signer
    from masking.privacy.key_files import load_keyring

    with suppress(StartupError):
        return Signer(load_keyring(with_keys_file(load_settings()))).public_key
    return None
