"""What the operator's settings say about new sessions."""

from __future__ import annotations

from masking.domain.agreement import Agreement
from masking.domain.bill.money import ZERO
from masking.domain.bill.rates import RateCard
from masking.domain.session import Session
from masking.domain.terms import Carrier
from masking.rate_card import flat_rate
from masking.settings import Settings


def account_url(base_url: str, auth_id: str) -> str:
    """Where an account's resources are served, without a slash at the end."""
    return f"{base_url}/v1/Account/{auth_id}"


class House:
    """Decides what requests leave open, and the price.

    Args:
        card: the rate card, if there is one.
    """

    def __init__(self, settings: Settings, card: RateCard | None) -> None:
        self._settings, self._card = settings, card

    @property
    def carrier(self) -> Carrier:
        """Who masks the sessions of accounts for which nobody else is named."""
        return self._settings.carrier

    def __call__(self, session: Session) -> Agreement:
        """What the operator would have for a session; the fee is that of the moment it was created."""
        settings, card = self._settings, self._card
        return Agreement(
            rate=flat_rate(settings, card),
            session_fee=card.session_fee_amount(session.created_at) if card is not None else ZERO,
            pair_grace=settings.pair_grace,
            recording_wait=settings.recording_wait,
            at_expiry=settings.at_expiry,
            resource_base_url=account_url(settings.base_url, session.owner_id),
            call_time_limit=settings.call_time_limit,
            ring_timeout=settings.ring_timeout,
        )
