"""Leave to ask a carrier something: within its limits, and not while it does not take our credentials.

All processes share it, by way of PostgreSQL.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Protocol

import psycopg
from psycopg_pool import PoolTimeout

from masking.carriers.errors import CarrierUnavailable, CredentialsRefused
from masking.domain.pace import Pace
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from masking.storage import carrier_turns
from masking.storage.carrier_turns import Account
from masking.storage.database import Database

LONGEST_WAIT = timedelta(seconds=3)
"""A turn that is further away is not waited for: whoever asks tries again, by Temporal's retry policy."""

CREDENTIALS = "carrier credentials"
REQUESTS, CALLS = "requests", "calls"

logger = logging.getLogger(__name__)


class Leave(Protocol):
    """What to ask before a carrier is asked."""

    async def to_ask(self) -> None:
        """Return once a request may be sent.

        Raises:
            CarrierUnavailable: that would take too long.
            CredentialsRefused: nothing may be asked with these credentials.
        """

    async def to_call(self) -> None:
        """Return once the request for a call may be sent. Raises what `to_ask` raises."""

    async def refused(self, why: str) -> None:
        """The carrier does not take our credentials: let nothing be asked any more, in any process.

        Args:
            why: the carrier's words, without numbers.
        """


class FreeLeave:
    """Leave to ask at any time: for a look from the command line, and for tests."""

    async def to_ask(self) -> None:
        """At once."""

    async def to_call(self) -> None:
        """At once."""

    async def refused(self, why: str) -> None:
        """Whoever asked is told; nobody else."""


class SharedLeave:
    """Leave that all processes share.

    Args:
        requests, calls: how often anything may be asked, and how often for a call.
    """

    def __init__(self, database: Database, account: Account, requests: Pace, calls: Pace) -> None:
        self._database, self._account = database, account
        self._paces = {REQUESTS: requests, CALLS: calls}

    async def to_ask(self) -> None:
        """Take a turn."""
        await self._turn(REQUESTS)

    async def to_call(self) -> None:
        """Take a turn of each kind: the scarcer one first, so that none of the other is wasted while it is away."""
        await self._turn(CALLS)
        await self._turn(REQUESTS)

    async def refused(self, why: str) -> None:
        """Write it down; whoever is the first to do so says it in the log."""
        try:
            async with self._database.transaction() as connection:
                is_first = await carrier_turns.stop(connection, self._account, why)
        except (psycopg.Error, PoolTimeout) as error:
            logger.warning("it cannot be written down that a carrier takes no credentials: %s", type(error).__name__)
            return
        if is_first:
            logger.error(
                "the carrier does not take the credentials of %s (%s): nothing is asked of it any more. Set the right"
                " ones, or run `masking carriers check` once they are right again",
                self._account.auth_id,
                why,
            )

    async def _turn(self, what: str) -> None:
        try:
            async with self._database.autocommit() as connection:
                answer = await carrier_turns.take(connection, self._account, what, self._paces[what], LONGEST_WAIT)
        except (psycopg.Error, PoolTimeout) as error:
            raise CarrierUnavailable(f"nobody can say whether it may be asked now: {type(error).__name__}") from None
        if answer.stopped is not None:
            raise CredentialsRefused(f"the carrier does not take our credentials: {answer.stopped}")
        if answer.wait is None:
            raise CarrierUnavailable(
                f"the limit of {what} that the carrier allows is used up for {answer.free_in.total_seconds():.0f} s",
                answer.free_in,
            )
        await asyncio.sleep(answer.wait.total_seconds())


def account_of(keyring: Keyring, auth_id: str, auth_token: str) -> Account:
    """An account at a carrier, with the hash of its credentials."""
    return Account(auth_id, keyring.lookup_hash(CREDENTIALS, f"{auth_id}:{auth_token}"))


def voice_account(keyring: Keyring, settings: Settings) -> Account | None:
    """The account at the voice carrier; None where the settings name none."""
    if settings.carrier_auth_token is None:
        return None
    return account_of(keyring, settings.carrier_auth_id, settings.carrier_auth_token.get_secret_value())


def plivo_account(keyring: Keyring, settings: Settings) -> Account | None:
    """The account at Plivo by which Plivo masks; None where the settings name none."""
    if settings.plivo_auth_id is None or settings.plivo_auth_token is None:
        return None
    return account_of(keyring, settings.plivo_auth_id, settings.plivo_auth_token.get_secret_value())


def shared_leave(database: Database, account: Account | None, settings: Settings) -> SharedLeave | None:
    """The leave for an account; None where there is none."""
    if account is None:
        return None
    requests = Pace(settings.carrier_requests, timedelta(seconds=settings.carrier_request_window))
    return SharedLeave(database, account, requests, Pace(settings.carrier_calls_per_second, timedelta(seconds=1)))


async def forget_other_credentials(database: Database, keyring: Keyring, settings: Settings) -> None:
    """At a start with new credentials, forget that earlier ones of an account were not taken."""
    for account in (voice_account(keyring, settings), plivo_account(keyring, settings)):
        if account is not None:
            async with database.transaction() as connection:
                await carrier_turns.forget_others(connection, account)
