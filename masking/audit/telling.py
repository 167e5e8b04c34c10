"""The story of a session, from what a pack or the database holds of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from masking.audit.contents import StoredCallback
from masking.audit.opening import Contents
from masking.domain.callbacks import Callback
from masking.domain.session import Session
from masking.domain.timeline import (
    Timeline,
    ToldCallback,
    ToldCorrection,
    ToldTry,
    Totals,
    of_what_stays,
    timeline,
)


def told(held: Contents, session: Session, show: Callable[[str], str]) -> Timeline:
    """The whole story. `show` says how a number in E.164 is shown."""
    return timeline(session, _callbacks(held), _corrections(held), show)


def told_of_erased(session_uuid: str, held: Contents, erased_at: datetime) -> Timeline:
    """What is left of a session whose key was destroyed: times, the bill, how callbacks fared."""
    row, bill = held.row, held.settlement
    if row is None:
        raise ValueError("an erased session has a row")
    corrections = _corrections(held)
    totals = Totals(
        legs=row.total_call_count,
        billed_duration=row.total_call_billed_duration,
        amount=bill.total_session_amount if bill is not None else row.total_call_amount,
        corrected=sum((each.amount for each in corrections), Decimal(0)),
        currency=bill.currency if bill is not None else "",
        closed_at=row.settled_at,
    )
    return Timeline(
        session_uuid=session_uuid,
        account_id=row.account_id,
        phase=row.phase,
        virtual_number="",
        first_party="",
        second_party="",
        created_at=row.created_at,
        expires_at=row.expires_at,
        entries=of_what_stays(row.created_at, row.expires_at, totals, erased_at, _callbacks(held), corrections),
        remarks=(),
        totals=totals,
    )


def _callbacks(held: Contents) -> list[ToldCallback]:
    return [_callback(record, callback) for record, callback in held.callbacks]


def _callback(record: StoredCallback, callback: Callback | None) -> ToldCallback:
    tries = (ToldTry(at=each.began_at, outcome=each.outcome, duration_ms=each.duration_ms) for each in record.tries)
    return ToldCallback(
        at=record.created_at,
        name=callback.name if callback is not None else "",
        kind=record.kind,
        sequence=record.sequence,
        state=record.state,
        tries=tuple(tries),
    )


def _corrections(held: Contents) -> list[ToldCorrection]:
    return [
        ToldCorrection(at=each.corrected_at, amount=each.amount, billed_duration=each.billed_duration)
        for each in held.corrections
    ]
