"""What is wrong with a session that came by Temporal, past the gateway's checks."""

from __future__ import annotations

from masking.contract import NO_ACCOUNT
from masking.domain.session import Session
from masking.domain.terms import Carrier
from masking.e164 import valid_e164
from masking.storage.accounts import carrier_of, is_open
from masking.storage.database import Connection


async def fault_of(connection: Connection, session: Session, carrier: Carrier) -> str | None:
    """Why a session cannot be; None when it can.

    Args:
        carrier: who masks the sessions of accounts for which nobody else is named.
    """
    for side, number in session.terms.parties.items():
        if valid_e164(number) != number:
            return f"{side}_party must be a phone number in E.164, such as +14155550100."
    if not session.terms.parties:
        return "A session needs at least one party."
    if len(set(session.terms.parties.values())) < len(session.terms.parties):
        return "second_party must differ from first_party."
    if not await is_open(connection, session.account_id, session.subaccount_id):
        return NO_ACCOUNT
    masks = await carrier_of(connection, session.owner_id, session.account_id) or carrier
    if session.carrier != masks:
        return f"The sessions of this account are masked by {masks}: ask for carrier={masks}."
    return None
