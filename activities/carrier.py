"""What a session's workflow asks of the carrier: calls that we make, and calls that must end."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.sessions import SessionRef
from activities.starts import must_be_its_own
from masking.carriers import words
from masking.carriers.errors import (
    CarrierRefused,
    CarrierResting,
    CarrierUnavailable,
    CredentialsRefused,
    OutcomeUnknown,
)
from masking.carriers.missed import Missed, missed
from masking.carriers.protocol import CallOrder, Orders
from masking.domain.bill.rates import RateCard
from masking.domain.decisions import placed_call
from masking.domain.events import Call, Hangup, Placed, RecordingCompleted
from masking.domain.interaction import longest_call
from masking.domain.terms import Terms
from masking.privacy.keyring import Keyring
from masking.rate_card import placed_rates
from masking.storage.call_routes import find_first_party
from masking.storage.calls import KnownCall, claim_first_call, find_call, find_first_call, note_call, unclaim_first_call
from masking.storage.database import Database
from masking.storage.recordings import note_asked

LONGEST_DELAY = timedelta(minutes=1)


class CallFirstParty(SessionRef):
    """Call the first party from the virtual number (E.164)."""

    virtual_number: str
    terms: Terms


class EndCalls(SessionRef):
    """These calls, by the carrier's ids."""

    call_uuids: tuple[str, ...]


class AskMissed(SessionRef):
    """Ask what became of these calls."""

    calls: tuple[Call, ...]


class Recordings(NamedTuple):
    """That recordings are fetched into our own storage. `delete_at_carrier`: and are to be there alone."""

    delete_at_carrier: bool


