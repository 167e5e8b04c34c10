"""The short view of a session."""

from __future__ import annotations

from datetime import datetime

from masking.domain.bill.charges import Bill, bill
from masking.domain.model import Model
from masking.domain.session import Phase, Session, Status


class SessionSnapshot(Model):
    """The short view of a session that queries and updates answer with."""

    session_uuid: str
    account_id: str
    status: Status
    phase: Phase
    virtual_number: str
    created_at: datetime
    modified_at: datetime
    expires_at: datetime
    interaction_count: int
    bill: Bill
    version: int


def snapshot(session: Session) -> SessionSnapshot:
    """The short view of `session`."""
    return SessionSnapshot(
        session_uuid=session.session_uuid,
        account_id=session.account_id,
        status=session.status,
        phase=session.phase,
        virtual_number=session.virtual_number,
        created_at=session.created_at,
        modified_at=session.modified_at,
        expires_at=session.expires_at,
        interaction_count=len(session.interactions),
        bill=bill(session),
        version=session.version,
    )
