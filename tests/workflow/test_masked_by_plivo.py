"""A session that Plivo masks: what its workflow asks of Plivo and when, and that both sides agree at the end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import pytest
from temporalio.client import Client
from temporalio.testing import TimeSkipper
from temporalio.worker import Worker

from masking.client import MaskingClient, NumberPoolExhausted, OutcomeUnknown, SessionAlreadyExpired, SessionRefused
from masking.contract import POOL_EXHAUSTED, UPDATE_RECORD_AGAIN
from masking.domain.bill.charges import Bill
from masking.domain.events import NO_CALL, AnyCarrierEvent, SessionEnded
from masking.domain.resuming import lacking
from masking.domain.session import Phase, Status
from masking.domain.snapshot import SessionSnapshot
from masking.domain.terms import Change, SessionRequest
from masking.privacy.keyring import Keyring
from tests.carriers.plivo.truth import PLIVO_UUID, Talk
from tests.workflow.at_plivo import AtPlivo
from tests.workflow.conftest import Remembered
from tests.workflow.taken_over import TakenOver
from tests.workflow.test_cancellation import replayed
from tests.workflow.test_masking_session import fresh, handle_of
from workflows.masking_session import MaskingSession

pytestmark = pytest.mark.anyio

FOUR_HOURS = timedelta(hours=4)


@pytest.fixture
async def remembered(environment: TimeSkipper, task_queue: str) -> AsyncIterator[Remembered]:
    remembered = Remembered()
    plivo.append(AtPlivo(remembered))
    async with Worker(
        environment.client,
        task_queue=task_queue,
        workflows=[MaskingSession],
        activities=[*remembered.activities(), *plivo[-1].activities()],
    ):
        yield remembered


plivo: list[AtPlivo] = []


@pytest.fixture
def at_plivo(remembered: Remembered) -> AtPlivo:
    del remembered
    return plivo[-1]


@pytest.fixture
async def asked(environment: TimeSkipper, sessions: MaskingClient, at_plivo: AtPlivo) -> SessionRequest:
    """An open session."""
    asked = to_be_masked()
    with environment.with_time_skipping_disabled():
        await sessions.start(asked)
    return asked


def to_be_masked(session_expiry: int = 3600, **terms: object) -> SessionRequest:
    base = fresh(session_expiry)
    return base.model_copy(update={"carrier": "plivo", "terms": base.terms.model_copy(update=terms)})


async def settled(environment: TimeSkipper, asked: SessionRequest, after: timedelta = timedelta(hours=4)) -> Bill:
    """The bill of a session whose time passes in a moment."""
    handle = handle_of(environment.client, asked)
    if after:
        await environment.fast_forward(handle, after)
    return await asyncio.wait_for(handle.result(), 60)


async def tell(client: Client, asked: SessionRequest, events: list[AnyCarrierEvent]) -> None:
    for event in events:
        await handle_of(client, asked).signal(event.kind, event)


async def test_it_opens_serves_and_is_settled_by_plivos_record(
    environment: TimeSkipper,
    client: Client,
    sessions: MaskingClient,
    remembered: Remembered,
    at_plivo: AtPlivo,
    asked: SessionRequest,
) -> None:
    opened = await sessions.snapshot(asked.session_uuid)
    assert (opened.created_at, opened.expires_at) == (at_plivo.told.created_at, at_plivo.told.expires_at)
    assert opened.bill.duration == 3600

    told = at_plivo.events(Talk(10, recorded=True), Talk(300, talks=0))
    second = told[0].at + timedelta(minutes=3)
    await tell(client, asked, [event for event in told if event.kind != "hangup" or event.at < second])
    final = await settled(environment, asked)

    assert final.calls.amount == sum((talk.amount for talk in at_plivo.truth.talks), Decimal(0))
    assert final.calls.call_count == 4
    # Once when its time was up, once for what is overdue or the bill.
    assert at_plivo.orders[:2] == ["open", "look"]
    assert remembered.bills == [final]
    assert remembered.names.count("SessionPartiesHangup") == 2
    session = remembered.sessions[asked.session_uuid]
    assert session.counterpart is not None
    assert session.counterpart.reconciled
    assert [call.caller.leg_uuid for call in session.conversations] == ["leg-1-a", "leg-2-a"]
    assert any("no callback told" in remark for remark in session.remarks)
    assert remembered.orders == []


async def test_one_that_has_ended_is_served_while_a_call_goes_on_of_which_nothing_was_told(
    environment: TimeSkipper,
    client: Client,
    sessions: MaskingClient,
    remembered: Remembered,
    at_plivo: AtPlivo,
    asked: SessionRequest,
    keyring: Keyring,
) -> None:
    (talk,) = at_plivo.truth.talks = [Talk(10, talks=3000)]
    at_plivo.until = 60
    with environment.with_time_skipping_disabled():
        await sessions.expire(asked.session_uuid)
        async with asyncio.timeout(60):
            while "SessionFirstPartyAnswer" not in remembered.names:  # noqa: ASYNC110 the names are a plain list
                await asyncio.sleep(0.05)
        with pytest.raises(SessionAlreadyExpired):
            await sessions.expire(asked.session_uuid)
        again = await handle_of(client, asked).execute_update(UPDATE_RECORD_AGAIN, result_type=SessionSnapshot)
        assert again.interaction_count == 1

    at_plivo.until = math.inf
    final = await settled(environment, asked)
    assert (final.calls.call_count, final.calls.amount) == (2, talk.amount)
    assert remembered.names == [
        "SessionTimeout", "SessionFirstPartyAnswer", "SessionFirstPartyHangup", "SessionSecondPartyHangup",
        "SessionPartiesHangup",
    ]  # fmt: skip
    await replayed(environment.client, asked, keyring)


async def test_what_is_changed_or_ended_counts_once_plivo_has_taken_it_on(
    environment: TimeSkipper,
    sessions: MaskingClient,
    remembered: Remembered,
    at_plivo: AtPlivo,
    asked: SessionRequest,
) -> None:
    with environment.with_time_skipping_disabled():
        extended = await sessions.extend(asked.session_uuid, 7200)
        assert extended.expires_at == at_plivo.told.expires_at
        await sessions.modify(asked.session_uuid, Change(callback_url="https://customer.example/other"))
        assert at_plivo.orders == ["open", "change"]

        at_plivo.refusal = "the carrier refused with 400: Invalid parameter. ring_timeout is outside the allowed range."
        with pytest.raises(SessionRefused, match="ring_timeout is outside the allowed range"):
            await sessions.modify(asked.session_uuid, Change(ring_timeout=600))
        assert remembered.sessions[asked.session_uuid].terms.ring_timeout == 120
        at_plivo.refusal = ""

        await sessions.expire(asked.session_uuid)
    final = await settled(environment, asked)
    assert at_plivo.orders == ["open", "change", "change", "expire", "look"]
    assert final.calls.call_count == 0
    assert remembered.names == ["SessionTimeout"]


async def test_a_change_that_plivo_does_not_answer_is_not_done(
    environment: TimeSkipper,
    client: Client,
    remembered: Remembered,
    at_plivo: AtPlivo,
    asked: SessionRequest,
) -> None:
    at_plivo.away = 100
    patient = MaskingClient(client, timeout=timedelta(seconds=20))
    changing = asyncio.create_task(patient.modify(asked.session_uuid, Change(ring_timeout=60)))
    while "change" not in at_plivo.orders:  # noqa: ASYNC110 it is across the server
        await asyncio.sleep(0.02)
    await environment.fast_forward(handle_of(client, asked), timedelta(seconds=90))
    with pytest.raises(OutcomeUnknown):
        await changing
    assert at_plivo.orders.count("change") > 3
    assert remembered.sessions[asked.session_uuid].terms.ring_timeout == 120


async def test_a_session_that_ends_at_plivo_ends_here(
    environment: TimeSkipper,
    client: Client,
    remembered: Remembered,
    at_plivo: AtPlivo,
    asked: SessionRequest,
) -> None:
    at_plivo.expire_by_hand(at_plivo.truth.start + timedelta(seconds=100))
    ended = SessionEnded(event_id="ended", at=at_plivo.told.expires_at, call=NO_CALL)
    await tell(client, asked, [ended, ended])
    final = await settled(environment, asked, timedelta(minutes=5))

    assert final.duration == 100
    assert remembered.names == ["SessionTimeout"]
    assert at_plivo.orders == ["open", "look"]


async def test_an_expiry_that_was_moved_at_plivo_is_found_when_ours_is_due(
    environment: TimeSkipper, client: Client, sessions: MaskingClient, at_plivo: AtPlivo, asked: SessionRequest
) -> None:
    at_plivo.truth.lives = 5000
    await environment.fast_forward(handle_of(client, asked), timedelta(seconds=4000))
    later = await sessions.snapshot(asked.session_uuid)
    assert (later.status, later.expires_at) == (Status.ACTIVE, at_plivo.told.expires_at)

    at_plivo.truth.lives = 4500
    at_plivo.truth.expired = True
    final = await settled(environment, asked)
    assert final.duration == 4500
    assert at_plivo.orders == ["open", "look", "look", "look"]


@pytest.mark.parametrize(
    ("refusal", "error"),
    [(POOL_EXHAUSTED, NumberPoolExhausted), ("the carrier refused with 402: out of credit", SessionRefused)],
)
async def test_a_create_that_plivo_refuses_is_refused_in_its_words(
    sessions: MaskingClient, at_plivo: AtPlivo, refusal: str, error: type[Exception]
) -> None:
    at_plivo.refusal = refusal
    asked = to_be_masked()
    with pytest.raises(error, match=refusal):
        await sessions.start(asked)
    assert (await sessions.final_bill(asked.session_uuid)).refusal == refusal
    assert "abandon" not in at_plivo.orders


async def test_what_may_have_been_made_for_a_session_that_is_given_up_is_expired(
    client: Client, task_queue: str, at_plivo: AtPlivo
) -> None:
    at_plivo.away = 100
    asked = to_be_masked()
    patient = MaskingClient(client, task_queue=task_queue, timeout=timedelta(seconds=30))
    with pytest.raises(OutcomeUnknown):
        await patient.start(asked)
    await patient.final_bill(asked.session_uuid)
    assert at_plivo.orders[-1] == "abandon"
    assert at_plivo.orders.count("open") > 2


async def test_a_record_that_cannot_be_looked_at_leaves_the_bill_to_the_callbacks(
    environment: TimeSkipper,
    client: Client,
    remembered: Remembered,
    at_plivo: AtPlivo,
    asked: SessionRequest,
) -> None:
    talk = Talk(10)
    await tell(client, asked, at_plivo.events(talk))
    at_plivo.refusal = "the carrier refused with 401: authentication failed"
    final = await settled(environment, asked)

    assert final.calls.amount == talk.amount
    session = remembered.sessions[asked.session_uuid]
    assert session.phase is Phase.SETTLED
    assert f"the carrier's record could not be looked at: {at_plivo.refusal}" in session.remarks
    assert session.counterpart is not None
    assert (session.counterpart.session_uuid, session.counterpart.reconciled) == (PLIVO_UUID, False)


@pytest.mark.parametrize("refusal", ["", "not now"], ids=["ends it", "refuses"])
async def test_plivo_is_told_to_end_a_session_whose_workflow_is_cancelled(
    environment: TimeSkipper,
    remembered: Remembered,
    at_plivo: AtPlivo,
    asked: SessionRequest,
    refusal: str,
    keyring: Keyring,
) -> None:
    at_plivo.refusal = refusal
    await handle_of(environment.client, asked).cancel()
    async with asyncio.timeout(60):
        while "expire" not in at_plivo.orders:  # noqa: ASYNC110 the orders are a plain list
            await asyncio.sleep(0.05)
    at_plivo.refusal = ""
    # One that has ended settles by itself, perhaps before its time could be skipped.
    final = await settled(environment, asked, after=timedelta(hours=4 if refusal else 0))

    told = remembered.sessions[asked.session_uuid].remarks
    assert remembered.bills == [final]
    if refusal:
        assert final.duration == 3600, "it ends at its time"
        assert told == ("Its workflow was cancelled.", "It could not be ended early.")
    else:
        assert final.duration < 60
        assert told == ("Its workflow was cancelled.",)
    await replayed(environment.client, asked, keyring)


async def test_one_whose_workflow_was_lost_hears_the_rest_and_is_settled_by_plivos_record(
    environment: TimeSkipper,
    client: Client,
    task_queue: str,
    remembered: Remembered,
    at_plivo: AtPlivo,
    asked: SessionRequest,
) -> None:
    told = at_plivo.events(Talk(10, recorded=True), Talk(300, talks=30))
    await tell(client, asked, told[:4])
    async with asyncio.timeout(60):
        while remembered.sessions[asked.session_uuid].version < 5:  # noqa: ASYNC110 the worker writes it
            await asyncio.sleep(0.02)
    written = remembered.sessions[asked.session_uuid]
    await handle_of(client, asked).terminate()

    rest = lacking(written, told)
    assert rest == tuple(told[4:])
    await TakenOver(environment, remembered, task_queue).begins(written, still=True)
    # The forwarder may send one that is known once more.
    await tell(client, asked, [told[0], *rest])
    final = await settled(environment, asked)

    assert final.calls.amount == sum((talk.amount for talk in at_plivo.truth.talks), Decimal(0))
    assert final.calls.call_count == 4
    assert remembered.names.count("SessionPartiesHangup") == 2
    assert (
        len(set(remembered.names)) < len(remembered.names) == len({each.callback_id for each in remembered.callbacks})
    )
    assert at_plivo.orders.count("open") == 1, "it is made once"
    assert remembered.sessions[asked.session_uuid].remarks == ()
