"""Leave to ask a carrier something: within its limits, not while it does not take our credentials or rests.

A carrier rests for some seconds after so many failures in a row, and is tried by one request then: a circuit breaker.
All processes share all of it, by way of PostgreSQL.
"""

from __future__ import annotations

import asyncio
import logging
import math
from datetime import timedelta
from typing import Protocol

import psycopg
from psycopg_pool import PoolTimeout

from masking.carriers.errors import CarrierResting, CarrierUnavailable, CredentialsRefused
from masking.domain.pace import Pace
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from masking.storage import carrier_turns
from masking.storage.carrier_turns import Account, Breaker
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

    async def failed(self) -> None:
        """The carrier failed, stalled, or could not be reached."""

    async def worked(self) -> None:
        """The carrier answered, whatever it said."""


class FreeLeave:
    """Leave to ask at any time: for a look from the command line, and for tests."""

    async def to_ask(self) -> None:
        """At once."""

    async def to_call(self) -> None:
        """At once."""

    async def refused(self, why: str) -> None:
        """Whoever asked is told; nobody else."""

    async def failed(self) -> None:
        """Nobody keeps count."""

    async def worked(self) -> None:
        """Nobody keeps count."""


class SharedLeave:
    """Leave that all processes share.

    Args:
        requests, calls: how often anything may be asked, and how often for a call.
        breaker: when the carrier rests; None for never.
    """

    def __init__(
        self, database: Database, account: Account, requests: Pace, calls: Pace, breaker: Breaker | None = None
    ) -> None:
        self._database, self._account, self._breaker = database, account, breaker
        self._paces = {REQUESTS: requests, CALLS: calls}
        # What the newest turn told: as long as all is well, an answer writes nothing.
        self._has_failed = False

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

    async def failed(self) -> None:
        """Count it; whoever is the first to have the carrier rest says so in the log."""
        if self._breaker is None:
            return
        self._has_failed = True
        try:
            async with self._database.transaction() as connection:
                in_a_row = await carrier_turns.failed(connection, self._account, self._breaker)
        except (psycopg.Error, PoolTimeout) as error:
            logger.warning("it cannot be written down that a carrier failed: %s", type(error).__name__)
            return
        if in_a_row == self._breaker.failures:
            logger.warning(
                "the carrier has failed %d times in a row for %s: it rests for %g s, and is tried once then",
                in_a_row,
                self._account.auth_id,
                self._breaker.rest.total_seconds(),
            )

    async def worked(self) -> None:
        """Forget failures, if there were any."""
        if self._breaker is None or not self._has_failed:
            return
        try:
            async with self._database.transaction() as connection:
                in_a_row = await carrier_turns.worked(connection, self._account)
        except (psycopg.Error, PoolTimeout) as error:
            logger.warning("it cannot be written down that a carrier works: %s", type(error).__name__)
            return
        self._has_failed = False
        if in_a_row >= self._breaker.failures:
            logger.warning("the carrier works again for %s", self._account.auth_id)

    async def _turn(self, what: str) -> None:
        # Only the last turn before a request can be the one by which a carrier that has rested is tried.
        rest = self._breaker.rest if self._breaker is not None and what == REQUESTS else None
        pace = self._paces[what]
        try:
            async with self._database.autocommit() as connection:
                answer = await carrier_turns.take(connection, self._account, what, pace, LONGEST_WAIT, rest=rest)
        except (psycopg.Error, PoolTimeout) as error:
            raise CarrierUnavailable(f"nobody can say whether it may be asked now: {type(error).__name__}") from None
        if answer.stopped is not None:
            raise CredentialsRefused(f"the carrier does not take our credentials: {answer.stopped}")
        self._has_failed = answer.failures > 0
        if answer.rests_for is not None:
            raise CarrierResting(
                f"the carrier has failed {answer.failures} times in a row, and is not asked"
                f" for {math.ceil(answer.rests_for.total_seconds())} s",
                answer.rests_for,
            )
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
    calls = Pace(settings.carrier_calls_per_second, timedelta(seconds=1))
    return SharedLeave(database, account, requests, calls, breaker_of(settings))


def breaker_of(settings: Settings) -> Breaker | None:
    """When a carrier rests; None for never."""
    if not settings.carrier_failures:
        return None
    return Breaker(settings.carrier_failures, timedelta(seconds=settings.carrier_rest))


async def forget_other_credentials(database: Database, keyring: Keyring, settings: Settings) -> None:
    """At a start with new credentials, forget that earlier ones of an account were not taken."""
    for account in (voice_account(keyring, settings), plivo_account(keyring, settings)):
        if account is not None:
            async with database.transaction() as connection:
                await carrier_turns.forget_others(connection, account)
