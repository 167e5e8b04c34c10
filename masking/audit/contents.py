"""What the records of a pack hold, and how what is personal in them is sealed."""

from __future__ import annotations

import base64
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from masking.domain.callbacks import Kind
from masking.domain.model import Model
from masking.privacy.keyring import Unreadable
from masking.privacy.session_cipher import SessionCipher

HISTORY, SESSION, DECISIONS, LATE, CALLBACKS, LEDGER = "history", "session", "decisions", "late", "callbacks", "ledger"
"""The sections, in the order in which they stand."""

SETTLEMENT, CORRECTION, ENTRY = "settlement", "correction", "entry"
"""How records of the ledger's section are named; a correction with its event's id, an entry with its own behind it."""

ModelT = TypeVar("ModelT", bound=Model)


class Part(Model):
    """Something personal: under the session's data key, in base64, or in the clear; neither where there was nothing."""

    sealed: str | None = None
    clear: dict[str, Any] | None = None

    @classmethod
    def of(cls, ciphertext: bytes | None, model_type: type[Model], to_open: SessionCipher | None) -> Part:
        """What the database keeps sealed.

        Args:
            to_open: opens it, for a pack in the clear; None leaves it sealed.
        """
        if not ciphertext:
            return cls()
        if to_open is None:
            return cls(sealed=base64.b64encode(ciphertext).decode())
        return cls(clear=to_open.open(model_type, ciphertext).model_dump(mode="json"))

    @classmethod
    def sealing(cls, model: Model, seals: SessionCipher | None) -> Part:
        """What is not sealed yet; None leaves it in the clear."""
        if seals is None:
            return cls(clear=model.model_dump(mode="json"))
        return cls(sealed=base64.b64encode(seals.seal(model)).decode())

    def opened(self, model_type: type[ModelT], cipher: SessionCipher | None) -> ModelT | None:
        """What it holds; None where there was nothing.

        Raises:
            Unreadable: it is under another key, or something else.
        """
        try:
            if self.clear is not None:
                return model_type.model_validate(self.clear)
            if self.sealed is None:
                return None
            if cipher is None:
                raise Unreadable("the key of the session is not at hand")
            return cipher.open(model_type, base64.b64decode(self.sealed, validate=True))
        except (ValidationError, ValueError):
            raise Unreadable("a part of the pack is not what it should be") from None


class VirtualNumber(Model):
    """The session's virtual number, E.164."""

    number: str


class StoredSession(Model):
    """The session's row."""

    account_id: str
    subaccount_id: str | None
    phase: str
    status: str
    created_at: datetime
    modified_at: datetime
    expires_at: datetime
    duration: int
    version: int
    revision: int
    total_call_count: int
    total_call_amount: Decimal
    total_call_billed_duration: int
    settled_at: datetime | None
    resumptions: int = Field(default=0, exclude_if=lambda resumptions: not resumptions)
    virtual_number: Part
    terms: Part
    session: Part


class StoredCall(Model):
    """A call of the session that was connected or placed: what the switchboard decided, and why."""

    call_uuid: str
    decision: str
    reason: str
    started_at: datetime
    must_end_by: datetime
    ended_at: datetime | None
    call: Part


class StoredLate(Model):
    """An event that came after the bill was closed."""

    event_id: str
    signal: str
    received_at: datetime
    forwarded_at: datetime | None
    event: Part


class StoredTry(Model):
    """A try of a callback, and how the customer's endpoint answered."""

    began_at: datetime
    duration_ms: int
    outcome: str
    status: int | None
    answer: Part


class StoredCallback(Model):
    """A callback, and what became of it."""

    callback_id: str
    kind: Kind
    sequence: int
    state: str
    attempts: int
    last_outcome: str
    created_at: datetime
    delivered_at: datetime | None
    callback: Part
    tries: tuple[StoredTry, ...]


class Settlement(Model):
    """The bill as it was closed."""

    account_id: str
    currency: str
    total_call_count: int
    total_call_amount: Decimal
    total_call_billed_duration: int
    session_amount: Decimal
    total_session_amount: Decimal
    duration: int
    last_interaction_time: datetime | None
    settled_at: datetime


class StoredCorrection(Model):
    """What a late event added to the bill."""

    event_id: str
    call_count: int
    duration: int
    billed_duration: int
    amount: Decimal
    currency: str
    corrected_at: datetime
