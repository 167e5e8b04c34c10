"""What was agreed when a session was created, and what may change while it lives.

Names, meanings and defaults are those of Plivo's Masking Session API
(masking-session-api.txt, "Create a Session" and "Update a Session").
"""

from __future__ import annotations

from typing import Literal

from masking.domain.model import Model
from masking.domain.money import Rate

Method = Literal["GET", "POST"]
FileFormat = Literal["mp3", "wav"]


class Terms(Model):
    """The arguments of a session that its calls depend on. Times in seconds, numbers in E.164."""

    first_party: str
    second_party: str
    call_time_limit: int
    ring_timeout: int
    record: bool = False
    record_file_format: FileFormat = "mp3"
    recording_callback_url: str = ""
    recording_callback_method: Method = "POST"
    callback_url: str = ""
    callback_method: Method = "POST"
    geomatch: bool = True
    virtual_number_cooloff_period: int = 0


class SessionRequest(Model):
    """The input of the workflow `MaskingSession`.

    Attributes:
        session_uuid: the session's id, in the form of a UUID.
        account_id: the auth id it belongs to.
        session_expiry: seconds from creation to expiry.
        pair_grace: seconds after the end during which neither party meets the number again elsewhere.
        recording_wait: seconds to wait for a recording after its call before it counts as failed.
        rate: the price, fixed here so that the bill is a function of the history.
        resource_base_url: where this account's resources are served, without a slash at the end.
    """

    session_uuid: str
    account_id: str
    terms: Terms
    session_expiry: int
    pair_grace: int = 1800
    recording_wait: int = 300
    rate: Rate
    resource_base_url: str = ""


class Change(Model):
    """What an update asks for. None leaves a term as it is.

    `session_expiry` counts from the moment of the update (plivo-wire.md §5.3).
    """

    session_expiry: int | None = None
    call_time_limit: int | None = None
    ring_timeout: int | None = None
    record: bool | None = None
    record_file_format: FileFormat | None = None
    recording_callback_url: str | None = None
    recording_callback_method: Method | None = None
    callback_url: str | None = None
    callback_method: Method | None = None

    def applied_to(self, terms: Terms) -> Terms:
        """The terms after this change; `session_expiry` is not a term and does not show here."""
        return terms.model_copy(update=self.model_dump(exclude_none=True, exclude={"session_expiry"}))


class Extend(Model):
    """Expire `session_expiry` seconds from now."""

    session_expiry: int


class Expire(Model):
    """End the session now.

    Attributes:
        reason: for the history's reader; no numbers.
    """

    reason: str = ""
