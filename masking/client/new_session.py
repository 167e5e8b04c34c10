"""A session to be started, as another service asks for it."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Self
from uuid import UUID, uuid5

from pydantic import AfterValidator, Field, model_validator
from temporalio import workflow

from masking.domain.model import Model
from masking.domain.terms import AtExpiry, Carrier, FileFormat, Method, PinTerms, SessionRequest, Terms
from masking.e164 import valid_e164

_KEYS = UUID("5f6f3f5e-1c39-4d0b-8c0c-8f2e5b8a7d11")
"""The name space of the sessions that are named by their creator's key. Never changes."""


def _e164(value: str) -> str:
    # The rules of a country are imported when its first number is seen, which may be within a workflow's sandbox.
    with workflow.unsafe.imports_passed_through(), workflow.unsafe.sandbox_unrestricted():
        number = valid_e164(value)
    if number is None:
        raise ValueError("must be a phone number in E.164, such as +14155550100")
    return number


Number = Annotated[str, AfterValidator(_e164)]
OptionalNumber = Annotated[str, AfterValidator(lambda value: _e164(value) if value else "")]
Url = Annotated[str, Field(pattern=r"^(https?://[!-~]+)?$", max_length=999)]
Seconds = Annotated[int, Field(ge=60, le=86_400)]


class NewSession(Model):
    """What a caller says about a session to be started. What it leaves out, and the price, is the operator's to decide.

    Attributes:
        account_id: the auth id of the main account, `MA…`.
        first_party, second_party: the parties' real numbers, E.164. One may be empty in a single-party session.
        idempotency_key: names the session in the caller's own words, such as a ride's id: the same key again is the
            same session, also after its end. It is hashed into the session's id, so no phone number or name.
            Without one, every start is a session of its own.
        subaccount_id: the subaccount whose numbers it uses, `SA…`; None for the main account's.
        session_expiry: seconds from now to its expiry, 60 to 86400.
        call_time_limit: the longest call, in seconds; ring_timeout: the longest ringing. The operator's when None.
        at_expiry: what becomes of a conversation that its end finds in progress; the operator's policy when None.
        single_party: whether a party may be missing now, and parties may change later.
        virtual_number_cooloff_period: seconds after its end for which nobody gets its number.
        carrier: who masks it, as the operator has it for the account (docs/carriers.md).
        pin: how unknown callers prove who they are; None when no PIN is asked for.
        preferred_number: the virtual number on which the two met before and would meet again. They get it where that
            is safe (docs/numbers.md), else another one: `SessionSnapshot.virtual_number` tells which.

    The others are those of Plivo's Masking Session API (docs/api.md).
    """

    account_id: Annotated[str, Field(pattern="^MA[A-Z0-9]{18}$")]
    first_party: OptionalNumber
    second_party: OptionalNumber = ""
    idempotency_key: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    subaccount_id: Annotated[str, Field(pattern="^SA[A-Z0-9]{18}$")] | None = None
    carrier: Carrier = "voice"
    session_expiry: Seconds = 3600
    call_time_limit: Seconds | None = None
    ring_timeout: Annotated[int, Field(ge=5, le=600)] | None = None
    at_expiry: AtExpiry | None = None
    record: bool = False
    record_file_format: FileFormat = "mp3"
    recording_callback_url: Url = ""
    recording_callback_method: Method = "POST"
    callback_url: Url = ""
    callback_method: Method = "POST"
    geomatch: bool = True
    virtual_number_cooloff_period: Annotated[int, Field(ge=0, le=3600)] = 0
    single_party: bool = False
    initiate_call_to_first_party: bool = False
    first_party_play_url: Url = ""
    second_party_play_url: Url = ""
    unknown_caller_play: Url = ""
    pin: PinTerms | None = None
    preferred_number: OptionalNumber = ""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.single_party and not (self.first_party and self.second_party):
            raise ValueError("give both parties, or single_party=True for a session that misses one")
        if not self.first_party and not self.second_party:
            raise ValueError("give at least one party")
        if self.first_party == self.second_party:
            raise ValueError("second_party must differ from first_party")
        if self.initiate_call_to_first_party and not (self.first_party and self.second_party):
            raise ValueError("initiate_call_to_first_party needs both parties")
        return self

    def request(self, session_uuid: str) -> SessionRequest:
        """The workflow's input. It names no price: the operator fills that in."""
        terms = self.model_dump(include=set(Terms.model_fields) - {"pin", "call_time_limit", "ring_timeout"})
        return SessionRequest(
            session_uuid=session_uuid,
            account_id=self.account_id,
            subaccount_id=self.subaccount_id,
            session_expiry=self.session_expiry,
            at_expiry=self.at_expiry,
            carrier=self.carrier,
            terms=Terms(
                **terms,
                call_time_limit=self.call_time_limit or 0,
                ring_timeout=self.ring_timeout or 0,
                pin=self.pin,
            ),
        )

    def session_uuid(self, attempt: int = 0) -> str:
        """The id of the session with this key. Raises `ValueError` without one. Arguments as of `session_uuid_of`."""
        if self.idempotency_key is None:
            raise ValueError("only a session with an idempotency_key has its id before it is started")
        return session_uuid_of(self.account_id, self.idempotency_key, attempt)

    def digest(self, session_uuid: str) -> str:
        """What tells this request from others under the same key. A field that is new and left out changes nothing."""
        said = json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
        return hashlib.sha256(f"{session_uuid}\0{said}".encode()).hexdigest()


class NamedSession(Model):
    """The session that a key names.

    Attributes:
        exists: whether there is one; else it would yet have to be started, under this id.
        refusal: why the last one under this key was refused, if one was.
    """

    session_uuid: str
    exists: bool
    refusal: str = ""


def session_uuid_of(account_id: str, idempotency_key: str, attempt: int = 0) -> str:
    """The id of the session that an account's key names.

    Args:
        attempt: how many sessions under this key were refused before; each has an id of its own.
    """
    named = "\0".join((account_id, idempotency_key, *([str(attempt)] if attempt else [])))
    return str(uuid5(_KEYS, named))
