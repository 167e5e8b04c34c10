"""A run that takes over from a lost one: it hears first what comes again, and then lets time act."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import TimeSkipper

from masking.audit.payloads import payloads_of
from masking.audit.replay import replay
from masking.client import Bill, MaskingClient
from masking.domain.events import AnyCarrierEvent, Side
from masking.domain.resuming import resumed, start_of_resumed
from masking.domain.session import Phase, Session
from masking.privacy.payload_codec import EncryptingCodec
from tests.conftest import KEYRING
from tests.domain.conversation import active_session, answered_call, call, hear, moved_to
from tests.workflow.conftest import Remembered
from tests.workflow.taken_over import TakenOver

pytestmark = pytest.mark.anyio


@pytest.fixture
def over(environment: TimeSkipper, remembered: Remembered, task_queue: str) -> TakenOver:
    return TakenOver(environment, remembered, task_queue)


def left(ago: timedelta, **changes: object) -> tuple[Session, list[AnyCarrierEvent]]:
    """A session that was opened so long ago, in the middle of its call; and all events of that."""
    began = datetime.now(UTC) - ago
    events = moved_to(answered_call(call()), began)
    session = active_session().model_copy(
        update={
            "session_uuid": str(uuid4()),
            "created_at": began,
            "expires_at": began + timedelta(hours=1),
            **changes,
        }
    )
    return hear(session, events[:3]).session, events


async def test_what_comes_again_is_told_before_the_end_that_passed_meanwhile(
    over: TakenOver, remembered: Remembered
) -> None:
    session, events = left(timedelta(days=3))
    remembered.waiting = [0, 4]
    handle = await over.begins(session, still=True)
    await asyncio.sleep(0.3)
    assert remembered.names == [], "it waits"
    for event in events[3:]:
        await handle.signal(event.kind, event)
    bill = await handle.result()

    assert remembered.names == [
        "SessionSecondPartyHangup",
        "SessionFirstPartyHangup",
        "SessionPartiesHangup",
        "SessionRecordingInitiated",
        "SessionRecordingCompleted",
        "SessionTimeout",
    ]
    assert (bill.calls.call_count, bill.calls.billed_duration) == (2, 240)
    assert remembered.sessions[session.session_uuid].phase is Phase.SETTLED


async def test_what_never_comes_holds_it_up_for_a_minute_and_its_bill_for_longer(
    over: TakenOver, remembered: Remembered
) -> None:
    session, events = left(timedelta(days=3))
    remembered.waiting = [4] * 100
    # The first one goes with the write of its end.
    remembered.unreported = [0, 1, 1, 1, *[1] * 7]
    handle = await over.begins(hear(session, events).session)
    bill = await handle.result()

    assert remembered.names == ["SessionTimeout"]
    assert bill.calls.call_count == 2
    began = (await handle.describe()).start_time
    assert bill.settled_at is not None
    assert timedelta(minutes=1) < bill.settled_at - began < timedelta(minutes=5)
    assert remembered.unreported == [], "it is waited for since the session was resumed, and not since its end"


async def test_the_first_party_is_called_if_it_was_not_and_the_session_lives(
    over: TakenOver, remembered: Remembered, client: Client, task_queue: str
) -> None:
    session, _ = left(timedelta(minutes=1))
    terms = session.terms.model_copy(update={"initiate_call_to_first_party": True})
    session = session.model_copy(update={"terms": terms, "interactions": {}})
    handle = await over.begins(session, still=True)
    sessions = MaskingClient(client, task_queue=task_queue)
    async with asyncio.timeout(60):
        while (await sessions.snapshot(session.session_uuid)).interaction_count == 0:
            pass
    for event in moved_to(answered_call(call("placed", Side.FIRST)), session.created_at):
        await handle.signal(event.kind, event)
    await sessions.expire(session.session_uuid)
    assert (await handle.result()).calls.call_count == 2
    assert remembered.orders == ["call first party"]


async def test_what_a_lost_run_had_heard_and_may_have_written_in_a_task_that_it_did_not_end_counts(
    over: TakenOver, remembered: Remembered
) -> None:
    """A local activity may have written it, and its marker be lost with the run."""
    session, events = left(timedelta(minutes=1))
    remembered.waiting = [4] * 100
    handle = await over.begins(session, still=True)
    for event in events[3:5]:
        await handle.signal(event.kind, event)
    async with asyncio.timeout(60):
        while not _heard_all(await told(handle)):  # noqa: ASYNC110 it is on the server
            await asyncio.sleep(0.02)
    await handle.terminate()
    lost = await told(handle)

    taken = resumed(hear(remembered.sessions[session.session_uuid], events[3:5]).session, datetime.now(UTC))
    begun = HistoryEvent.FromString(lost[0].SerializeToString())
    payloads = pydantic_data_converter.payload_converter.to_payloads([start_of_resumed(taken, "the lost run")])
    begun.workflow_execution_started_event_attributes.input.payloads[0].CopyFrom(payloads[0])
    played = await replay(session.session_uuid, [lost, [begun]])

    assert [each.name for each in played.callbacks.values()] == [
        "SessionSecondPartyHangup",
        "SessionFirstPartyHangup",
        "SessionPartiesHangup",
    ]
    assert played.resumed.wrong == ()


def _heard_all(history: list[HistoryEvent]) -> bool:
    """Whether a workflow task took in what was signalled last."""
    signals = [each.event_id for each in history if each.HasField("workflow_execution_signaled_event_attributes")]
    begun = [each.workflow_task_completed_event_attributes.started_event_id for each in history]
    return len(signals) == 2 and max(begun) > signals[-1]


async def told(handle: WorkflowHandle[Any, Bill]) -> list[HistoryEvent]:
    """The run's history so far, in the clear."""
    events = list((await handle.fetch_history()).events)
    codec = EncryptingCodec(KEYRING)
    for event in events:
        for payload in payloads_of(event):
            (clear,) = await codec.decode([payload])
            payload.CopyFrom(clear)
    return events
