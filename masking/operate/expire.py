"""`masking sessions expire`: many sessions at once, found by a list query of Temporal's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from masking.command_line import AsJson, or_exit, say
from masking.contract import WORKFLOW_TYPE
from masking.e164 import valid_e164
from masking.errors import MaskingError, StartupError
from masking.log_format import redacted
from masking.operate.arguments import Sessions
from masking.operate.many import (
    AT_ONCE,
    EXIT_SOME_FAILED,
    FAILED,
    Account,
    AtOnce,
    DryRun,
    Outcome,
    Yes,
    check_chosen,
    confirm,
    in_turns,
    outcomes_shown,
    tell_failed,
)
from masking.operate.sessions import app
from masking.privacy.keyring import Unreadable
from masking.settings import Settings, load_settings

if TYPE_CHECKING:
    from masking.client import MaskingClient

TRIES = 3
LISTED = 1000
"""So many of a list at a time."""

EXPIRED, OVER = "expired", "over already"
UNKNOWN = "there is no session with this id"


class CannotExpire(MaskingError):
    """The command line does not say which sessions; or Temporal does not take the query."""


@app.command(name="expire")
def expire_(
    sessions: Sessions = None,
    query: Annotated[
        str | None,
        typer.Option(help="Those that a list query of Temporal's finds among the running ones.", metavar="QUERY"),
    ] = None,
    account: Account = None,
    party: Annotated[
        str | None, typer.Option(help="All that this number was a party of at their start, E.164.", metavar="NUMBER")
    ] = None,
    reason: Annotated[str, typer.Option(help="For whoever reads their histories. Without personal data.")] = "",
    at_once: AtOnce = AT_ONCE,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """End sessions now: they connect no more calls; calls in progress go on, and the bills are closed.

    Exits with 1 when some could not be ended; the same again ends those.
    """
    or_exit(lambda: _check(sessions, query, account, party, reason))
    asked, found = or_exit(lambda: asyncio.run(_found(sessions, query, account, party)))
    if dry_run:
        unknown = or_exit(lambda: asyncio.run(_unknown(found if sessions else [])))
        would = [session_uuid for session_uuid in found if session_uuid not in unknown]
        told = {"would_expire": would, "query": asked, "failed": dict.fromkeys(unknown, UNKNOWN)}
        say(told, "\n".join([*would, f"{len(would)} sessions" + (f": {asked}" if asked else ".")]), as_json=as_json)
        tell_failed([Outcome(each, FAILED, UNKNOWN) for each in unknown], "found")
        if unknown:
            raise typer.Exit(EXIT_SOME_FAILED)
        return
    if found and not yes:
        or_exit(
            lambda: confirm(f"ends {len(found)} sessions", f"End {len(found)} sessions now?", "no session was ended")
        )
    outcomes = or_exit(lambda: asyncio.run(_expire_all(found, reason, at_once, quiet=as_json)))
    counted = Counter(each.state for each in outcomes)
    failed = [each for each in outcomes if each.state == FAILED]
    if as_json:
        states = {state.replace(" ", "_"): [each.session_uuid for each in outcomes if each.state == state]
                  for state in (EXPIRED, OVER)}  # fmt: skip
        say({**states, "failed": {each.session_uuid: each.reason for each in failed}}, "", as_json=True)
    else:
        tell_failed(failed, "ended")
        typer.echo(f"{counted[EXPIRED]} expired, {counted[OVER]} were over already, {len(failed)} failed.")
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def list_query(query: str | None, account: str | None, party_hash: str | None) -> str:
    """What to ask Temporal's list for, among the sessions that run."""
    parts = [f"WorkflowType = '{WORKFLOW_TYPE}'", "ExecutionStatus = 'Running'"]
    if account is not None:
        parts.append(f"MaskingAccount = '{account}'")
    if party_hash is not None:
        parts.append(f"MaskingParties = '{party_hash}'")
    if query is not None:
        parts.append(f"({query})")
    return " AND ".join(parts)


