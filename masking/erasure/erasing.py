"""Erasing sessions: their keys are destroyed, Temporal's copies deleted, and both certified."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from temporalio.client import Client
from temporalio.service import RPCError

from masking.erasure.temporal_copies import DELETED_WITHIN_S, are_deleted, delete_executions
from masking.errors import StartupError
from masking.privacy.certificates import Certificate, signed
from masking.privacy.keyring import Keyring
from masking.storage.database import Database
from masking.storage.erasure import Erased, certify, erase
from masking.storage.session_keys import CLEAR, MASTER, OWN

NOT_DELETED = (
    "its key is destroyed, but Temporal has not deleted its copies{why}: `masking privacy erase --unfinished` has it"
    " do so"
)


class Outcome(NamedTuple):
    """What came of a session: its certificate, or why it is still there."""

    session_uuid: str
    certificate: Certificate | None
    reason: str


async def erase_all(
    database: Database,
    keyring: Keyring,
    session_uuids: Sequence[str],
    temporal: Callable[[], Awaitable[Client]],
    done: Callable[[int], None] = lambda _: None,
) -> list[Outcome]:
    """Destroy the keys of all, have Temporal delete its copies, and certify what is gone in both. Safe to repeat.

    May take the two minutes that Temporal is given.

    Args:
        temporal: the client of the server that has them; asked for once keys are destroyed. It may raise
            `StartupError`.
        done: is told of each that it is done with.
    """
    outcomes: dict[str, Outcome] = {}
    destroyed: list[Erased] = []
    for session_uuid in session_uuids:
        async with database.transaction() as connection:
            erased = await erase(connection, session_uuid)
        if isinstance(erased, str):
            outcomes[session_uuid] = Outcome(session_uuid, None, erased)
        elif erased.certificate is not None:
            outcomes[session_uuid] = Outcome(session_uuid, erased.certificate, "")
        else:
            destroyed.append(erased)
            continue
        done(1)
    if destroyed:
        try:
            client = await temporal()
        except StartupError as error:
            outcomes |= _not_deleted(destroyed, f" ({error})")
        else:
            outcomes |= await _certified(database, keyring, client, destroyed, done)
    return [outcomes[session_uuid] for session_uuid in session_uuids]


def _not_deleted(destroyed: Sequence[Erased], why: str = "") -> dict[str, Outcome]:
    return {each.session_uuid: Outcome(each.session_uuid, None, NOT_DELETED.format(why=why)) for each in destroyed}


async def _certified(
    database: Database, keyring: Keyring, client: Client, destroyed: Sequence[Erased], done: Callable[[int], None]
) -> dict[str, Outcome]:
    outcomes = _not_deleted(destroyed)
    runs: dict[str, set[str]] = {}
    for each in destroyed:
        with suppress(RPCError):
            runs[each.session_uuid] = await delete_executions(client, each.session_uuid)
    until = asyncio.get_running_loop().time() + DELETED_WITHIN_S
    for each in destroyed:
        its_runs = runs.get(each.session_uuid)
        with suppress(RPCError):
            if its_runs is not None and await are_deleted(client, each.session_uuid, its_runs, until):
                certificate = _certificate(keyring, each, len(its_runs))
                async with database.transaction() as connection:
                    certificate = await certify(connection, each.session_uuid, certificate)
                outcomes[each.session_uuid] = Outcome(each.session_uuid, certificate, "")
        done(1)
    return outcomes


def _certificate(keyring: Keyring, done: Erased, deleted: int) -> Certificate:
    return signed(
        keyring,
        {
            "certificate": "masking erasure 1",
            "session_uuid": done.session_uuid,
            "account_id": done.account_id,
            "erased_at": done.erased_at.isoformat(),
            "destroyed": "the session's data key and everything in PostgreSQL that was under it, its look-up hashes",
            "temporal_executions_deleted": deleted,
            "temporal_backups": _backups(done.answers_under),
            "kept": "times, durations, the bill and its corrections",
        },
    )


def _backups(answers_under: str | None) -> str:
    """What of Temporal's copies elsewhere can still be read, and until when."""
    if answers_under is None:
        return "readable until the master keys of its time are destroyed"
    wrote = "what other services wrote of it, and were answered"
    if answers_under == MASTER:
        return f"unreadable, but for {wrote}: until the master keys of its time are destroyed"
    if answers_under == OWN:
        return "unreadable, but for updates by other services: until the ingress keys of their days are destroyed"
    if answers_under == CLEAR:
        return (
            f"unreadable, but for {wrote}: until the ingress keys of its days are destroyed; the bill, which names no"
            " party, is in the clear"
        )
    return f"unreadable, but for {wrote}: until {answers_under} and the ingress keys of its other days are destroyed"