class CarrierActivities:
    """Asks the carrier.

    Args:
        carrier: None where no carrier takes orders.
        webhooks_url: where the gateway takes the carrier's webhooks, without a slash at the end.
        rate_card: None where the settings' flat rate holds for every leg.
        recordings: whether recordings are fetched into our own storage, and then deleted at the carrier.
    """

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        carrier: Orders | None,
        webhooks_url: str,
        rate_card: RateCard | None = None,
        recordings: Recordings | None = None,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._carrier = carrier
        self._webhooks_url = webhooks_url
        self._rate_card = rate_card
        self._recordings = recordings

    @activity.defn
    async def call_first_party(self, command: CallFirstParty) -> Placed:
        """Call the first party, at most once, and note the call; one that was noted already is told again.

        The call's own webhooks note it too, so that it is known however early they come.

        Raises:
            ApplicationError: the carrier refused, or nobody knows whether it called: then a second
                call could ring a phone twice, so there is none. Retryable when it certainly did not call.
        """
        terms, session_uuid = command.terms, command.session_uuid
        must_be_its_own(session_uuid)
        hooks = f"{self._webhooks_url}/sessions/{session_uuid}"
        order = CallOrder(
            from_number=command.virtual_number,
            to_number=terms.first_party,
            answer_url=f"{hooks}/answer",
            hangup_url=f"{hooks}/hangup",
            fallback_url=f"{self._webhooks_url}/fallback",
            ring_timeout=terms.ring_timeout,
            time_limit=int(longest_call(terms).total_seconds()),
        )
        made = await self._placed_once(session_uuid, order)
        if isinstance(made, KnownCall):
            return Placed(event_id=f"{made.call.call_uuid}:placed", at=made.began_at, call=made.call)
        call_uuid = made
        async with self._database.transaction() as connection:
            found = await find_first_party(connection, self._keyring, session_uuid, call_uuid)
            if found is None:
                raise ApplicationError("the session has no first party any more", non_retryable=True)
            call = placed_call(call_uuid, found.route, placed_rates(self._rate_card, found.route, found.now))
            known = await find_call(connection, self._keyring, call_uuid)
            if known is None:
                await note_call(connection, found, call, None)
            else:
                # Its prices were fixed already, when a webhook came first.
                call = call.model_copy(update={"rates": known.call.rates})
        return Placed(event_id=f"{call_uuid}:placed", at=found.now, call=call)

    async def _placed_once(self, session_uuid: str, order: CallOrder) -> str | KnownCall:
        """Place the call, unless an earlier try may have: a worker that died in the middle leaves its claim.

        Where that try got as far as noting the call, or one of its webhooks was quicker, it is known what came of it.
        """
        async with self._database.transaction() as connection:
            if not await claim_first_call(connection, session_uuid, order.from_number):
                known = await find_first_call(connection, self._keyring, session_uuid)
                if known is not None:
                    return known
                raise ApplicationError(
                    "the carrier may have called already", type=OutcomeUnknown.__name__, non_retryable=True
                )
        try:
            return await self._orders().place(order)
        except (CarrierRefused, OutcomeUnknown) as error:
            raise ApplicationError(str(error), type=type(error).__name__, non_retryable=True) from None
        except CarrierUnavailable as error:
            async with self._database.transaction() as connection:
                await unclaim_first_call(connection, session_uuid)
            raise later(error) from None

    @activity.defn
    async def warn_calls(self, command: EndCalls) -> None:
        """Tell both parties of each call that it is about to end."""
        for call_uuid in command.call_uuids:
            try:
                await self._orders().speak(call_uuid, words.EXPIRY_WARNING)
            except (CarrierRefused, OutcomeUnknown) as error:
                activity.logger.warning("a warning was not said: %s", error)
            except CarrierUnavailable as error:
                raise later(error) from None

    @activity.defn
    async def end_calls(self, command: EndCalls) -> None:
        """End each call, after a word of goodbye to both where the carrier can say one. Safe to repeat."""
        for call_uuid in command.call_uuids:
            try:
                await self._end(call_uuid)
            except CarrierRefused as error:
                raise ApplicationError(str(error), type=type(error).__name__, non_retryable=True) from None
            except CarrierUnavailable as error:
                raise later(error) from None

    async def _end(self, call_uuid: str) -> None:
        # Whoever tries again ends it at once: both may have heard the goodbye, and it ends by itself after that.
        if activity.info().attempt == 1:
            try:
                await self._orders().transfer(call_uuid, f"{self._webhooks_url}/farewell")
            except CredentialsRefused:
                raise
            except CarrierRefused as error:
                activity.logger.info("a call ends without a goodbye: %s", error)
            else:
                return
        await self._orders().hang_up(call_uuid)

    @activity.defn
    async def ask_missed(self, command: AskMissed) -> Missed:
        """Read the carrier's own records of calls. What it refuses to tell counts as unknown.

        That it refuses because of our credentials says nothing about the calls: then it is asked again later.
        """
        hangups: list[Hangup] = []
        recordings: list[RecordingCompleted] = []
        for call in command.calls:
            try:
                known = await missed(self._orders(), call)
            except CredentialsRefused as error:
                raise ApplicationError(str(error), type=type(error).__name__) from None
            except CarrierUnavailable as error:
                raise later(error) from None
            except CarrierRefused as error:
                activity.logger.warning("the carrier does not tell what became of a call: %s", error)
                continue
            hangups += known.hangups
            recordings += known.recordings
        if recordings and self._recordings is not None:
            async with self._database.transaction() as connection:
                for each in recordings:
                    to_delete = self._recordings.delete_at_carrier
                    await note_asked(connection, self._keyring, command.session_uuid, each, to_delete=to_delete)
        return Missed(hangups=tuple(hangups), recordings=tuple(recordings))

    def _orders(self) -> Orders:
        if self._carrier is None:
            raise CarrierRefused("MASKING_CARRIER_API_URL is not set: no carrier takes orders")
        return self._carrier


def later(error: CarrierUnavailable) -> ApplicationError:
    """The failure after which Temporal tries again, once the carrier may be asked again.

    Where many wait for the same limit, each is turned away for longer each time, so that they do not all come back at
    once. Not so where the carrier rests: once it has been tried, there is room for all.
    """
    delay = error.retry_after
    if delay is not None and not isinstance(error, CarrierResting):
        delay = min(delay * 2 ** (activity.info().attempt - 1), max(delay, LONGEST_DELAY))
    return ApplicationError(str(error), type=type(error).__name__, next_retry_delay=delay)
