"""`masking sessions restore`: PostgreSQL and Temporal agree again, once one of them was set back."""

from __future__ import annotations

import asyncio

import typer

from masking.command_line import AsJson, or_exit, say
from masking.operate.arguments import Sessions
from masking.operate.many import (
    EXIT_SOME_FAILED,
    FAILED,
    DryRun,
    Outcome,
    Yes,
    check_chosen,
    confirm,
    in_turns,
    outcomes_shown,
    tell_failed,
)
from masking.operate.progress import progress
from masking.operate.resume import AT_ONCE, AtOnce
from masking.operate.sessions import app
from masking.settings import load_settings


@app.command(name="restore")
def restore_(
    sessions: Sessions = None,
    at_once: AtOnce = AT_ONCE,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make PostgreSQL and Temporal agree again on the sessions that run, after one of them was set back.

    After a failover to a standby that lagged, say. What the database lacks, their workflows write again; one that is
    older than what is stored is begun anew. Without ids, looks at all that run. Exits with 1 when some could not be
    restored.
    """
    from masking.operate.restoring import AGREES, ENDED, RESTORED

    or_exit(lambda: check_chosen(sessions, None))
    looked = or_exit(lambda: asyncio.run(_done(sessions, at_once, restores=False, quiet=as_json)))
    differ = [each for each in looked if each.state not in (AGREES, FAILED)]
    outcomes = {each.session_uuid: each for each in looked}
    if differ and not dry_run:
        if not yes:
            question = f"Restore {len(differ)} sessions?"
            or_exit(lambda: confirm(f"restores {len(differ)} sessions", question, "no session was restored"))
        found = [each.session_uuid for each in differ]
        restored = or_exit(lambda: asyncio.run(_done(found, at_once, restores=True, quiet=as_json)))
        outcomes |= {each.session_uuid: each for each in restored}

    def of(state: str) -> list[Outcome]:
        return [each for each in outcomes.values() if each.state == state]

    agree, failed = len(of(AGREES)), {each.session_uuid: each.reason for each in of(FAILED)}
    if as_json:
        done = {"would_restore": {each.session_uuid: each.reason for each in differ}}
        if not dry_run:
            done = {state: {each.session_uuid: each.reason for each in of(state)} for state in (RESTORED, ENDED)}
        say({**done, "agree": agree, "failed": failed}, "", as_json=True)
    elif dry_run:
        lines = [f"{each.session_uuid} would be restored: {each.reason}" for each in differ]
        typer.echo("\n".join([*lines, f"{len(differ)} would be restored, {agree} agree, {len(failed)} failed."]))
    else:
        for each in (*of(RESTORED), *of(ENDED)):
            typer.echo(f"{each.session_uuid} was {each.state}: {each.reason}")
        counts = f"{len(of(RESTORED))} restored, {len(of(ENDED))} ended, {agree} agree, {len(failed)} failed."
        typer.echo(counts)
    tell_failed(of(FAILED), "restored")
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


async def _done(sessions: list[str] | None, at_once: int, *, restores: bool, quiet: bool) -> list[Outcome]:
    from masking.operate.restoring import restoring

    async with restoring(load_settings(), at_once) as restorer:
        with progress("Listing sessions", quiet=quiet or bool(sessions)) as listed:
            found = sorted(set(sessions)) if sessions else await restorer.all(listed)
        one, title = (restorer.restore, "Restoring sessions") if restores else (restorer.look, "Looking at sessions")
        with outcomes_shown(title, len(found), quiet=quiet) as done:
            return await in_turns(found, at_once, one, done)
