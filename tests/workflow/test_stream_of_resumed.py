"""The stream of a session that was resumed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.testing import TimeSkipper

from masking.client import CallEvent, MaskingClient
from masking.client.starting import Starter
from masking.contract import session_workflow_id
from masking.domain.resuming import resumed, start_of_resumed
from tests.domain.conversation import answered_call, call, moved_to, request
from tests.workflow.conftest import Remembered

pytestmark = pytest.mark.anyio


async def test_whoever_goes_on_behind_an_event_is_not_told_it_again_by_the_run_that_took_over(
    environment: TimeSkipper, client: Client, sessions: MaskingClient, remembered: Remembered, task_queue: str
) -> None:
    asked = request().model_copy(update={"session_uuid": str(uuid4())})
    uuid = asked.session_uuid
    with environment.with_time_skipping_disabled():
        opened = await sessions.start(asked)
        lost = client.get_workflow_handle(session_workflow_id(uuid))
        events = moved_to(answered_call(call(recorded=False)), opened.created_at)
        for event in events[:3]:
            await lost.signal(event.kind, event)
        # What it still wrote later would be refused by the database; nothing here does so.
        async with asyncio.timeout(60):
            while len(remembered.callbacks) < 3:  # noqa: ASYNC110 an activity of the worker writes them
                await asyncio.sleep(0.01)
        await lost.terminate()
        described = await lost.describe()
        session = resumed(remembered.sessions[uuid], datetime.now(UTC))
        remembered.sessions[uuid] = session
        starter = Starter(client, task_queue, timedelta(seconds=4), lookup=False, party_hash=None)
        assert await starter.resume(start_of_resumed(session, described.run_id))
        handle = client.get_workflow_handle(session_workflow_id(uuid))
        # It may not have written them down: they come again.
        for event in events:
            await handle.signal(event.kind, event)
        await sessions.expire(uuid)
        await handle.result()

    whole = [each async for each in sessions.events(uuid)]
    calls = [each.event_id for each in whole if isinstance(each, CallEvent)]
    assert calls == [event.event_id for event in events]
    for n, one in enumerate(whole):
        rest = [each async for each in sessions.events(uuid, after=one.position)]
        assert rest == whole[n + 1 :]
