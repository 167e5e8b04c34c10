"""The workflow of a session on a real Temporal server, hours in milliseconds."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import TimeSkipper
from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from masking.client import (
    MaskingClient,
    NumberPoolExhausted,
    SessionAlreadyExpired,
    SessionNotFound,
    SessionRefused,
)
from masking.contract import QUERY_SNAPSHOT, session_workflow_id
from masking.domain.bill.charges import Bill
from masking.domain.events import AnyCarrierEvent
from masking.domain.session import Phase, Status
from masking.domain.snapshot import SessionSnapshot
from masking.domain.terms import Change, SessionRequest
from tests.domain.conversation import FIRST, SECOND, VIRTUAL, answered_call, call, moved_to, request, unanswered_call
from tests.workflow.conftest import Remembered

pytestmark = pytest.mark.anyio

DAY = 86_400


def fresh(session_expiry: int = 3600) -> SessionRequest:
    return request(session_expiry=session_expiry).model_copy(update={"session_uuid": str(uuid4())})


def handle_of(client: Client, asked: SessionRequest) -> WorkflowHandle[object, Bill]:
    return client.get_workflow_handle(session_workflow_id(asked.session_uuid), result_type=Bill)


async def tell(
    handle: WorkflowHandle[object, Bill], events: list[AnyCarrierEvent], after: timedelta = timedelta(0)
) -> None:
    """Signal events as if their first had just happened."""
    now: SessionSnapshot = await handle.query(QUERY_SNAPSHOT, result_type=SessionSnapshot)
    for event in moved_to(events, now.created_at + after):
        await handle.signal(event.kind, event)


@pytest.fixture
def runner() -> WorkflowRunner:
    """The SDK's whole sandbox, which sees more than the one of our workers."""
    return SandboxedWorkflowRunner()


@pytest.fixture
async def paused(environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered) -> SessionRequest:
    """A session whose clock stands still until the test moves it."""
    asked = fresh(DAY)
    with environment.with_time_skipping_disabled():
        await sessions.start(asked)
    return asked


async def test_a_whole_day_passes_in_a_moment_and_leaves_the_final_bill(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered, paused: SessionRequest
) -> None:
    handle = handle_of(environment.client, paused)
    await environment.fast_forward(handle, timedelta(hours=7))
    await tell(handle, answered_call(call("morning")), timedelta(hours=7))
    await environment.fast_forward(handle, timedelta(hours=9))
    await tell(handle, unanswered_call(call("evening", recorded=False)), timedelta(hours=16))
    await environment.fast_forward(handle, timedelta(hours=9))

    final = await sessions.final_bill(paused.session_uuid)

    assert final.duration == DAY
    assert final.calls.call_count == 4
    assert final.calls.billed_duration == 120 + 120 + 120
    assert final.settled_at is not None
    assert remembered.bills == [final]
    assert remembered.names == [
        "SessionFirstPartyAnswer",
        "SessionSecondPartyRing",
        "SessionSecondPartyAnswer",
        "SessionSecondPartyHangup",
        "SessionFirstPartyHangup",
        "SessionPartiesHangup",
        "SessionRecordingInitiated",
        "SessionRecordingCompleted",
        "SessionFirstPartyAnswer",
        "SessionSecondPartyRing",
        "SessionSecondPartyHangup",
        "SessionFirstPartyHangup",
        "SessionPartiesHangup",
        "SessionTimeout",
    ]
    assert remembered.deliveries == 0, "callbacks are the sender's, and hold no session open"


async def test_a_session_starts_active_and_answers_a_repeated_start_with_itself(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered
) -> None:
    asked = fresh()
    with environment.with_time_skipping_disabled():
        first = await sessions.start(asked)
        again = await sessions.start(asked)

    assert (first.status, first.virtual_number) == (Status.ACTIVE, VIRTUAL)
    assert again == first
    assert len(remembered.sessions) == 1
    await sessions.expire(asked.session_uuid)


async def test_an_exhausted_pool_refuses_the_session_and_bills_nothing(
    sessions: MaskingClient, remembered: Remembered
) -> None:
    remembered.number = None
    asked = fresh()

    with pytest.raises(NumberPoolExhausted, match=r"Number pool exhausted or not available\."):
        await sessions.start(asked)

    final = await sessions.final_bill(asked.session_uuid)
    assert final.refusal == "Number pool exhausted or not available."
    assert final.settled_at is None
    assert remembered.bills == []


async def test_an_extension_moves_the_timer_and_a_shortening_too(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered, paused: SessionRequest
) -> None:
    handle = handle_of(environment.client, paused)
    await environment.fast_forward(handle, timedelta(hours=20))
    extended = await sessions.extend(paused.session_uuid, DAY)
    await environment.fast_forward(handle, timedelta(hours=10))
    assert (await sessions.snapshot(paused.session_uuid)).status is Status.ACTIVE
    shortened = await sessions.extend(paused.session_uuid, 600)
    await environment.fast_forward(handle, timedelta(minutes=11))

    final = await sessions.final_bill(paused.session_uuid)

    assert extended.bill.duration == pytest.approx(20 * 3600 + DAY, abs=60)
    assert shortened.bill.duration == pytest.approx(30 * 3600 + 600, abs=60)
    assert final.duration == shortened.bill.duration
    assert remembered.names == ["SessionTimeout"]


