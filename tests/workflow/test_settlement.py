"""How a session closes its bill: with its last write where nothing is missing, and with all that it was told."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import Client, WorkflowHandle

from masking.client import MaskingClient
from masking.domain.bill.charges import Bill
from masking.domain.events import AnyCarrierEvent
from masking.domain.terms import SessionRequest
from tests.domain.conversation import answered_call, call, declined_call, unanswered_call
from tests.workflow.conftest import Remembered
from tests.workflow.test_masking_session import handle_of, paused, tell
from workflows.heard_events import MOST, HeardEvents

__all__ = ["paused"]

pytestmark = pytest.mark.anyio


async def ordinary_activities(client: Client, asked: SessionRequest) -> list[str]:
    history = await handle_of(client, asked).fetch_history()
    scheduled = [event.activity_task_scheduled_event_attributes.activity_type.name for event in history.events]
    return [name for name in scheduled if name]


async def tell_and_record(
    handle: WorkflowHandle[object, Bill], events: list[AnyCarrierEvent], remembered: Remembered
) -> None:
    """Tell of a whole call, and wait until it is written down."""
    await tell(handle, events)
    async with asyncio.timeout(60):
        while "SessionPartiesHangup" not in remembered.names:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_the_last_write_closes_the_bill_where_nothing_is_missing(
    sessions: MaskingClient, remembered: Remembered, paused: SessionRequest, client: Client
) -> None:
    events = answered_call(call())
    await tell(handle_of(client, paused), [*events, *events])
    await sessions.expire(paused.session_uuid)
    final = await sessions.final_bill(paused.session_uuid)

    assert await ordinary_activities(client, paused) == ["record_session"]
    assert remembered.bills == [final]
    assert final.calls.call_count == 2
    assert final.settled_at is not None
    assert remembered.names[-1] == "SessionTimeout"
    (heard,) = remembered.heard
    assert sorted(heard) == sorted({event.event_id for event in events})


async def test_a_call_that_outlasts_its_session_closes_the_bill_with_its_own_end(
    sessions: MaskingClient, remembered: Remembered, paused: SessionRequest, client: Client
) -> None:
    events = answered_call(call(recorded=False))
    await tell(handle_of(client, paused), events[:3])
    await sessions.expire(paused.session_uuid)
    assert remembered.bills == []
    await tell(handle_of(client, paused), events[3:], timedelta(seconds=80))
    final = await sessions.final_bill(paused.session_uuid)

    assert set(await ordinary_activities(client, paused)) == {"record_session"}
    assert remembered.bills == [final]
    assert final.calls.call_count == 2


async def test_what_comes_while_the_bill_is_closed_is_put_back_and_the_bill_stands(
    sessions: MaskingClient, remembered: Remembered, paused: SessionRequest, client: Client
) -> None:
    handle, known, late = handle_of(client, paused), unanswered_call(call("known")), unanswered_call(call("late"))
    await tell_and_record(handle, known, remembered)
    remembered.held = asyncio.Event()
    expiring = asyncio.create_task(sessions.expire(paused.session_uuid))
    await asyncio.wait_for(remembered.waits_to_write.wait(), 60)
    for event in (known[-1], *late, late[-1]):
        await handle.signal(event.kind, event)
    remembered.held.set()
    await expiring
    final = await sessions.final_bill(paused.session_uuid)

    assert remembered.bills == [final]
    assert final.calls.call_count == 2, "the calls of which it had heard"
    assert remembered.put_back == [event.event_id for event in late]
    assert remembered.names.count("SessionPartiesHangup") == 1


async def test_what_the_gateway_took_and_the_session_did_not_hear_keeps_the_bill_open(
    sessions: MaskingClient, remembered: Remembered, paused: SessionRequest, client: Client
) -> None:
    handle, known, more = handle_of(client, paused), unanswered_call(call("known")), unanswered_call(call("more"))
    await tell_and_record(handle, known, remembered)
    remembered.held, remembered.unheard = asyncio.Event(), 1
    expiring = asyncio.create_task(sessions.expire(paused.session_uuid))
    await asyncio.wait_for(remembered.waits_to_write.wait(), 60)
    for event in more:
        await handle.signal(event.kind, event)
    remembered.held.set()
    await expiring
    final = await sessions.final_bill(paused.session_uuid)

    assert remembered.bills == [final]
    assert final.calls.call_count == 4
    assert remembered.put_back == []
    assert [len(heard) for heard in remembered.heard] == [len(known), len(known) + len(more)]


async def test_a_session_that_heard_much_is_settled_in_two_steps(
    sessions: MaskingClient, remembered: Remembered, paused: SessionRequest, client: Client
) -> None:
    await tell(handle_of(client, paused), [declined_call(f"declined-{n}") for n in range(MOST + 1)])
    await sessions.expire(paused.session_uuid)
    final = await sessions.final_bill(paused.session_uuid)

    assert await ordinary_activities(client, paused) == ["record_session", "settle_session"]
    assert (remembered.bills, remembered.heard) == ([final], [])


def test_what_was_heard_before_is_never_too_late() -> None:
    heard = HeardEvents(whole=True)
    for event_id in ("a", "b", "a"):
        heard.note(event_id)
    heard.closing()
    for event_id in ("b", "c", "c", "a"):
        heard.note(event_id)

    assert heard.all == ("a", "b")
    assert (heard.taken_too_late(), heard.taken_too_late()) == (("c",), ())


def test_a_bill_that_stays_open_takes_in_what_came_meanwhile() -> None:
    heard = HeardEvents(whole=True)
    heard.note("a")
    heard.closing()
    heard.note("b")
    heard.left_open()

    assert heard.all == ("a", "b")
    assert heard.taken_too_late() == ()


def test_a_later_run_knows_that_it_does_not_know() -> None:
    heard = HeardEvents(whole=False)
    heard.note("a")
    assert heard.all is None
    heard.closing()
    heard.note("b")
    assert heard.taken_too_late() == ("b",)
