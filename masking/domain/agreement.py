"""What the operator decides about a session, whoever asked for it: its price, and what the request left open."""

from __future__ import annotations

from decimal import Decimal

from masking.domain.bill.money import Rate
from masking.domain.model import Model
from masking.domain.session import Session
from masking.domain.terms import AtExpiry


class Left(Model):
    """What a request left to the operator, besides limits of 0 and an empty address.

    Attributes:
        terms_of_business: the price, the grace of the pair and the wait for recordings.
        at_expiry: the policy for conversations at the expiry.
    """

    terms_of_business: bool = False
    at_expiry: bool = False


class Agreement(Model):
    """What holds for a session. Fields as in `Session` and `Terms`."""

    rate: Rate
    session_fee: Decimal
    pair_grace: int
    recording_wait: int
    at_expiry: AtExpiry
    resource_base_url: str
    call_time_limit: int
    ring_timeout: int

    def applied_to(self, session: Session) -> Session:
        """The session under this agreement."""
        limits = {"call_time_limit": self.call_time_limit, "ring_timeout": self.ring_timeout}
        return session.model_copy(
            update={
                **{name: getattr(self, name) for name in Agreement.model_fields if name not in limits},
                "terms": session.terms.model_copy(update=limits),
            }
        )


def agreed(session: Session, house: Agreement, left: Left) -> Agreement | None:
    """What holds for a session that is to be opened; None where that is what the request says.

    The price is the operator's also where the request names another one. Where the request may choose, a pair's grace
    is never shorter than the operator's, since it keeps callers from the wrong person.

    Args:
        house: what the operator would have for a session of this account at this time.
    """
    terms, open_ = session.terms, left.terms_of_business
    held = Agreement(
        rate=house.rate,
        session_fee=house.session_fee,
        pair_grace=house.pair_grace if open_ else max(session.pair_grace, house.pair_grace),
        recording_wait=house.recording_wait if open_ else session.recording_wait,
        at_expiry=house.at_expiry if left.at_expiry and session.carrier == "voice" else session.at_expiry,
        resource_base_url=session.resource_base_url or house.resource_base_url,
        call_time_limit=terms.call_time_limit or house.call_time_limit,
        ring_timeout=terms.ring_timeout or house.ring_timeout,
    )
    return held if held.applied_to(session) != session else None
