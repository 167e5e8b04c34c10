"""What a session does when its carrier falls silent about a call."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.testing import TimeSkipper

from masking.carriers.missed import Missed
from masking.client import MaskingClient
from masking.contract import session_workflow_id
from masking.domain.events import Hangup, LegName, RecordingCompleted
from masking.domain.terms import AtExpiry, SessionRequest
from tests.domain.conversation import answered_call, call, hangup
from tests.workflow.conftest import Remembered
from tests.workflow.test_masking_session import DAY, fresh, handle_of, tell

pytestmark = pytest.mark.anyio

LOST = answered_call(call("lost"))


async def started(
    environment: TimeSkipper, sessions: MaskingClient, at_expiry: AtExpiry = "finish", expiry: int = DAY
) -> SessionRequest:
    asked = fresh(expiry).model_copy(update={"at_expiry": at_expiry})
    with environment.with_time_skipping_disabled():
        await sessions.start(asked)
    return asked


async def test_the_carrier_is_asked_for_what_it_did_not_tell_and_that_is_billed(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered
) -> None:
    ends = [event for event in LOST if isinstance(event, Hangup)]
    (recording,) = [event for event in LOST if isinstance(event, RecordingCompleted)]
    remembered.missed = Missed(hangups=tuple(ends), recordings=(recording,))
    asked = await started(environment, sessions)
    handle = handle_of(environment.client, asked)
    await tell(handle, LOST[:3])

    await environment.fast_forward(handle, timedelta(hours=2))
    await sessions.expire(asked.session_uuid)
    final = await sessions.final_bill(asked.session_uuid)

    assert remembered.orders == ["ask lost"]
    assert (final.calls.call_count, final.calls.billed_duration) == (2, 240)
    assert remembered.names[-2:] == ["SessionRecordingCompleted", "SessionTimeout"]


async def test_what_the_carrier_does_not_know_either_is_given_up_and_costs_nothing(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered
) -> None:
    asked = await started(environment, sessions)
    handle = handle_of(environment.client, asked)
    await tell(handle, LOST[:3])

    await environment.fast_forward(handle, timedelta(hours=3))
    await sessions.expire(asked.session_uuid)
    final = await sessions.final_bill(asked.session_uuid)

    assert remembered.orders == ["ask lost", "ask lost"], "once for the ends, once for the recording"
    assert (final.calls.call_count, final.calls.billed_duration) == (2, 0)
    assert "SessionRecordingFailed" in remembered.names


async def test_a_caller_who_leaves_before_anybody_was_dialled_does_not_keep_the_session_busy(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered
) -> None:
    of = call("impatient", recorded=False)
    asked = await started(environment, sessions)
    handle = handle_of(environment.client, asked)
    await tell(handle, [*answered_call(of)[:2], hangup(of, LegName.CALLER, 14, 4)])

    await environment.fast_forward(handle, timedelta(minutes=3))
    snapshot = await sessions.snapshot(asked.session_uuid)

    assert (snapshot.status, snapshot.bill.calls.billed_duration) == ("active", 60)
    assert remembered.orders == ["ask impatient"]
    await sessions.expire(asked.session_uuid)


async def test_a_call_of_which_one_hears_only_after_the_expiry_is_ended_too(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered
) -> None:
    asked = await started(environment, sessions, "drop")
    handle = handle_of(environment.client, asked)
    first, second = (answered_call(call(uuid, recorded=False)) for uuid in ("early", "late"))
    await tell(handle, first[:3])
    await sessions.expire(asked.session_uuid)
    await tell(handle, second[:3])
    await tell(handle, [*second, *first])
    final = await sessions.final_bill(asked.session_uuid)

    assert remembered.orders == ["end early", "end late"]
    assert final.calls.call_count == 4


async def test_with_the_policy_extend_a_session_goes_on_for_its_call_and_ends_with_it(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered
) -> None:
    events = answered_call(call("long", recorded=False), begins=500, talks=1000)
    asked = await started(environment, sessions, "extend", 600)
    handle = environment.client.get_workflow_handle(session_workflow_id(asked.session_uuid))
    await environment.fast_forward(handle, timedelta(seconds=500))
    await tell(handle, events[:3], timedelta(seconds=500))
    await environment.fast_forward(handle, timedelta(seconds=800))
    going_on = await sessions.snapshot(asked.session_uuid)
    await environment.fast_forward(handle, timedelta(seconds=205))
    await tell(handle, events[3:], timedelta(seconds=1505))
    final = await sessions.final_bill(asked.session_uuid)

    assert going_on.status == "in-progress"
    assert (going_on.expires_at - going_on.created_at).total_seconds() == pytest.approx(1500, abs=2)
    assert final.duration == pytest.approx(1505, abs=5)
    assert remembered.names[-1] == "SessionTimeout"
