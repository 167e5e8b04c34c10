"""Sessions as children of a caller's workflow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.testing import TimeSkipper
from temporalio.worker import Worker

from masking.client import MaskingClient, NewSession, SessionExpired, Status
from masking.client.in_workflow import MaskingActivities
from tests.conftest import ACCOUNT
from tests.domain.conversation import FIRST, SECOND, STRANGER, VIRTUAL
from tests.workflow.callers import Done, Trip, TripWorkflow
from tests.workflow.conftest import Remembered

pytestmark = pytest.mark.anyio


def wanted(key: str | None = None, session_expiry: int = 3600) -> NewSession:
    return NewSession(
        account_id=ACCOUNT,
        first_party=FIRST,
        second_party=SECOND,
        idempotency_key=key,
        session_expiry=session_expiry,
    )


@pytest.fixture
async def callers(client: Client, sessions: MaskingClient, remembered: Remembered) -> AsyncIterator[str]:
    """The queue of a worker of another service."""
    queue = f"callers-{uuid4()}"
    async with Worker(client, task_queue=queue, workflows=[TripWorkflow], activities=MaskingActivities(sessions).all):
        yield queue


async def run(client: Client, queue: str, trip: Trip) -> Done:
    return await client.execute_workflow(TripWorkflow.run, trip, id=f"trip-{uuid4()}", task_queue=queue)


async def test_a_workflow_opens_extends_changes_and_ends_its_session_and_books_the_bill(
    environment: TimeSkipper, client: Client, task_queue: str, callers: str, remembered: Remembered
) -> None:
    with environment.with_time_skipping_disabled():
        done = await run(client, callers, Trip(wanted=wanted(), masking_queue=task_queue))

    assert done.is_child
    assert done.virtual_number == VIRTUAL
    assert done.bill is not None
    assert done.bill.settled_at is not None
    held = remembered.sessions[done.session_uuid]
    assert held.terms.call_time_limit == 600


async def test_hours_pass_in_a_moment_for_a_workflow_and_its_session(
    client: Client, task_queue: str, callers: str
) -> None:
    """The session ends by its own timer while the trip goes on; its bill is there when the trip is over."""
    trip = Trip(wanted=wanted(session_expiry=7200), masking_queue=task_queue, steers=False, lasts_minutes=300)
    done = await run(client, callers, trip)

    assert done.is_child
    assert done.bill is not None
    assert done.bill.duration == 7200
    assert done.bill.settled_at is not None


async def test_a_session_outlives_the_workflow_that_started_it(
    environment: TimeSkipper, client: Client, sessions: MaskingClient, task_queue: str, callers: str
) -> None:
    trip = Trip(wanted=wanted(session_expiry=7200), masking_queue=task_queue, waits_for_bill=False)
    with environment.with_time_skipping_disabled():
        done = await run(client, callers, trip)
        assert (await sessions.snapshot(done.session_uuid)).status is Status.ACTIVE
        await sessions.expire(done.session_uuid)
        told = [event async for event in sessions.events(done.session_uuid)]
    assert SessionExpired in {type(event) for event in told}


async def test_a_workflow_whose_key_has_a_session_already_uses_that_one(
    environment: TimeSkipper, client: Client, sessions: MaskingClient, task_queue: str, callers: str
) -> None:
    key = f"trip-{uuid4()}"
    with environment.with_time_skipping_disabled():
        before = await sessions.start(wanted(key))
        trip = Trip(wanted=wanted(key), masking_queue=task_queue)
        done = await run(client, callers, trip)

    assert not done.is_child
    assert done.session_uuid == before.session_uuid
    assert done.bill == await sessions.final_bill(before.session_uuid)


async def test_a_workflow_does_not_get_other_peoples_session_for_its_key(
    environment: TimeSkipper, client: Client, sessions: MaskingClient, task_queue: str, callers: str
) -> None:
    key = f"trip-{uuid4()}"
    others = wanted(key).model_copy(update={"second_party": STRANGER})
    with environment.with_time_skipping_disabled():
        await sessions.start(others)
        with pytest.raises(WorkflowFailureError) as failure:
            await run(client, callers, Trip(wanted=wanted(key), masking_queue=task_queue))

    cause = failure.value.cause
    assert isinstance(cause, ActivityError)
    assert isinstance(cause.cause, ApplicationError)
    assert cause.cause.type == "IdempotencyConflict"
    assert cause.cause.non_retryable


async def test_a_workflow_hears_why_its_session_was_refused_and_another_one_gets_it_later(
    environment: TimeSkipper, client: Client, remembered: Remembered, task_queue: str, callers: str
) -> None:
    trip = Trip(wanted=wanted(f"trip-{uuid4()}"), masking_queue=task_queue, waits_for_bill=False)
    remembered.number = None
    with environment.with_time_skipping_disabled():
        refused = await run(client, callers, trip)
        again = await run(client, callers, trip)
        remembered.number = VIRTUAL
        done = await run(client, callers, trip)

    assert (refused.refusal, again.refusal) == ("NumberPoolExhausted", "NumberPoolExhausted")
    assert done.virtual_number == VIRTUAL
    assert done.is_child


def test_the_activities_take_no_longer_than_they_are_given() -> None:
    from masking.client import in_workflow
    from masking.client.sessions import DEFAULT_TIMEOUT

    assert DEFAULT_TIMEOUT < in_workflow.ANSWER_TIMEOUT < in_workflow.PATIENCE
    assert in_workflow.WAIT + timedelta(seconds=10) < 2 * in_workflow.WAIT
