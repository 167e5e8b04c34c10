"""Sessions as a Nexus service: its name, its operations, and what they take and give.

A caller in Python may import this module; others go by the names and the JSON Schema of the contract
(docs/contract.json).
"""

from __future__ import annotations

from typing import Self

import nexusrpc
from pydantic import Field, model_validator

from masking.client.new_session import NewSession
from masking.domain.bill.charges import Bill
from masking.domain.model import Model
from masking.domain.snapshot import SessionSnapshot
from masking.domain.terms import Change

SERVICE = "Masking"
ENDPOINT = "masking"
"""How `masking run` calls the endpoint."""


class Named(Model):
    """Which session: by its id, or by its account and the key it was started with."""

    session_uuid: str = ""
    account_id: str = ""
    idempotency_key: str = ""

    @model_validator(mode="after")
    def _is_named(self) -> Self:
        if not self.session_uuid and not (self.account_id and self.idempotency_key):
            raise ValueError("name the session by session_uuid, or by account_id and idempotency_key")
        return self


class ExtendSession(Named):
    """Let the session expire `session_expiry` seconds from now."""

    session_expiry: int = Field(ge=60, le=86_400)


class ModifySession(Named):
    """Change terms of the session."""

    change: Change


class ExpireSession(Named):
    """End the session now. `reason` is for whoever reads its history; no numbers."""

    reason: str = ""


@nexusrpc.service(name=SERVICE)
class MaskingService:
    """Sessions.

    Attributes:
        start: open a session by its key, and answer with its final bill. Cancelling it expires the session.
        opened: wait for the session's virtual number, some seconds at most.
        extend, modify, expire: steer it, and answer with it as it is then.
        snapshot: the session now, in short.

    An operation that cannot be fails with an `ApplicationError` whose type is one of the contract's error types.
    """

    start: nexusrpc.Operation[NewSession, Bill]
    opened: nexusrpc.Operation[Named, SessionSnapshot]
    extend: nexusrpc.Operation[ExtendSession, SessionSnapshot]
    modify: nexusrpc.Operation[ModifySession, SessionSnapshot]
    expire: nexusrpc.Operation[ExpireSession, SessionSnapshot]
    snapshot: nexusrpc.Operation[Named, SessionSnapshot]
