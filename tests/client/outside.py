"""What a service of somebody else's writes; mypy checks it in strict mode as it would theirs."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from temporalio.client import Client
from temporalio.worker import Worker

from masking.client import (
    Bill,
    CallEvent,
    Change,
    MaskingClient,
    NewSession,
    NotSettledYet,
    NumberPoolExhausted,
    PinTerms,
    SessionChanged,
    SessionExpired,
    SessionOpened,
    SessionSettled,
    SessionTurnedAway,
)
from masking.client.in_workflow import MaskingActivities, WorkflowSession, start_session


async def ride(client: Client, account_id: str, ride_id: str) -> Decimal | None:
    """Open a session, steer it, follow it, and book its bill."""
    sessions = MaskingClient(client, timeout=timedelta(seconds=5))
    wanted = NewSession(
        account_id=account_id,
        first_party="+12025550101",
        second_party="+12025550102",
        idempotency_key=ride_id,
        pin=PinTerms(first_party="4711", second_party="4712", prompt_play="https://a.example/pin.mp3"),
        at_expiry="warn",
    )
    try:
        session = await sessions.start(wanted)
    except NumberPoolExhausted:
        return None
    number: str = session.virtual_number
    await sessions.extend(session.session_uuid, 600)
    await sessions.modify(session.session_uuid, Change(ring_timeout=30), update_id=f"{ride_id}-ring")
    async for event in sessions.events(session.session_uuid):
        match event:
            case SessionOpened():
                number = event.virtual_number
            case CallEvent(what="hangup"):
                seconds: int | None = event.duration
                del seconds
            case SessionChanged() | SessionExpired() | CallEvent():
                position: str = event.position
                del position
            case SessionTurnedAway():
                return None
            case SessionSettled():
                total: Decimal = event.bill.total_amount
                return total
    try:
        bill: Bill = await sessions.final_bill(session.session_uuid, timeout=timedelta(seconds=1))
    except NotSettledYet:
        return None
    return bill.total_amount if number else None


async def in_a_workflow(account_id: str) -> Bill:
    """The same from within a workflow."""
    session: WorkflowSession = await start_session(
        NewSession(account_id=account_id, first_party="+12025550101", second_party="+12025550102")
    )
    await session.opened()
    return await session.bill()


def worker(client: Client, queue: str) -> Worker:
    """The worker of such a workflow."""
    return Worker(client, task_queue=queue, activities=MaskingActivities(MaskingClient(client)).all)
