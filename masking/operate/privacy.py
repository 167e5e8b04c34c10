"""`masking privacy`: erasing sessions, and keeping some from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masking.command_line import AsJson, or_exit, say, say_some
from masking.e164 import valid_e164
from masking.errors import MaskingError
from masking.log_format import redacted
from masking.operate.arguments import OfSession, Session, Sessions, moment
from masking.operate.console import in_transaction, on_system
from masking.operate.known import of_known_session
from masking.operate.many import confirm
from masking.operate.progress import progress
from masking.operate.system import OperatedSystem
from masking.privacy.certificates import is_genuine, public_key
from masking.settings import age, load_settings
from masking.storage.database import Connection
from masking.storage.erasure import Chosen, LegalHold, find, hold, holds, reasons_against, release
from masking.storage.looks import Look, looks

if TYPE_CHECKING:
    from masking.erasure.erasing import Outcome

app = typer.Typer(name="privacy", no_args_is_help=True, add_completion=False)

EXIT_SOME_LEFT = 1
BATCH = 500
"""So many are erased before the next ones: what is done by then is certified, and told."""


class CannotErase(MaskingError):
    """The command line does not say which sessions, or that it is meant."""


@app.command(name="erase")
def erase_(
    sessions: Sessions = None,
    party: Annotated[
        str | None, typer.Option(help="All sessions of this number, E.164: those it is a party of.", metavar="NUMBER")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(help="All whose bill was closed so long ago: 90d, 36h.", metavar="AGE")
    ] = None,
    unfinished: Annotated[
        bool,
        typer.Option(
            "--unfinished",
            help="All whose key is destroyed already while Temporal may have copies: it was away, or"
            " the command was stopped.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which it would be.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; it cannot be undone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make sessions unreadable for good: their keys are destroyed, and Temporal's copies deleted. Bills stay.

    Prints a signed certificate for each, as soon as it is made. Exits with 1 when some could not be erased: those
    that live, that still hold their parties, or that are under a legal hold. `--dry-run` names these, too.
    """
    chosen = or_exit(lambda: _chosen(sessions, party, older_than, unfinished=unfinished))

    async def look(system: OperatedSystem) -> list[str]:
        async with system.database.transaction() as connection:
            return await find(connection, system.keyring, chosen)

    found = on_system(look)
    if dry_run:
        against = on_system(lambda system: _against(system, found))
        would = [session_uuid for session_uuid in found if session_uuid not in against]
        words = "\n".join([*would, f"{len(would)} sessions."])
        say({"would_erase": would, "left": _left(against)}, words, as_json=as_json)
        _tell_left(against, "would not be", quiet=as_json)
        return
    if found and not yes:
        or_exit(
            lambda: confirm(
                f"erases {len(found)} sessions for good", f"Erase {len(found)} sessions for good?", "nothing was erased"
            )
        )
    left: dict[str, str] = {}
    begin = '{"erased": [' if as_json else ""

    def tell(outcome: Outcome) -> None:
        nonlocal begin
        if outcome.certificate is None:
            left[outcome.session_uuid] = outcome.reason
        else:
            typer.echo(begin + json.dumps(outcome.certificate), nl=not as_json)
            begin = ", " if as_json else ""

    try:
        on_system(lambda system: _erase_all(system, found, tell, quiet=as_json))
    except KeyboardInterrupt:
        typer.echo("masking: stopped; `masking privacy erase --unfinished` finishes what was begun", err=True)
        raise
    finally:
        if as_json:
            typer.echo(f'{begin.removesuffix(", ")}], "left": {json.dumps(_left(left))}}}')
    _tell_left(left, "was not", quiet=as_json)


def _left(reasons: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"session_uuid": session_uuid, "reason": reason} for session_uuid, reason in reasons.items()]


def _tell_left(reasons: Mapping[str, str], how: str, *, quiet: bool) -> None:
    """Exits where there are some."""
    for session_uuid, reason in reasons.items() if not quiet else ():
        typer.echo(f"masking: {session_uuid} {how} erased: {reason}", err=True)
    if reasons:
        raise typer.Exit(EXIT_SOME_LEFT)


@app.command(name="hold")
def hold_(
    session: Session,
    reason: Annotated[str, typer.Option(help="Why; shown whenever somebody tries. Without personal data.")],
) -> None:
    """Keep a session from being erased."""
    or_exit(lambda: _check_reason(reason))

    async def keep(connection: Connection) -> None:
        if not await hold(connection, session, reason):
            raise MaskingError("there is no session with this id, or it was erased")

    in_transaction(keep)
    typer.echo("It is kept.")


