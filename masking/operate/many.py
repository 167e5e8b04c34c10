"""What commands about many sessions do alike: which, whether it is meant, so many at a time, and how far it is."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, NamedTuple, TypeVar

import typer

from masking.errors import MaskingError
from masking.operate.arguments import AUTH_ID, UUID, auth_id
from masking.operate.progress import progress

EXIT_SOME_FAILED = 1
AT_ONCE = 20
FAILED = "failed"

Account = Annotated[
    str | None,
    typer.Option(help="All that use the numbers of this account or subaccount.", metavar="AUTH_ID", parser=auth_id),
]
AtOnce = Annotated[int, typer.Option(help="So many at a time.", min=1, max=200)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which it would be.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

OneT = TypeVar("OneT")


class NotMeant(MaskingError):
    """The command line does not say which sessions, or that it is meant."""


class Outcome(NamedTuple):
    """What became of one session, `failed` among others, and why."""

    session_uuid: str
    state: str
    reason: str = ""


def check_chosen(sessions: Sequence[str] | None, account: str | None) -> None:
    """Raise `NotMeant` for what cannot be a session's or an account's id."""
    if any(not UUID.fullmatch(each) for each in sessions or ()):
        raise NotMeant("a session's id has the form of a UUID")
    if account is not None and not AUTH_ID.fullmatch(account):
        raise NotMeant("--account is an auth id: MA or SA and 18 characters")


def confirm(what: str, question: str, otherwise: str) -> None:
    """Ask whoever is at the terminal.

    Args:
        what: is done by the command, in its third person, for one that has no terminal to ask at.
        otherwise: what to say when it is not meant.

    Raises:
        NotMeant: it is not, or there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise NotMeant(f"this {what}: add --yes, or see which with --dry-run")
    try:
        meant = typer.confirm(question, err=True)
    except typer.Abort:
        # Ctrl-C or Ctrl-D. Else it would pass for one that was done in part.
        typer.echo(err=True)
        meant = False
    if not meant:
        raise NotMeant(otherwise)


async def in_turns(
    found: Sequence[str], most: int, one: Callable[[str], Awaitable[OneT]], done: Callable[[OneT], None]
) -> list[OneT]:
    """What `one` makes of each, so many at a time, in the order given.

    Args:
        done: is told what came of each.
    """
    room = asyncio.Semaphore(most)

    async def in_turn(session_uuid: str) -> OneT:
        async with room:
            outcome = await one(session_uuid)
        done(outcome)
        return outcome

    return list(await asyncio.gather(*(in_turn(session_uuid) for session_uuid in found)))


@contextmanager
def outcomes_shown(title: str, total: int, *, quiet: bool) -> Iterator[Callable[[Outcome], None]]:
    """Shows the progress; what it gives is told what came of each. Whoever stops it learns how far it came."""
    counted = Counter[str]()
    try:
        with progress(title, total, quiet=quiet) as one_more:

            def done(outcome: Outcome) -> None:
                counted[outcome.state] += 1
                one_more(1)

            yield done
    except asyncio.CancelledError:
        # Ctrl-C; whatever is under way may be done, too.
        so_far = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in counted.items())
        typer.echo(f"masking: stopped after {counted.total()} of {total}{so_far and f': {so_far}'}", err=True)
        raise


def tell_failed(outcomes: Sequence[Outcome], what: str) -> None:
    """Tell why something was not done, a line for each: `masking: UUID was not <what>: …`."""
    for each in outcomes:
        typer.echo(f"masking: {each.session_uuid} was not {what}: {each.reason}", err=True)
