"""What a session's workflow asks of Plivo, where Plivo masks the session. Ordinary activities, each safe to repeat."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

from pydantic import Field
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.carrier import later
from activities.starts import HouseTerms, Starts, impossible
from masking.carriers.errors import CarrierError, CarrierRefused, CarrierUnavailable, CredentialsRefused
from masking.carriers.plivo.arguments import Arguments, create_arguments, update_arguments
from masking.carriers.plivo.callbacks import session_path
from masking.carriers.plivo.records import Records
from masking.carriers.plivo.sessions_api import SessionsApi
from masking.contract import POOL_EXHAUSTED, ErrorType
from masking.domain.agreement import Agreement, Left
from masking.domain.bill.rates import RateCard
from masking.domain.counterpart.following import opened_at_carrier
from masking.domain.counterpart.told import RULES, ToldSession
from masking.domain.model import Model
from masking.domain.session import REVISION, Session
from masking.domain.terms import Change
from masking.lookup import PartyHash
from masking.privacy.keyring import Keyring
from masking.storage import opening
from masking.storage.database import Database
from masking.storage.payload_keys import StoredPayloadKeys

MOST_NUMBERS = 3
"""So many numbers are had of Plivo where it names one on which a party is somebody else's, as we know."""

TRIES_FOR_LEGS = 4
"""From this try on, a look at a session does without the records of its legs."""

CLOCKS_APART = timedelta(minutes=5)
"""So much earlier than ours Plivo's clock may be."""


ResultT = TypeVar("ResultT")


class OfSession(Model):
    """About this session, as the workflow has it."""

    session: Session


class OpenAtCarrier(OfSession):
    """Have the carrier make this session.

    Attributes:
        left: what its request left to the operator.
        asks_parties: whether lists are to find it by its parties, and do not yet.
    """

    left: Left = Left()
    asks_parties: bool = Field(default=False, exclude_if=lambda asks: not asks)


class OpenedAtCarrier(Model):
    """What the carrier made; or None, and what to tell whoever asked.

    Attributes:
        agreement: what the operator decided about the session; None where it is what was asked for.
        revision, rules: those that the session follows to its end, as a session and as the counterpart's follower.
        parties: what lists are to find its parties by, where that was asked.
        outlives_cancel: whether cancelling the workflow ends the session early, instead of breaking it off.
    """

    told: ToldSession | None
    refusal: str = ""
    revision: int = 1
    rules: int = 1
    agreement: Agreement | None = Field(default=None, exclude_if=lambda agreement: agreement is None)
    parties: tuple[str, ...] = Field(default=(), exclude_if=lambda parties: not parties)
    outlives_cancel: bool = False


class ChangeAtCarrier(OfSession):
    """Have the carrier change a session so."""

    change: Change


class Done(Model):
    """It is done."""

    note: str = Field(default="", exclude_if=lambda note: not note)