@app.command(name="release")
def release_(session: Session) -> None:
    """Let a session be erased again."""

    async def let_go(connection: Connection) -> None:
        if not await release(connection, session):
            raise MaskingError("there is no legal hold on this session; list them with `masking privacy holds`")

    in_transaction(let_go)
    typer.echo("It may be erased.")


@app.command(name="holds")
def holds_(
    limit: Annotated[int, typer.Option(help="The oldest so many.", min=1, max=10_000)] = 50, as_json: AsJson = False
) -> None:
    """List the legal holds."""
    found = in_transaction(lambda connection: holds(connection, limit + 1))
    say_some("holds", found, _line, "held", limit, as_json=as_json)


@app.command(name="looks")
def looks_(
    session: OfSession = None,
    since: Annotated[
        datetime | None,
        typer.Option(help="Only from this moment on, ISO 8601; UTC without an offset.", parser=moment),
    ] = None,
    limit: Annotated[int, typer.Option(help="The newest so many.", min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List who looked at what is otherwise hidden, newest first: decoded payloads, numbers, answers to callbacks."""

    found = in_transaction(
        of_known_session(
            lambda connection: looks(connection, session_uuid=session, since=since, limit=limit + 1), session
        )
    )
    say_some("looks", found, _look_line, "looks", limit, as_json=as_json)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A file with one certificate.", exists=True, dir_okay=False)],
    key: Annotated[
        str | None, typer.Option(help="The public key to check it with; this system's unless given.", metavar="BASE64")
    ] = None,
) -> None:
    """Check a certificate of erasure. Exits with 1 when it is not genuine."""

    async def own(system: OperatedSystem) -> str:
        return public_key(system.keyring)

    checked_with = key or on_system(own)
    try:
        certificate = json.loads(file.read_text())
    except ValueError:
        certificate = None
    if not isinstance(certificate, dict) or not is_genuine(certificate, checked_with):
        typer.echo("masking: this is no certificate of that key, or it was changed", err=True)
        raise typer.Exit(EXIT_SOME_LEFT)
    typer.echo(f"Genuine: {certificate['session_uuid']} was erased at {certificate['erased_at']}.")


async def _against(system: OperatedSystem, session_uuids: Sequence[str]) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for begin in range(0, len(session_uuids), BATCH):
        async with system.database.transaction() as connection:
            reasons |= await reasons_against(connection, session_uuids[begin : begin + BATCH])
    return reasons


async def _erase_all(
    system: OperatedSystem, session_uuids: Sequence[str], tell: Callable[[Outcome], None], *, quiet: bool
) -> None:
    # They load Temporal's client.
    from temporalio.client import Client

    from masking.erasure.erasing import erase_all
    from masking.run.system import temporal_environment
    from masking.temporal import connect

    client: Client | None = None

    async def temporal() -> Client:
        nonlocal client
        client = client or await connect(system.keyring, environment=temporal_environment(load_settings()))
        return client

    for begin in range(0, len(session_uuids), BATCH):
        batch = session_uuids[begin : begin + BATCH]
        # Not while something is printed: a terminal would fold it.
        with progress("Erasing sessions", len(session_uuids), quiet=quiet, so_far=begin) as done:
            outcomes = await erase_all(system.database, system.keyring, batch, temporal, done)
        for each in outcomes:
            tell(each)


def _chosen(sessions: list[str] | None, party: str | None, older_than: str | None, *, unfinished: bool) -> Chosen:
    by_what = party is not None or older_than is not None
    if not (sessions or by_what or unfinished):
        raise CannotErase("say which: ids of sessions, --party NUMBER, --older-than AGE, or --unfinished")
    if sessions and by_what:
        raise CannotErase("ids of sessions go without --party and --older-than")
    if unfinished and (sessions or by_what):
        raise CannotErase("--unfinished goes alone")
    number = None
    if party is not None and (number := valid_e164(party)) is None:
        raise CannotErase("--party is not a valid phone number")
    return Chosen(sessions or None, number, None if older_than is None else _age(older_than), unfinished)


def _age(written: str) -> timedelta:
    try:
        return age(written)
    except ValueError as fault:
        raise CannotErase(f"--older-than {fault}") from None


def _check_reason(reason: str) -> None:
    if not reason.strip() or redacted(reason) != reason:
        raise CannotErase("--reason must say why, without a phone number, a PIN or a token: it is stored in the clear")


def _look_line(each: Look) -> str:
    of = f" of {each.session_uuid}" if each.session_uuid else ""
    why = f" ({each.why})" if each.why else ""
    return f"{each.at:%Y-%m-%d %H:%M:%S} UTC  {each.who}: {each.how_many} {each.what}{of}{why}"


def _line(each: LegalHold) -> str:
    return f"{each.held_at:%Y-%m-%d %H:%M:%S} UTC  {each.session_uuid}  {each.reason}"