async def test_terms_change_and_what_was_not_named_stays(
    sessions: MaskingClient, remembered: Remembered, paused: SessionRequest
) -> None:
    await sessions.modify(paused.session_uuid, Change(record=False, ring_timeout=30))

    stored = remembered.sessions[paused.session_uuid]
    assert stored.terms == paused.terms.model_copy(update={"record": False, "ring_timeout": 30})
    await sessions.expire(paused.session_uuid)


async def test_a_session_expired_early_settles_at_once_and_takes_no_more_updates(
    sessions: MaskingClient, remembered: Remembered, paused: SessionRequest
) -> None:
    ended = await sessions.expire(paused.session_uuid)
    final = await sessions.final_bill(paused.session_uuid)

    assert ended.status is Status.EXPIRED
    assert final.duration < 60
    assert remembered.names == ["SessionTimeout"]
    with pytest.raises(SessionAlreadyExpired):
        await sessions.extend(paused.session_uuid, 600)


async def test_while_it_drains_a_session_rejects_updates_and_still_hears_its_call(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered, paused: SessionRequest
) -> None:
    handle, events = handle_of(environment.client, paused), answered_call(call())
    await tell(handle, events[:3])
    await sessions.expire(paused.session_uuid)

    with pytest.raises(SessionAlreadyExpired, match="Session already expired"):
        await sessions.extend(paused.session_uuid, 600)
    with pytest.raises(SessionAlreadyExpired):
        await sessions.expire(paused.session_uuid)
    await tell(handle, events[3:], timedelta(seconds=80))

    final = await sessions.final_bill(paused.session_uuid)
    assert final.calls.call_count == 2
    assert remembered.names[-1] == "SessionRecordingCompleted"


async def test_an_update_repeated_with_its_id_happens_once(
    sessions: MaskingClient, remembered: Remembered, paused: SessionRequest
) -> None:
    first = await sessions.extend(paused.session_uuid, 7200, update_id="extend-1")
    again = await sessions.extend(paused.session_uuid, 7200, update_id="extend-1")

    assert again == first
    await sessions.expire(paused.session_uuid)


async def test_settlement_waits_for_events_that_are_still_on_their_way(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered, paused: SessionRequest
) -> None:
    remembered.unreported = [1] * 5
    handle = handle_of(environment.client, paused)
    await sessions.expire(paused.session_uuid)
    await tell(handle, unanswered_call(call(recorded=False)))

    await environment.fast_forward(handle, timedelta(hours=2))
    final = await sessions.final_bill(paused.session_uuid)
    assert final.calls.call_count == 2
    assert remembered.unreported == []


async def test_a_session_of_the_first_revision_still_has_its_callbacks_delivered_and_waits_for_them(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered
) -> None:
    remembered.revision, remembered.endpoint_down = 1, True
    paused = fresh(DAY)
    with environment.with_time_skipping_disabled():
        await sessions.start(paused)
    handle = handle_of(environment.client, paused)
    await sessions.expire(paused.session_uuid)

    await environment.fast_forward(handle, timedelta(hours=1))
    final = await sessions.final_bill(paused.session_uuid)

    assert final.settled_at is not None
    assert remembered.deliveries == 0


async def test_the_history_holds_no_number_in_the_clear_and_its_events_stay_few(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered, paused: SessionRequest
) -> None:
    handle = handle_of(environment.client, paused)
    await tell(handle, answered_call(call()))
    await sessions.expire(paused.session_uuid)
    await sessions.final_bill(paused.session_uuid)

    history = await handle.fetch_history()
    raw = history.to_json()
    for secret in (FIRST, SECOND, VIRTUAL, "customer.example"):
        assert secret.removeprefix("+") not in raw
    names = [EventType.Name(event.event_type) for event in history.events]
    assert names.count("EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED") == 7
    assert len(names) <= 60


async def test_the_story_is_told_to_the_operator(
    sessions: MaskingClient, remembered: Remembered, paused: SessionRequest, client: Client
) -> None:
    await tell(handle_of(client, paused), answered_call(call()))

    told = await sessions.story(paused.session_uuid)
    assert "### Active until" in told
    assert "the second party called" in told
    assert (await sessions.snapshot(paused.session_uuid)).phase is Phase.ACTIVE
    await sessions.expire(paused.session_uuid)


