"""What a session is told before it is known to be open, and after it has given a call up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client
from temporalio.testing import TimeSkipper

from masking.client import MaskingClient, OutcomeUnknown
from masking.domain.agreement import Agreement
from masking.domain.bill.money import Rate
from tests.domain.conversation import VIRTUAL, answered_call, call, moved_to
from tests.workflow.conftest import Remembered
from tests.workflow.test_masking_session import fresh, handle_of

pytestmark = pytest.mark.anyio

HOUSE = Agreement(
    rate=Rate(per_minute="0.0085"), session_fee="0", pair_grace=60, recording_wait=60, at_expiry="finish",
    resource_base_url="https://masking.example/v1/Account/MA", call_time_limit=3600, ring_timeout=60,
)  # fmt: skip


async def test_a_call_before_the_session_is_known_to_be_open_is_told_with_its_number_and_price(
    environment: TimeSkipper, client: Client, sessions: MaskingClient, remembered: Remembered, task_queue: str
) -> None:
    """A worker may die once the session is open in the database; its parties may know the number from before."""
    remembered.opening, remembered.house = asyncio.Event(), HOUSE
    asked = fresh().model_copy(update={"rate": None, "resource_base_url": ""})
    handle = handle_of(client, asked)
    with environment.with_time_skipping_disabled():
        hasty = MaskingClient(client, task_queue=task_queue, timeout=timedelta(seconds=4))
        starting = asyncio.create_task(hasty.start(asked))
        await remembered.opening.wait()
        for event in moved_to(answered_call(call("early")), datetime.now(UTC)):
            await handle.signal(event.kind, event)
        with pytest.raises(OutcomeUnknown):
            await starting
        final = None
        async with asyncio.timeout(60):
            while final is None:
                try:
                    await sessions.expire(asked.session_uuid, update_id="the end")
                    final = await sessions.final_bill(asked.session_uuid)
                except OutcomeUnknown:
                    continue

    assert final.calls.billed_duration == 240
    told = {callback.name: callback.params for callback in remembered.callbacks}
    assert {params["VirtualNumber"] for params in told.values()} == {VIRTUAL.removeprefix("+")}
    assert told["SessionPartiesHangup"]["Amount"] == format(final.calls.amount, "f") == "0.03400"
    assert told["SessionRecordingCompleted"]["RecordingURL"].startswith(HOUSE.resource_base_url)
    assert remembered.names[0] == "SessionFirstPartyAnswer"
    assert remembered.names[-1] == "SessionTimeout"
    assert len(remembered.names) == len(set(remembered.names)) == 9


async def test_a_leg_that_was_given_up_is_billed_by_what_is_told_of_it_while_the_session_lives(
    environment: TimeSkipper, client: Client, sessions: MaskingClient, remembered: Remembered
) -> None:
    """The carrier could not say how it ended when it was asked, and its webhook came late."""
    asked = fresh(86_400)
    handle = handle_of(client, asked)
    with environment.with_time_skipping_disabled():
        opened = await sessions.start(asked)
    events = moved_to(answered_call(call("slow", recorded=False)), opened.created_at)
    late = next(event for event in events if event.event_id == "slow:callee:hangup")
    for event in events:
        if event is not late:
            await handle.signal(event.kind, event)
    await environment.fast_forward(handle, timedelta(minutes=10))
    given_up = (await sessions.snapshot(asked.session_uuid)).bill.calls
    assert remembered.orders == ["ask slow"]
    assert (given_up.call_count, given_up.billed_duration) == (2, 120)

    await handle.signal(late.kind, late)
    await handle.signal(late.kind, late)
    await sessions.expire(asked.session_uuid)
    final = await sessions.final_bill(asked.session_uuid)

    assert final.calls.billed_duration == 240
    assert remembered.put_back == []
    ends = [(each.name, each.params["Duration"]) for each in remembered.callbacks if each.name.endswith("Hangup")]
    assert ends[-2:] == [("SessionSecondPartyHangup", "75"), ("SessionPartiesHangup", "155")]
