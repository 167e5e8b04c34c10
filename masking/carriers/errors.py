"""Why a carrier did not do what was asked.

CarrierError                the carrier did not do it
├── CarrierRefused          it said no: trying again will not help
│   └── CredentialsRefused  it does not take our credentials: nothing is asked of it until they are right
├── CarrierUnavailable      it certainly did nothing: try again
│   └── CarrierResting      it was not asked, since it has failed too often in a row
└── OutcomeUnknown          it may or may not have done it
"""

from __future__ import annotations

from datetime import timedelta

from masking.errors import MaskingError


class CarrierError(MaskingError):
    """The carrier did not do what was asked; the message says why, without numbers."""


class CarrierRefused(CarrierError):
    """The carrier said no."""


class CredentialsRefused(CarrierRefused):
    """The carrier does not take our credentials, or did not when it was last asked."""


class CarrierUnavailable(CarrierError):
    """The carrier certainly did nothing.

    Attributes:
        retry_after: how long to wait before it is worth another try, where that is known.
    """

    def __init__(self, why: str, retry_after: timedelta | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class CarrierResting(CarrierUnavailable):
    """The carrier was not asked, since it has failed too often in a row. One request tries it after `retry_after`."""


class OutcomeUnknown(CarrierError):
    """The carrier may or may not have done it."""
