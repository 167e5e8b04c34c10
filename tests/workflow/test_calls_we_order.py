"""Calls that a session orders and ends, its parties that change, and what never becomes a conversation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.client import Client
from temporalio.testing import TimeSkipper

from masking.client import MaskingClient, SessionRefused
from masking.domain.events import AnyCarrierEvent, LegName, Side
from masking.domain.session import Phase, Status
from masking.domain.terms import AtExpiry, Change, PinTerms, SessionRequest
from tests.domain.conversation import (
    SECOND,
    answered_call,
    call,
    declined_call,
    hangup,
    wrong_pin_of,
)
from tests.workflow.conftest import Remembered
from tests.workflow.test_masking_session import fresh, handle_of, tell

pytestmark = pytest.mark.anyio


def asked(at_expiry: AtExpiry = "finish", **terms: object) -> SessionRequest:
    base = fresh()
    return base.model_copy(update={"at_expiry": at_expiry, "terms": base.terms.model_copy(update=terms)})


async def started(environment: TimeSkipper, sessions: MaskingClient, wanted: SessionRequest) -> SessionRequest:
    with environment.with_time_skipping_disabled():
        await sessions.start(wanted)
    return wanted


async def test_the_first_party_is_called_once_and_the_session_is_in_progress_meanwhile(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered, client: Client
) -> None:
    wanted = await started(environment, sessions, asked(initiate_call_to_first_party=True))
    handle = handle_of(client, wanted)
    with environment.with_time_skipping_disabled():
        while (await sessions.snapshot(wanted.session_uuid)).status is not Status.IN_PROGRESS:
            pass
    await tell(handle, answered_call(call("placed", Side.FIRST)), timedelta(seconds=5))
    await sessions.expire(wanted.session_uuid)
    final = await sessions.final_bill(wanted.session_uuid)

    assert remembered.orders == ["call first party"]
    assert final.calls.call_count == 2
    assert remembered.names.count("SessionPartiesHangup") == 1
    assert "we called" not in " ".join(remembered.names)


async def test_a_call_that_the_carrier_refuses_leaves_a_remark_and_the_session_alive(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered
) -> None:
    remembered.carrier_refuses = True
    wanted = await started(environment, sessions, asked(initiate_call_to_first_party=True))
    with environment.with_time_skipping_disabled():
        while "could not be called" not in (story := await sessions.story(wanted.session_uuid)):
            pass

    assert "the first party could not be called: the carrier refused with 400" in story
    assert (await sessions.snapshot(wanted.session_uuid)).status is Status.ACTIVE


@pytest.mark.parametrize(
    ("policy", "orders"), [("finish", []), ("warn", ["warn golden", "end golden"]), ("drop", ["end golden"])]
)
async def test_a_conversation_at_expiry_goes_on_or_is_warned_or_dropped(
    environment: TimeSkipper,
    sessions: MaskingClient,
    remembered: Remembered,
    client: Client,
    policy: AtExpiry,
    orders: list[str],
) -> None:
    wanted = await started(environment, sessions, asked(policy))
    handle = handle_of(client, wanted)
    conversation = call("golden", recorded=False)
    events = answered_call(conversation)
    await tell(handle, events[:3])
    await sessions.expire(wanted.session_uuid)
    await environment.fast_forward(handle, timedelta(seconds=20))
    assert remembered.orders == orders[:1]
    await environment.fast_forward(handle, timedelta(seconds=20))
    assert remembered.orders == orders
    assert (await sessions.snapshot(wanted.session_uuid)).phase is Phase.DRAINING

    await tell(handle, [hangup(conversation, leg, 60, 50) for leg in LegName], timedelta(seconds=50))
    assert (await sessions.final_bill(wanted.session_uuid)).calls.call_count == 2


async def test_a_policy_does_nothing_where_nobody_talks(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered
) -> None:
    wanted = await started(environment, sessions, asked("drop"))
    await sessions.expire(wanted.session_uuid)
    await sessions.final_bill(wanted.session_uuid)
    assert remembered.orders == []


async def test_a_carrier_that_does_not_end_a_call_leaves_a_remark_and_a_right_bill(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered, client: Client
) -> None:
    remembered.carrier_refuses = True
    wanted = await started(environment, sessions, asked("drop"))
    handle = handle_of(client, wanted)
    events = answered_call(call("golden", recorded=False))
    await tell(handle, events[:3])
    await sessions.expire(wanted.session_uuid)
    await tell(handle, events[3:], timedelta(seconds=90))
    final = await sessions.final_bill(wanted.session_uuid)

    assert final.calls.billed_duration == 240
    assert "the carrier did not end a call" in await sessions.story(wanted.session_uuid)


async def test_wrong_pins_and_declined_calls_are_told_and_kept_but_make_no_conversation(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered, client: Client
) -> None:
    pin = PinTerms(first_party="1111", second_party="2222", prompt_play="https://customer.example/pin.mp3")
    wanted = await started(environment, sessions, asked(pin=pin))
    handle = handle_of(client, wanted)
    events: list[AnyCarrierEvent] = [wrong_pin_of("guess", 1), wrong_pin_of("guess", 2, when=7), declined_call("late")]
    await tell(handle, [*events, *events])
    await sessions.expire(wanted.session_uuid)
    final = await sessions.final_bill(wanted.session_uuid)

    assert remembered.names == ["SessionPinAuthenticationStatus"] * 2 + ["SessionTimeout"]
    assert [c.params["PinRetryCounter"] for c in remembered.callbacks[:2]] == ["1", "2"]
    assert final.calls.call_count == 0
    story = await sessions.story(wanted.session_uuid)
    assert "a wrong PIN, try 2 of its call" in story
    assert "a call was not connected: the session already has a conversation" in story


async def test_a_party_joins_once_its_route_is_held_and_not_otherwise(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered
) -> None:
    wanted = await started(environment, sessions, asked(second_party="", single_party=True))
    with environment.with_time_skipping_disabled():
        await sessions.modify(wanted.session_uuid, Change(second_party=SECOND))
        assert remembered.sessions[wanted.session_uuid].terms.second_party == SECOND
        # Nothing to take for what is as it was.
        await sessions.modify(wanted.session_uuid, Change(second_party=SECOND, record=False))
        assert remembered.orders == ["change parties"]

        remembered.party_taken = True
        with pytest.raises(SessionRefused, match="Another session holds this party"):
            await sessions.modify(wanted.session_uuid, Change(second_party="+12025550177"))
    assert remembered.sessions[wanted.session_uuid].terms.second_party == SECOND


async def test_a_session_with_both_parties_ignores_other_ones(
    environment: TimeSkipper, sessions: MaskingClient, remembered: Remembered
) -> None:
    wanted = await started(environment, sessions, asked())
    with environment.with_time_skipping_disabled():
        await sessions.modify(wanted.session_uuid, Change(second_party="+12025550177", record=False))
    assert remembered.sessions[wanted.session_uuid].terms.second_party == SECOND
    assert remembered.orders == []