async def _found(
    sessions: list[str] | None, query: str | None, account: str | None, party: str | None
) -> tuple[str, list[str]]:
    if sessions:
        return "", sorted(set(sessions))
    from temporalio.service import RPCError, RPCStatusCode

    from masking.contract import session_of
    from masking.operate.system import with_keys_file
    from masking.operate.temporal_client import operated_client
    from masking.privacy.key_files import load_keyring
    from masking.privacy.party_hash import party_hash

    settings = load_settings()
    await _must_be_known(settings, account)
    client, keyring = await operated_client(settings), load_keyring(with_keys_file(settings))
    number = valid_e164(party) if party is not None else None
    asked = list_query(query, account, party_hash(keyring)(number) if number is not None else None)
    try:
        listed = [session_of(each.id) async for each in client.list_workflows(asked, page_size=LISTED)]
        found = [session_uuid for session_uuid in listed if session_uuid is not None]
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            raise CannotExpire(f"Temporal does not take this query: {redacted(error.message)}") from None
        raise CannotExpire(f"Temporal does not answer ({error.status.name}); try again") from None
    finally:
        # Temporal's core may abort an interpreter that ends at once (sdk-python #300).
        await asyncio.sleep(0.05)
    return asked, found


# What Temporal does not tell is asked of the database, where there is one.


async def _must_be_known(settings: Settings, account: str | None) -> None:
    from masking.operate.known import account_must_be_known
    from masking.operate.system import operated_system

    if account is not None:
        with suppress(StartupError):
            async with operated_system(settings) as system, system.database.transaction() as connection:
                await account_must_be_known(connection, account)


async def _unknown(session_uuids: list[str]) -> list[str]:
    from masking.operate.known import unknown_among
    from masking.operate.system import operated_system

    if session_uuids:
        with suppress(StartupError):
            async with operated_system(load_settings()) as system, system.database.transaction() as connection:
                return await unknown_among(connection, session_uuids)
    return []


async def _expire_all(found: list[str], reason: str, many: int, *, quiet: bool) -> list[Outcome]:
    from masking.client import MaskingClient
    from masking.operate.temporal_client import operated_client

    client = await operated_client(load_settings())
    with outcomes_shown("Ending sessions", len(found), quiet=quiet) as done:
        outcomes = await expire_all(MaskingClient(client), found, reason, many, done)
    await asyncio.sleep(0.05)
    return outcomes


async def expire_all(
    sessions: MaskingClient, found: list[str], reason: str, many: int, done: Callable[[Outcome], None]
) -> list[Outcome]:
    """End sessions, so many at a time, in the order given.

    Args:
        done: is told what came of each.
    """
    # One for all tries: a session that answers late is ended once. Another command's is another request.
    update_id = f"batch-{uuid4()}"
    return await in_turns(found, many, lambda session_uuid: _expire(sessions, session_uuid, reason, update_id), done)


async def _expire(sessions: MaskingClient, session_uuid: str, reason: str, update_id: str) -> Outcome:
    from masking.client import OutcomeUnknown, SessionAlreadyExpired, SessionError

    why = ""
    for attempt in range(TRIES):
        try:
            await sessions.expire(session_uuid, update_id=update_id, reason=reason)
        except SessionAlreadyExpired:
            # Of an earlier try's making, if there was one.
            return Outcome(session_uuid, OVER if attempt == 0 else EXPIRED)
        except OutcomeUnknown as error:
            why = str(error)
            await asyncio.sleep(attempt)
        except SessionError as error:
            return Outcome(session_uuid, FAILED, str(error))
        except Unreadable as error:
            return Outcome(session_uuid, FAILED, f"what came of it cannot be read: {error}")
        else:
            return Outcome(session_uuid, EXPIRED)
    return Outcome(session_uuid, FAILED, why)


def _check(sessions: list[str] | None, query: str | None, account: str | None, party: str | None, reason: str) -> None:
    by_list = any(each is not None for each in (query, account, party))
    if not sessions and not by_list:
        raise CannotExpire("say which: ids of sessions, --query QUERY, --account AUTH_ID or --party NUMBER")
    if sessions and by_list:
        raise CannotExpire("ids of sessions go without --query, --account and --party")
    check_chosen(sessions, account)
    if party is not None and valid_e164(party) is None:
        raise CannotExpire("--party is not a valid phone number")
    if query is not None and (not query.strip() or query.count("(") != query.count(")")):
        raise CannotExpire("--query is a list query of Temporal's, such as \"MaskingStatus = 'active'\"")
    if redacted(reason) != reason:
        raise CannotExpire("--reason must say why without a phone number, a PIN or a token")
