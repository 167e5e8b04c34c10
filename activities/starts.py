"""What the ways of opening a session have in common: the operator's terms, faults of the request, the start's key."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError

from masking.contract import NO_ACCOUNT, ErrorType, session_workflow_id
from masking.domain.agreement import Agreement, Left, agreed
from masking.domain.limits import fault_of_request
from masking.domain.session import Session
from masking.domain.terms import Carrier
from masking.e164 import valid_e164
from masking.lookup import PartyHash
from masking.privacy.session_cipher import SessionCipher
from masking.storage.accounts import carrier_of, is_open
from masking.storage.database import Connection
from masking.storage.payload_keys import StoredPayloadKeys
from masking.storage.session_keys import OWN, StoredPayloadKey

ANOTHERS = "The session_uuid is that of another session: its workflow is session- and this id."


def is_of_another(session_uuid: str) -> bool:
    """Whether the activity was asked for by a workflow that is not this session's.

    Whoever may start workflows could otherwise have one read, and write, what is of a session that lives in another.
    """
    return activity.in_activity() and activity.info().workflow_id != session_workflow_id(session_uuid)


def must_be_its_own(session_uuid: str) -> None:
    """Fail for good where the workflow is not this session's. Raises `ApplicationError`."""
    if is_of_another(session_uuid):
        raise ApplicationError(ANOTHERS, type=ErrorType.REQUEST_INVALID, non_retryable=True)


def impossible(session: Session) -> str | None:
    """Why a session can neither be nor be looked for; None when it can."""
    if is_of_another(session.session_uuid):
        return ANOTHERS
    # PostgreSQL takes none, and would be asked again and again.
    asked = (session.session_uuid, session.account_id, session.subaccount_id or "", session.terms.preferred_number)
    return "A NUL character is no text." if any("\0" in text for text in asked) else None


class HouseTerms(Protocol):
    """What the operator decides about new sessions."""

    @property
    def carrier(self) -> Carrier:
        """Who masks the sessions of accounts for which nobody else is named."""

    def __call__(self, session: Session) -> Agreement:
        """What the operator would have for a session."""


class StartKey(NamedTuple):
    """The data key with which a session was started, None where it has none yet; and what its answers are under."""

    cipher: SessionCipher | None = None
    answers_under: str | None = None


class Starts:
    """Sessions that are about to be opened.

    Args:
        house: what the operator decides about them; None leaves them as they are asked for.
        keys: what this worker's codec has its keys from; None where all payloads are under master keys.
        party_hash: what lists find parties by; None where they are not to.
    """

    def __init__(
        self, house: HouseTerms | None, keys: StoredPayloadKeys | None, party_hash: PartyHash | None = None
    ) -> None:
        self._house, self._keys, self._party_hash = house, keys, party_hash

    def agreed(self, session: Session, left: Left) -> tuple[Session, Agreement | None]:
        """A session under the operator's terms, and these where they are not what was asked for."""
        agreement = agreed(session, self._house(session), left) if self._house is not None else None
        return (session if agreement is None else agreement.applied_to(session)), agreement

    async def is_unchecked(self, session: Session, left: Left) -> bool:
        """Whether a session came by Temporal, past the gateway's checks.

        Only the gateway gives a session its own key before it starts it; to name a price, anybody can.

        Raises what `StoredPayloadKeys.answers_under` raises.
        """
        if self._house is None:
            return False
        if left.terms_of_business or self._keys is None:
            return left.terms_of_business
        return await self._keys.answers_under(session.session_uuid) != OWN

    async def fault(self, connection: Connection, session: Session) -> str | None:
        """Why a session that is unchecked cannot be; None when it can."""
        return await _fault(connection, session, self._house.carrier) if self._house is not None else None

    async def key(self, session_uuid: str) -> StartKey:
        """The key of a session's start. Raises what `StoredPayloadKeys.answers_under` raises."""
        if self._keys is None:
            return StartKey()
        answers_under = await self._keys.answers_under(session_uuid)
        return StartKey(self._keys.cipher(session_uuid), answers_under)

    def parties(self, session: Session) -> tuple[str, ...]:
        """What lists are to find a session's parties by."""
        hashed = self._party_hash
        return tuple(map(hashed, session.terms.parties.values())) if hashed is not None else ()

    def opened(self, session_uuid: str, key: StoredPayloadKey) -> None:
        """The session has its row, and its key there."""
        if self._keys is not None:
            self._keys.keep(session_uuid, key)


async def _fault(connection: Connection, session: Session, carrier: Carrier) -> str | None:
    for side, number in session.terms.parties.items():
        if valid_e164(number) != number:
            return f"{side}_party must be a phone number in E.164, such as +14155550100."
    if not session.terms.parties:
        return "A session needs at least one party."
    if len(set(session.terms.parties.values())) < len(session.terms.parties):
        return "second_party must differ from first_party."
    if fault := fault_of_request(session.duration, session.terms, session.pair_grace, session.recording_wait):
        return fault
    if not await is_open(connection, session.account_id, session.subaccount_id):
        return NO_ACCOUNT
    masks = await carrier_of(connection, session.owner_id, session.account_id) or carrier
    if session.carrier != masks:
        return f"The sessions of this account are masked by {masks}: ask for carrier={masks}."
    return None
