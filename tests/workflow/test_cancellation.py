"""Whoever cancels a session's workflow, as by the button in Temporal's UI, ends the session early: nothing is lost."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import CancelledError
from temporalio.testing import TimeSkipper
from temporalio.worker import Replayer, Worker

from masking.client import MaskingClient, SessionAlreadyExpired
from masking.contract import WORKFLOW_TYPE, session_workflow_id
from masking.domain.bill.charges import Bill
from masking.domain.session import Phase, Status
from masking.domain.terms import SessionRequest
from masking.privacy.keyring import Keyring
from masking.temporal import masking_plugin
from tests.domain.conversation import answered_call, call
from tests.workflow.conftest import Remembered
from tests.workflow.test_masking_session import fresh, handle_of, paused, tell
from workflows.masking_session import MaskingSession

__all__ = ["paused"]

pytestmark = pytest.mark.anyio


async def cancelled(environment: TimeSkipper, asked: SessionRequest) -> Bill:
    """The bill of a session whose workflow is cancelled now."""
    handle = handle_of(environment.client, asked)
    await handle.cancel(reason="for test")
    return await asyncio.wait_for(handle.result(), 60)


async def replayed(client: Client, asked: SessionRequest, keyring: Keyring) -> None:
    history = await handle_of(client, asked).fetch_history()
    await Replayer(workflows=[MaskingSession], plugins=[masking_plugin(keyring)]).replay_workflow(history)


async def test_a_cancelled_session_ends_early_and_is_settled(
    environment: TimeSkipper,
    sessions: MaskingClient,
    remembered: Remembered,
    paused: SessionRequest,
    keyring: Keyring,
) -> None:
    handle = handle_of(environment.client, paused)
    await environment.fast_forward(handle, timedelta(hours=1))
    await tell(handle, answered_call(call("before")), timedelta(hours=1))

    final = await cancelled(environment, paused)

    assert final.calls.call_count == 2
    assert 3600 <= final.duration < 3700
    assert remembered.bills == [final]
    assert remembered.names[-1] == "SessionTimeout"
    stored = remembered.sessions[paused.session_uuid]
    assert (stored.phase, stored.remarks) == (Phase.SETTLED, ("Its workflow was cancelled.",))
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
    await replayed(environment.client, paused, keyring)


async def test_a_call_in_progress_goes_on_and_is_billed(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered, paused: SessionRequest
) -> None:
    handle = handle_of(environment.client, paused)
    events = answered_call(call("going-on", recorded=False))
    with environment.with_time_skipping_disabled():
        await tell(handle, events[:3])
        await handle.cancel()
        async with asyncio.timeout(60):
            while (await sessions.snapshot(paused.session_uuid)).status is Status.ACTIVE:  # noqa: ASYNC110 it is asked
                await asyncio.sleep(0.05)
        with pytest.raises(SessionAlreadyExpired):
            await sessions.extend(paused.session_uuid, 600)
        assert remembered.bills == []
        await tell(handle, events[3:])

    final = await sessions.final_bill(paused.session_uuid)

    assert final.calls.call_count == 2
    assert final.calls.billed_duration == 240
    assert remembered.orders == []


async def test_a_session_that_has_ended_already_waits_for_its_calls_as_before(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered, paused: SessionRequest
) -> None:
    handle = handle_of(environment.client, paused)
    events = answered_call(call("going-on", recorded=False))
    with environment.with_time_skipping_disabled():
        await tell(handle, events[:3])
        ended = await sessions.expire(paused.session_uuid)
        await handle.cancel()
        await tell(handle, events[3:])

    final = await sessions.final_bill(paused.session_uuid)

    assert final.calls.call_count == 2
    stored = remembered.sessions[paused.session_uuid]
    assert (stored.expires_at, stored.remarks) == (ended.expires_at, ())


async def test_one_that_is_cancelled_while_it_opens_ends_as_any_other(
    environment: TimeSkipper, task_queue: str, remembered: Remembered, keyring: Keyring
) -> None:
    """Its number may be taken already. The worker is told in the middle where PostgreSQL takes its time."""
    asked, client = fresh(), environment.client
    remembered.opening = asyncio.Event()
    with environment.with_time_skipping_disabled():
        await client.start_workflow(
            WORKFLOW_TYPE,
            asked,
            id=session_workflow_id(asked.session_uuid),
            task_queue=task_queue,
            task_timeout=timedelta(seconds=1),
        )
        await asyncio.wait_for(remembered.opening.wait(), 60)
        remembered.opening = None

        final = await cancelled(environment, asked)

    assert final.settled_at is not None
    assert final.duration < 60
    assert remembered.opened == 2
    assert remembered.bills == [final]
    assert remembered.sessions[asked.session_uuid].remarks == ("Its workflow was cancelled.",)
    await replayed(client, asked, keyring)


async def test_one_that_was_cancelled_before_any_worker_saw_it_ends_at_once(
    environment: TimeSkipper, task_queue: str
) -> None:
    asked, remembered = fresh(), Remembered()
    handle = await environment.client.start_workflow(
        WORKFLOW_TYPE, asked, id=session_workflow_id(asked.session_uuid), task_queue=task_queue, result_type=Bill
    )
    await handle.cancel()
    async with Worker(
        environment.client, task_queue=task_queue, workflows=[MaskingSession], activities=remembered.activities()
    ):
        final: Bill = await asyncio.wait_for(handle.result(), 60)

    assert final.settled_at is not None
    assert remembered.bills == [final]


async def test_what_is_decided_where_a_session_opens_holds_to_its_end(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered, keyring: Keyring
) -> None:
    """Else a workflow that began before would not replay."""
    remembered.outlives_cancel = False
    asked = fresh()
    with environment.with_time_skipping_disabled():
        await sessions.start(asked)

    with pytest.raises(WorkflowFailureError) as broken_off:
        await cancelled(environment, asked)

    assert isinstance(broken_off.value.cause, CancelledError)
    await replayed(environment.client, asked, keyring)


@pytest.mark.parametrize("evicted", [False, True], ids=["in memory", "out of memory"])
async def test_a_worker_that_forgets_a_session_does_not_end_it(
    environment: TimeSkipper, task_queue: str, evicted: bool
) -> None:
    """To a workflow's tasks an eviction looks like a cancellation."""
    remembered = Remembered()
    asked, client = fresh(), environment.client
    sessions = MaskingClient(client, task_queue=task_queue)
    async with Worker(
        client,
        task_queue=task_queue,
        workflows=[MaskingSession],
        activities=remembered.activities(),
        max_cached_workflows=0 if evicted else 1000,
    ):
        with environment.with_time_skipping_disabled():
            await sessions.start(asked)
            for seconds in (600, 700, 800):
                assert (await sessions.extend(asked.session_uuid, seconds)).status is Status.ACTIVE
        final = await cancelled(environment, asked)

    assert final.duration < 60
    assert remembered.sessions[asked.session_uuid].remarks == ("Its workflow was cancelled.",)