class PlivoActivities:
    """Asks Plivo.

    Args:
        api: None where the settings name no credentials.
        base_url: where Plivo reaches our gateway, without a slash at the end.
        rate_card: None where Plivo's own amounts are passed on.
        house, keys, party_hash: see `Starts`.
    """

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        api: SessionsApi | None,
        base_url: str,
        rate_card: RateCard | None = None,
        house: HouseTerms | None = None,
        keys: StoredPayloadKeys | None = None,
        party_hash: PartyHash | None = None,
    ) -> None:
        self._database, self._keyring = database, keyring
        self._starts = Starts(house, keys, party_hash)
        self._api, self._base_url, self._rate_card = api, base_url, rate_card

    @activity.defn
    async def open_at_carrier(self, command: OpenAtCarrier) -> OpenedAtCarrier:
        """Have Plivo make the session, and write ours.

        A try before may have made one, so that each but the first looks first. Where Plivo names a number on
        which, by our books, one of the parties reaches somebody else, it is asked for another while it keeps
        the first one; what was had in vain, or made twice, is expired.
        """
        if fault := impossible(command.session):
            return OpenedAtCarrier(told=None, refusal=fault)
        session, agreement = self._starts.agreed(command.session, command.left)
        if await self._starts.is_unchecked(session, command.left):
            async with self._database.transaction() as connection:
                if fault := await self._starts.fault(connection, session):
                    return OpenedAtCarrier(told=None, refusal=fault)
        had = list(await self._made(session)) if activity.info().attempt > 1 else []
        spare: list[ToldSession] = []
        opened: ToldSession | None = None
        while opened is None and len(spare) < MOST_NUMBERS:
            try:
                told = had.pop() if had else await _answered(self._plivo().create(self._arguments(session)))
            except ApplicationError as refusal:
                if not refusal.non_retryable:
                    raise
                if not spare:
                    return OpenedAtCarrier(told=None, refusal=_refusal(refusal.message))
                break
            if await self._written(session, told):
                opened = told
            else:
                spare.append(told)
        for each in (*spare, *had):
            with suppress(CarrierError):
                await self._plivo().expire(each.session_uuid)
        if opened is None:
            activity.logger.warning("the carrier has no number on which both parties of a session are free")
            return OpenedAtCarrier(told=None, refusal=POOL_EXHAUSTED)
        parties = self._starts.parties(session) if command.asks_parties else ()
        return OpenedAtCarrier(
            told=opened,
            revision=REVISION,
            rules=RULES,
            agreement=agreement,
            parties=parties,
            outlives_cancel=True,
        )

    def _arguments(self, session: Session) -> Arguments:
        return create_arguments(session, session.duration, self._callbacks_url(session))

    async def _made(self, session: Session, *, patient: bool = False) -> tuple[ToldSession, ...]:
        """What was made for this session already, newest first."""
        parties = {f"{side}_party": number for side, number in session.terms.parties.items()}
        since = session.created_at - CLOCKS_APART
        return await _answered(self._plivo().find(self._callbacks_url(session), parties, since), patient=patient)

    def _callbacks_url(self, session: Session) -> str:
        return f"{self._base_url}{session_path(self._keyring, session.session_uuid)}"

    async def _written(self, session: Session, told: ToldSession) -> bool:
        """Whether our session could be written: nobody else holds its parties on this number, live or cooling."""
        known = opened_at_carrier(session, told, REVISION).session
        key = await self._starts.key(session.session_uuid)
        async with self._database.transaction() as connection:
            opened = await opening.open_with_number(connection, self._keyring, known, *key)
        if opened is not None:
            self._starts.opened(session.session_uuid, opened.key)
        return opened is not None

    @activity.defn
    async def abandon_at_carrier(self, command: OfSession) -> Done:
        """Expire whatever was made for a session that was refused after all, and let nothing of it stay with us."""
        for told in await self._made(command.session, patient=True):
            await _answered(self._plivo().expire(told.session_uuid), patient=True)
        session_uuid = command.session.session_uuid
        async with self._database.transaction() as connection:
            if not await opening.take_back(connection, session_uuid):
                activity.logger.error(
                    "session %s was given up, and its parties have called by then: `masking sessions resume %s` closes"
                    " its bill",
                    session_uuid,
                    session_uuid,
                )
        return Done()

    @activity.defn
    async def change_at_carrier(self, command: ChangeAtCarrier) -> ToldSession:
        """Change the session at Plivo. What Plivo refuses is told in its words."""
        arguments = update_arguments(command.change, single_party=command.session.terms.single_party)
        return await _answered(self._plivo().update(_counterpart(command.session), arguments))

    @activity.defn
    async def expire_at_carrier(self, command: OfSession) -> Done:
        """End the session at Plivo; one that has ended is fine."""
        await _answered(self._plivo().expire(_counterpart(command.session)))
        return Done()

    @activity.defn
    async def look_at_carrier(self, command: OfSession) -> ToldSession:
        """The session as Plivo has it on record; with the legs and recordings of which no callback told."""
        told = await _answered(self._plivo().retrieve(_counterpart(command.session)), patient=True)
        records = Records(self._plivo(), self._rate_card)
        legs_matter = activity.info().attempt < TRIES_FOR_LEGS
        return await _answered(records.completed(command.session, told, legs_matter=legs_matter), patient=True)

    def _plivo(self) -> SessionsApi:
        if self._api is None:
            activity.logger.error("MASKING_PLIVO_AUTH_ID and MASKING_PLIVO_AUTH_TOKEN are not set on this worker")
            raise ApplicationError("the carrier is not set up", type=ErrorType.CARRIER_REFUSED, non_retryable=True)
        return self._api


def _counterpart(session: Session) -> str:
    return session.counterpart.session_uuid if session.counterpart is not None else ""


def _refusal(words: str) -> str:
    """Why there is no session, in our own words where we have some."""
    return POOL_EXHAUSTED if "number pool exhausted" in words.lower() else words


async def _answered(asking: Awaitable[ResultT], *, patient: bool = False) -> ResultT:
    """What Plivo answers. Let Temporal try again, which each of these activities bears, unless Plivo refused.

    Args:
        patient: whether nobody waits: that Plivo does not take our credentials may be mended meanwhile.
    """
    try:
        return await asking
    except CarrierRefused as refusal:
        if patient and isinstance(refusal, CredentialsRefused):
            raise ApplicationError(str(refusal), type=type(refusal).__name__) from None
        raise ApplicationError(str(refusal), type=ErrorType.CARRIER_REFUSED, non_retryable=True) from None
    except CarrierUnavailable as error:
        raise later(error) from None
    except CarrierError as error:
        raise ApplicationError(str(error), type=type(error).__name__) from None
