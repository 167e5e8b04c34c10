"""`masking sessions resume`: sessions whose workflow was lost go on, in a new run, from what is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import typer

from masking.command_line import AsJson, or_exit, say
from masking.operate.arguments import Sessions
from masking.operate.many import (
    EXIT_SOME_FAILED,
    FAILED,
    Account,
    DryRun,
    NotMeant,
    Outcome,
    Yes,
    check_chosen,
    confirm,
    in_turns,
    outcomes_shown,
    tell_failed,
)
from masking.operate.sessions import app
from masking.settings import load_settings

AT_ONCE = 5
AtOnce = Annotated[int, typer.Option(help="So many at a time, each with a connection to the database.", min=1, max=50)]

Lost = Annotated[
    bool,
    typer.Option("--temporal-lost", help="Also those that Temporal does not know, since its data was lost as a whole."),
]


@app.command(name="resume")
def resume_(
    sessions: Sessions = None,
    account: Account = None,
    temporal_lost: Lost = False,
    at_once: AtOnce = AT_ONCE,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Have sessions go on whose workflow was terminated, or ended otherwise, or is gone, before their bill was closed.

    Without ids, looks at all whose bill is open; those whose workflow runs are left alone. Exits with 1 when some
    could not be resumed; the same again resumes those.
    """
    from masking.operate.resuming import LOST, NOT_FOUND, RESUMED, RUNS

    or_exit(lambda: _check(sessions, account))
    looked = or_exit(lambda: asyncio.run(_looked(sessions, account, at_once, temporal_lost, quiet=as_json)))
    lost = [each.session_uuid for each in looked if each.state == LOST]
    outcomes = {each.session_uuid: each for each in looked}
    if lost and not dry_run:
        if not yes:
            question = f"Have {len(lost)} sessions go on from their stored state?"
            or_exit(lambda: confirm(f"resumes {len(lost)} sessions", question, "no session was resumed"))
        resumed = or_exit(lambda: asyncio.run(_resumed(lost, at_once, temporal_lost, quiet=as_json)))
        outcomes |= {each.session_uuid: each for each in resumed}

    def of(state: str) -> list[Outcome]:
        return [each for each in outcomes.values() if each.state == state]

    counts = f"{len(of(RUNS))} run, {len(of(NOT_FOUND))} are not known to Temporal, {len(of(FAILED))} failed."
    told = {state: [each.session_uuid for each in of(state)] for state in (RUNS, NOT_FOUND)}
    told_why = {each.session_uuid: each.reason for each in of(FAILED)}
    if as_json:
        done = {"would_resume": {each.session_uuid: each.reason for each in of(LOST)}}
        done = done if dry_run else {RESUMED: {each.session_uuid: each.reason for each in of(RESUMED)}}
        say({**done, **told, "failed": told_why}, "", as_json=True)
    elif dry_run:
        lines = [f"{each.session_uuid} would be resumed: {each.reason}" for each in of(LOST)]
        typer.echo("\n".join([*lines, f"{len(lost)} would be resumed, {counts}"]))
    else:
        for each in of(RESUMED):
            typer.echo(f"{each.session_uuid} goes on: {each.reason}")
        typer.echo(f"{len(of(RESUMED))} resumed, {counts}")
    tell_failed(of(FAILED), "resumed")
    if of(NOT_FOUND):
        typer.echo(f"masking: {WHY_NOT_FOUND}", err=True)
    if of(FAILED) or of(NOT_FOUND):
        raise typer.Exit(EXIT_SOME_FAILED)


WHY_NOT_FOUND = (
    "Temporal does not know some sessions whose bill is open. So it looks with a wrong TEMPORAL_ADDRESS or"
    " TEMPORAL_NAMESPACE, too, where nothing is lost: check them. If Temporal's data is lost, or was deleted, the same"
    " again with --temporal-lost resumes these"
)


def _check(sessions: Sequence[str] | None, account: str | None) -> None:
    if sessions and account is not None:
        raise NotMeant("ids of sessions go without --account")
    check_chosen(sessions, account)


async def _looked(
    sessions: list[str] | None, account: str | None, at_once: int, temporal_lost: bool, *, quiet: bool
) -> list[Outcome]:
    from masking.operate.resuming import resuming

    async with resuming(load_settings(), at_once, temporal_lost=temporal_lost) as resumer:
        found = sorted(set(sessions)) if sessions else await resumer.unsettled(account)
        return await _each(resumer.look, "Looking at sessions", found, at_once, quiet=quiet)


async def _resumed(found: list[str], at_once: int, temporal_lost: bool, *, quiet: bool) -> list[Outcome]:
    from masking.operate.resuming import resuming

    async with resuming(load_settings(), at_once, temporal_lost=temporal_lost) as resumer:
        return await _each(resumer.resume, "Resuming sessions", found, at_once, quiet=quiet)


async def _each(
    one: Callable[[str], Awaitable[Outcome]], title: str, found: list[str], at_once: int, *, quiet: bool
) -> list[Outcome]:
    with outcomes_shown(title, len(found), quiet=quiet) as done:
        return await in_turns(found, at_once, one, done)
