"""`masking numbers explain | who`: why a pair gets no number, and who reached whom."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from masking.command_line import AsJson, or_exit
from masking.domain.pool.availability import Situation, obstacle
from masking.domain.pool.choice import PoolNumber, candidates
from masking.domain.reach import Reach, in_words, reaches
from masking.e164 import countries_beside, country_of
from masking.errors import MaskingError
from masking.operate.arguments import auth_id, moment
from masking.operate.console import on_system
from masking.operate.known import account_must_be_known
from masking.operate.number_file import checked_number
from masking.operate.numbers import EXIT_IN_USE, Number, app
from masking.operate.system import OperatedSystem
from masking.storage.number_questions import sessions_around, situations, was_ours

HIDDEN = "hidden"


@app.command()
def explain(
    first_party: Annotated[str, typer.Argument(help="The first party's real number, E.164.")],
    second_party: Annotated[str, typer.Argument(help="The second party's.")],
    account: Annotated[str, typer.Option(help="The account or subaccount.", metavar="AUTH_ID", parser=auth_id)],
    any_country: Annotated[bool, typer.Option("--any-country", help="As with geomatch=false.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say of each number whether a session of two parties could have it now, and if not, which rule forbids it.

    Exits with 1 when none could be had.
    """
    first, second = or_exit(lambda: (checked_number(first_party), checked_number(second_party)))
    country = None if any_country else country_of(first)
    beside = countries_beside(country)

    async def look(system: OperatedSystem) -> list[Situation]:
        async with system.database.transaction() as connection:
            await account_must_be_known(connection, account)
            return await situations(connection, system.keyring, account, first, second)

    found = [(each, obstacle(each, country, beside)) for each in on_system(look)]
    free = candidates(
        PoolNumber(each.number, each.country, rank, each.last_used)
        for rank, (each, forbidden) in enumerate(found)
        if forbidden is None
    )
    free.sort(key=lambda each: each.country in beside)
    if as_json:
        told = [{"number": each.number, "obstacle": forbidden} for each, forbidden in found]
        typer.echo(json.dumps({"next": free[0].number if free else None, "numbers": told}))
    else:
        for each, forbidden in found:
            typer.echo(f"{each.number}  {forbidden or ('next' if each.number == free[0].number else 'free')}")
        typer.echo(f"{len(free)} of {len(found)} numbers could be had.")
    if not free:
        raise typer.Exit(EXIT_IN_USE)


@app.command()
def who(
    number: Number,
    caller: Annotated[str, typer.Argument(help="The caller's real number, E.164; `hidden` when it hid it.")],
    at: Annotated[
        datetime | None,
        typer.Option(help="The moment, ISO 8601; UTC without an offset. Now when left out.", parser=moment),
    ] = None,
    pin: Annotated[bool, typer.Option("--pin", help="Ask for a PIN that the caller entered.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell which session a caller would have reached through a number at a moment, and how it knew the caller.

    Exits with 1 when the call would have been forwarded in none.
    """
    virtual = or_exit(lambda: checked_number(number))
    real = "" if caller == HIDDEN else or_exit(lambda: checked_number(caller))
    entered = or_exit(_pin) if pin else ""
    then = at or datetime.now(UTC)

    async def look(system: OperatedSystem) -> list[Reach]:
        async with system.database.transaction() as connection:
            around = await sessions_around(connection, system.keyring, virtual, then)
            if not around and not await was_ours(connection, virtual):
                raise MaskingError("this number is not in the inventory, and no session was ever on it")
        return reaches(around, real, entered, then)

    found = on_system(look)
    if as_json:
        typer.echo(json.dumps({"at": then.isoformat(), "sessions": [_reach(each) for each in found]}))
    else:
        for each in found:
            session = each.session
            typer.echo(
                f"{session.session_uuid}  {in_words(each, then)}"
                f" ({session.created_at:%Y-%m-%d %H:%M:%S} to {session.expires_at:%Y-%m-%d %H:%M:%S} UTC)"
            )
        if not found:
            typer.echo("No session on this number had anything to do with this caller.")
    if not any(each.live and each.party for each in found):
        raise typer.Exit(EXIT_IN_USE)


def _pin() -> str:
    entered = typer.prompt("PIN", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not entered:
        raise MaskingError("--pin asks for the PIN that the caller entered, or reads it from standard input")
    return str(entered)


def _reach(found: Reach) -> dict[str, object]:
    session = found.session
    return {
        "session_uuid": session.session_uuid,
        "account_id": session.account_id,
        "recognised": found.recognised,
        "party": found.party,
        "live": found.live,
        "created_at": session.created_at.isoformat(),
        "expires_at": session.expires_at.isoformat(),
    }
