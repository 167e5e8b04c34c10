"""`masking callbacks`: what customers were told, what they did not take, and telling them again."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from masking.command_line import AsJson, or_exit, plain, say, say_some
from masking.domain.callbacks import Kind
from masking.errors import MaskingError
from masking.operate.arguments import OfSession, session_id
from masking.operate.console import in_transaction, on_system
from masking.operate.known import of_known_session, session_must_be_known
from masking.operate.looking import operator_looks
from masking.operate.progress import progress
from masking.operate.system import OperatedSystem
from masking.storage.batches import in_batches
from masking.storage.callback_endpoints import FailingEndpoint, failing
from masking.storage.callback_records import CallbackRecord, Chosen, Shown, find, replay_some, show

app = typer.Typer(name="callbacks", no_args_is_help=True, add_completion=False)

OfKind = Annotated[Kind | None, typer.Option("--kind", help="Only session events, or only recording events.")]


ANSWERS = "answers to a callback"


class CannotReplay(MaskingError):
    """The command line does not say which callbacks."""


@app.command(name="list")
def list_(
    state: Annotated[
        Literal["dead", "pending", "delivered", "all"],
        typer.Option(help="Given up; to be tried, or tried again; taken by the customer; or any."),
    ] = "dead",
    session: OfSession = None,
    kind: OfKind = None,
    limit: Annotated[int, typer.Option(help="The oldest so many.", min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List callbacks, oldest first: how often each was tried, and what came of it. Never what they say."""
    chosen = Chosen(session_uuid=session, kind=kind, state=None if state == "all" else state)

    found = in_transaction(of_known_session(lambda connection: find(connection, chosen, limit + 1), session))
    say_some("callbacks", found, _line, "of any state" if state == "all" else state, limit, as_json=as_json)


@app.command(name="show")
def show_(
    callback: Annotated[str, typer.Argument(help="The callback's id.", metavar="CALLBACK", parser=session_id)],
    answers: Annotated[
        bool,
        typer.Option(
            "--answers",
            help="Also the first bytes of each answer; they may quote the callback. Written down as a look.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one callback: its event, where it goes, and what came of each try. Not the numbers in it."""
    # It loads an HTTP client.
    from masking.delivery.request import origin_of

    async def look(system: OperatedSystem) -> Shown:
        async with system.database.transaction() as connection:
            found = await show(connection, system.keyring, callback, None)
        if found is None:
            raise MaskingError("there is no callback with this id; list them with `masking callbacks list`")
        quoted = [each for each in found.attempts if each.answer]
        if answers and quoted:
            why = f"callback {found.record.callback_id}"
            await operator_looks(system, ANSWERS, session_uuid=found.record.session_uuid, how_many=len(quoted), why=why)
        return found

    record, told, attempts = on_system(look)
    if not answers:
        attempts = [each._replace(answer=None) for each in attempts]
    event = None if told is None else {"name": told.name, "method": told.method, "endpoint": origin_of(told)}
    if as_json:
        tries = [plain(each) for each in attempts]
        typer.echo(json.dumps(plain(record) | {"event": event, "tries": tries}))
        return
    typer.echo(_line(record))
    typer.echo(f"{event['name']}, {event['method']} to {event['endpoint']}" if event else "It cannot be decrypted.")
    for each in attempts:
        typer.echo(f"  {each.began_at:%Y-%m-%d %H:%M:%S} UTC  {each.outcome}, {each.duration_ms} ms")
        if each.answer:
            typer.echo(f"    {each.answer!r}")


@app.command()
def endpoints(
    limit: Annotated[int, typer.Option(help="The worst so many.", min=1, max=10_000)] = 50, as_json: AsJson = False
) -> None:
    """List the endpoints that keep failing: how often in a row, with what, and until when nothing is sent there."""

    async def look(system: OperatedSystem) -> list[FailingEndpoint]:
        async with system.database.transaction() as connection:
            return await failing(connection, system.keyring, limit=limit + 1)

    say_some("endpoints", on_system(look), _endpoint_line, "failing", limit, as_json=as_json)


@app.command(name="replay")
def replay_(
    callbacks: Annotated[
        list[str] | None, typer.Argument(help="Ids of callbacks.", metavar="[CALLBACK]...", parser=session_id)
    ] = None,
    session: OfSession = None,
    kind: OfKind = None,
    from_sequence: Annotated[
        int | None, typer.Option("--from", help="From this sequence number on; needs --session.", min=1)
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only those that were given up.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send callbacks again, with the same ids and sequence numbers: these, a session's, or all that are dead."""
    chosen = Chosen(callbacks or None, session, kind, from_sequence, "dead" if dead else None)
    or_exit(lambda: _check_replayable(chosen))

    async def again(system: OperatedSystem) -> int:
        total = None if callbacks is None else len(callbacks)
        with progress("Replaying callbacks", total, quiet=as_json) as done:
            count = await in_batches(
                system.database, lambda connection, after: replay_some(connection, chosen, after), done
            )
        if not count:
            async with system.database.transaction() as connection:
                await session_must_be_known(connection, session)
        return count

    count = on_system(again)
    say({"replayed": count}, f"{count} callbacks will be sent again.", as_json=as_json)
    if count < len(callbacks or ()):
        left = len(callbacks or ()) - count
        typer.echo(f"masking: {left} of these ids are unknown or do not fit the options", err=True)
        raise typer.Exit(1)


def _check_replayable(chosen: Chosen) -> None:
    if chosen.callback_ids is None and chosen.session_uuid is None and chosen.state is None:
        raise CannotReplay("say which: ids of callbacks, --session UUID, or --dead for all that were given up")
    if chosen.from_sequence is not None and chosen.session_uuid is None:
        raise CannotReplay("--from counts within a session: add --session UUID")


def _line(each: CallbackRecord) -> str:
    tries = f", {each.attempts} tries" if each.attempts else ""
    outcome = f", {each.last_outcome}" if each.last_outcome else ""
    return f"{each.created_at:%Y-%m-%d %H:%M:%S} UTC  {each.callback_id}  {each.state}{tries}{outcome}"


def _endpoint_line(each: FailingEndpoint) -> str:
    where, failures = each.endpoint or "(cannot be decrypted)", f"{each.failures} failures in a row"
    rest = f"rests until {each.rests_until:%H:%M:%S} UTC"
    return f"{each.owner_id}  {where}  {failures}, {each.last_outcome}, {rest}"