async def test_of_an_extension_and_the_expiry_that_it_meets_exactly_one_wins_and_the_caller_is_told_which(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered
) -> None:
    async def raced(delay: float, expiry: int = 1) -> tuple[bool, int]:
        asked = fresh(expiry)
        await sessions.start(asked)
        await asyncio.sleep(delay)
        try:
            extended = await sessions.extend(asked.session_uuid, 3600)
            assert extended.status is Status.ACTIVE
            won = True
        except (SessionAlreadyExpired, SessionNotFound):
            won = False
        if won:
            await sessions.expire(asked.session_uuid)
        final = await sessions.final_bill(asked.session_uuid)
        timeouts = [c.at for c in remembered.callbacks if c.callback_id.startswith(asked.session_uuid)]
        assert len(timeouts) == 1, "it expires once"
        return won, final.duration

    # Around the very moment of the expiry, and well before and after it.
    with environment.with_time_skipping_disabled():
        outcomes = await asyncio.gather(
            raced(0.05, expiry=60), *(raced(delay / 100) for delay in (5, 60, *range(90, 112), 140))
        )
    assert outcomes[0][0]
    assert not outcomes[-1][0]
    assert all(duration == 1 for won, duration in outcomes if not won)


async def test_expiring_twice_is_one_expiry(
    sessions: MaskingClient, remembered: Remembered, paused: SessionRequest
) -> None:
    first, again = await asyncio.gather(*(sessions.expire(paused.session_uuid, update_id="end") for _ in range(2)))
    assert first == again
    await sessions.final_bill(paused.session_uuid)
    assert remembered.names == ["SessionTimeout"]


async def test_nobody_is_told_that_a_session_has_expired_before_that_is_written_down(
    sessions: MaskingClient, remembered: Remembered, paused: SessionRequest
) -> None:
    """Until then a call would still be connected."""
    remembered.held = asyncio.Event()
    ending = [asyncio.create_task(sessions.expire(paused.session_uuid)) for _ in range(2)]
    extending = asyncio.create_task(sessions.extend(paused.session_uuid, 600))
    done, _ = await asyncio.wait([*ending, extending], timeout=1)
    assert not done
    remembered.held.set()

    extended, *ended = await asyncio.gather(extending, *ending, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in ended) == ["SessionAlreadyExpired", "SessionSnapshot"]
    assert isinstance(extended, SessionAlreadyExpired | SessionSnapshot)


async def test_what_an_update_changed_stands_in_the_history_before_it_is_written_whatever_else_is_written(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered
) -> None:
    base = fresh(DAY)
    alone = base.terms.model_copy(update={"second_party": "", "single_party": True})
    asked = base.model_copy(update={"terms": alone})
    with environment.with_time_skipping_disabled():
        await sessions.start(asked)
    remembered.held, remembered.party_taken = asyncio.Event(), True
    extending = []
    for seconds in (3600, 7200):
        extending.append(asyncio.create_task(sessions.extend(asked.session_uuid, seconds)))
        async with asyncio.timeout(60):
            while (await sessions.snapshot(asked.session_uuid)).bill.duration not in range(seconds, seconds + 60):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    with pytest.raises(SessionRefused, match="Another session holds this party"):
        await sessions.modify(asked.session_uuid, Change(second_party=SECOND))
    remembered.held.set()
    await asyncio.gather(*extending)
    await sessions.expire(asked.session_uuid)
    await sessions.final_bill(asked.session_uuid)

    history = await handle_of(environment.client, asked).fetch_history()
    scheduled = [event.activity_task_scheduled_event_attributes.activity_type.name for event in history.events]
    assert scheduled.count("record_session") == 3, "both extensions and the expiry, by ordinary activities"


@pytest.mark.parametrize(
    "change",
    [
        Change(session_expiry=10**13),
        Change(session_expiry=-(10**13)),
        Change(call_time_limit=10**13),
        Change(ring_timeout=-(10**15)),
    ],
)
async def test_a_change_beyond_all_calendars_is_rejected_and_leaves_the_session_alive(
    environment: TimeSkipper,
    sessions: MaskingClient,
    remembered: Remembered,
    paused: SessionRequest,
    change: Change,
) -> None:
    """Computing with it would fail the workflow's task, again and again."""
    handle = handle_of(environment.client, paused)
    await tell(handle, answered_call(call("live", recorded=False))[:3])

    with pytest.raises(SessionRefused, match="must be from 1 to") as refusal:
        await sessions.modify(paused.session_uuid, change)

    assert refusal.value.code == "RequestInvalid"
    assert (await sessions.snapshot(paused.session_uuid)).status is Status.IN_PROGRESS
    if change.session_expiry is not None:
        with pytest.raises(SessionRefused, match="must be from 1 to"):
            await sessions.extend(paused.session_uuid, change.session_expiry)
    assert (await sessions.expire(paused.session_uuid)).status is Status.EXPIRED


async def test_a_start_beyond_all_calendars_can_be_answered(sessions: MaskingClient, remembered: Remembered) -> None:
    remembered.number = None

    with pytest.raises(NumberPoolExhausted):
        await sessions.start(fresh(10**13))
