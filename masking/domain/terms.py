"""What was agreed when a session was created, and what may change while it lives.

Names, meanings and defaults are those of Plivo's Masking Session API
(masking-session-api.txt, "Create a Session" and "Update a Session").
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field

from masking.domain.bill.money import ZERO, Rate
from masking.domain.events import Side
from masking.domain.model import Model

Method = Literal["GET", "POST"]
FileFormat = Literal["mp3", "wav"]
AtExpiry = Literal["finish", "warn", "drop", "extend"]
Carrier = Literal["voice", "plivo"]
"""Who masks: we ourselves, over a carrier of calls; or Plivo, by its Masking API."""


class PinTerms(Model):
    """How callers prove who they are with a PIN.

    Attributes:
        first_party, second_party: the parties' PINs, 4 to 15 digits; empty until they are generated,
            and for a registered party of a single-party session that has none.
        generate: whether the PINs are ours to make, of `generate_length` digits.
        prompt_play, incorrect_play: URLs of audio; the second may be empty.
        retry: how many more tries a caller has after a wrong one, `retry_wait` seconds apart.
        force: whether registered callers are asked too.
    """

    first_party: str = ""
    second_party: str = ""
    generate: bool = False
    generate_length: int = 4
    prompt_play: str
    incorrect_play: str = ""
    retry: int = 1
    retry_wait: int = 5
    force: bool = False


class Terms(Model):
    """The arguments of a session that its calls depend on. Times in seconds, numbers in E.164.

    Attributes:
        first_party, second_party: one of them is empty while a single-party session misses it.
        call_time_limit, ring_timeout: 0 in a request that leaves them to the operator.
        single_party: whether the session was created with `create_session_with_single_party`.
        pin: None when no PIN is asked for.
        preferred_number: the virtual number (E.164) on which the parties met before and would meet again; they get it
            where that is safe (docs/numbers.md), else another one. Empty for any.
    """

    first_party: str
    second_party: str
    call_time_limit: int = 0
    ring_timeout: int = 0
    record: bool = False
    record_file_format: FileFormat = "mp3"
    recording_callback_url: str = ""
    recording_callback_method: Method = "POST"
    callback_url: str = ""
    callback_method: Method = "POST"
    geomatch: bool = True
    virtual_number_cooloff_period: int = 0
    single_party: bool = False
    initiate_call_to_first_party: bool = False
    first_party_play_url: str = ""
    second_party_play_url: str = ""
    unknown_caller_play: str = ""
    pin: PinTerms | None = None
    preferred_number: str = Field(default="", exclude_if=lambda number: not number)

    @property
    def parties(self) -> dict[Side, str]:
        """The registered parties' real numbers."""
        numbers = {Side.FIRST: self.first_party, Side.SECOND: self.second_party}
        return {side: number for side, number in numbers.items() if number}

    def play_url(self, side: Side) -> str:
        """What a party hears before it is connected; empty for nothing."""
        return self.first_party_play_url if side is Side.FIRST else self.second_party_play_url

    @property
    def pins(self) -> dict[Side, str]:
        """The parties' PINs."""
        if self.pin is None:
            return {}
        pins = {Side.FIRST: self.pin.first_party, Side.SECOND: self.pin.second_party}
        return {side: pin for side, pin in pins.items() if pin}

    @property
    def open_side(self) -> Side | None:
        """The party that any caller may be: the missing one of a session without a PIN."""
        missing = [side for side in Side if side not in self.parties]
        return missing[0] if missing and self.pin is None else None

    @property
    def speaks_to_strangers(self) -> bool:
        """Whether a caller whom no lease knows gets more than a refusal: a question or an announcement."""
        return self.pin is not None or bool(self.unknown_caller_play)

    @property
    def matched_number(self) -> str:
        """The party whose country the virtual number has to share: the first, or the only one."""
        return self.first_party or self.second_party


class SessionRequest(Model):
    """The input of the workflow `MaskingSession`.

    Attributes:
        session_uuid: the session's id, in the form of a UUID.
        account_id: the auth id of the main account it belongs to.
        subaccount_id: the subaccount whose numbers it uses and whose token signs its callbacks; None for the main one.
        session_expiry: seconds from creation to expiry.
        pair_grace: seconds after the end during which neither party meets the number again elsewhere.
        recording_wait: seconds to wait for a recording after its call before it counts as failed.
        at_expiry: what becomes of a conversation that the session's end finds in progress: it may `finish`,
            or both hear a warning and it ends a little later (`warn`), or it ends at once (`drop`),
            or the session goes on until it ends (`extend`). The operator's policy when None. Where the carrier masks,
            it always finishes.
        rate, session_fee: left out by whoever is not the operator, and never theirs to choose: what holds is decided
            when the session is opened (`masking/domain/agreement.py`).
        resource_base_url: where this account's resources are served, without a slash at the end.
        carrier: who masks the session, from its beginning to its end.
    """

    session_uuid: str
    account_id: str
    subaccount_id: str | None = None
    terms: Terms
    session_expiry: int
    pair_grace: int = 1800
    recording_wait: int = 300
    at_expiry: AtExpiry | None = None
    rate: Rate | None = None
    session_fee: Decimal = Field(default=ZERO, exclude_if=lambda fee: not fee)
    resource_base_url: str = ""
    carrier: Carrier = Field(default="voice", exclude_if=lambda carrier: carrier == "voice")


class Change(Model):
    """What an update asks for. None leaves a term as it is.

    `session_expiry` counts from the moment of the update (plivo-wire.md §5.3). The parties
    change only in a session that was created with a single one; elsewhere they are left alone.
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
    first_party_play_url: str | None = None
    second_party_play_url: str | None = None
    first_party: str | None = None
    second_party: str | None = None

    def applied_to(self, terms: Terms) -> Terms:
        """The terms after this change; `session_expiry` is not a term and does not show here."""
        fixed = set() if terms.single_party else {"first_party", "second_party"}
        return terms.model_copy(update=self.model_dump(exclude_none=True, exclude={"session_expiry", *fixed}))


class Extend(Model):
    """Expire `session_expiry` seconds from now."""

    session_expiry: int


class Expire(Model):
    """End the session now.

    Attributes:
        reason: for the history's reader; no numbers.
    """

    reason: str = ""
