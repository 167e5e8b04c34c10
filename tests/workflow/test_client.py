"""The client another service imports, against the real server and workflow."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import TimeSkipper
from temporalio.worker import Worker

from masking.client import (
    CallEvent,
    IdempotencyConflict,
    MaskingClient,
    NewSession,
    NotSettledYet,
    NumberPoolExhausted,
    Phase,
    SessionChanged,
    SessionEvent,
    SessionExpired,
    SessionNotFound,
    SessionOpened,
    SessionRefused,
    SessionSettled,
    SessionTurnedAway,
    Status,
    UnfitClient,
)
from masking.contract import session_workflow_id
from masking.domain.agreement import Agreement
from masking.domain.bill.money import Rate
from masking.domain.terms import Change
from masking.privacy.keyring import Keyring
from masking.temporal import data_converter
from tests.conftest import ACCOUNT
from tests.domain.conversation import FIRST, SECOND, VIRTUAL, answered_call, call, moved_to
from tests.workflow.conftest import Remembered
from workflows.masking_session import MaskingSession

pytestmark = pytest.mark.anyio

HOUSE = Agreement(
    rate=Rate(per_minute=Decimal("0.02"), increment=1),
    session_fee=Decimal("0.05"),
    pair_grace=900,
    recording_wait=77,
    at_expiry="warn",
    resource_base_url="https://masking.example/v1/Account/X",
    call_time_limit=1234,
    ring_timeout=44,
)


def ride(key: str | None = None, **more: object) -> NewSession:
    return NewSession.model_validate(
        {"account_id": ACCOUNT, "first_party": FIRST, "second_party": SECOND, "idempotency_key": key, **more}
    )


@pytest.fixture
def still(environment: TimeSkipper) -> Iterator[None]:
    """Time is not skipped by itself."""
    with environment.with_time_skipping_disabled():
        yield


async def taken(events: AsyncIterator[SessionEvent]) -> list[SessionEvent]:
    return [event async for event in events]


@pytest.mark.usefixtures("still")
async def test_the_same_key_is_the_same_session_while_it_lives_and_after_its_end(
    sessions: MaskingClient, remembered: Remembered
) -> None:
    key = f"ride-{uuid4()}"
    first, again = await sessions.start(ride(key)), await sessions.start(ride(key))
    other = await sessions.start(ride(f"{key}-other"))
    await sessions.expire(first.session_uuid)
    await sessions.final_bill(first.session_uuid)
    later = await sessions.start(ride(key))

    assert first.session_uuid == again.session_uuid == later.session_uuid != other.session_uuid
    assert (first.phase, later.phase) == (Phase.ACTIVE, Phase.SETTLED)
    assert later.bill.settled_at is not None
    assert len(remembered.sessions) == 2


@pytest.mark.usefixtures("still")
async def test_without_a_key_every_start_is_a_session_of_its_own(
    sessions: MaskingClient, remembered: Remembered
) -> None:
    assert (await sessions.start(ride())).session_uuid != (await sessions.start(ride())).session_uuid


@pytest.mark.usefixtures("still")
async def test_another_request_under_the_same_key_is_told_also_after_the_end(
    sessions: MaskingClient, remembered: Remembered
) -> None:
    key = f"ride-{uuid4()}"
    first = await sessions.start(ride(key))
    with pytest.raises(IdempotencyConflict, match="other terms"):
        await sessions.start(ride(key, session_expiry=600))
    await sessions.expire(first.session_uuid)
    await sessions.final_bill(first.session_uuid)
    with pytest.raises(IdempotencyConflict, match="key of its own"):
        await sessions.start(ride(key, record=True))


@pytest.mark.usefixtures("still")
async def test_a_key_whose_session_was_refused_may_try_again(sessions: MaskingClient, remembered: Remembered) -> None:
    key = f"ride-{uuid4()}"
    remembered.number = None
    for _ in range(3):
        with pytest.raises(NumberPoolExhausted):
            await sessions.start(ride(key))
    remembered.number = VIRTUAL

    opened = await sessions.start(ride(key))

    assert opened.virtual_number == VIRTUAL
    assert (await sessions.start(ride(key))).session_uuid == opened.session_uuid


@pytest.mark.usefixtures("still")
async def test_the_operator_decides_the_price_and_what_was_left_open(
    sessions: MaskingClient, remembered: Remembered
) -> None:
    remembered.house = HOUSE
    left_open = (await sessions.start(ride())).session_uuid
    chosen = ride(call_time_limit=600, ring_timeout=20, at_expiry="drop")
    said = (await sessions.start(chosen)).session_uuid
    cheap = chosen.request(str(uuid4())).model_copy(update={"rate": Rate(per_minute=Decimal(0)), "pair_grace": 60})
    await sessions.start(cheap)
    for uuid in (left_open, said, cheap.session_uuid):
        await sessions.expire(uuid)

    bills = [await sessions.final_bill(uuid) for uuid in (left_open, said, cheap.session_uuid)]
    held = [remembered.sessions[uuid] for uuid in (left_open, said, cheap.session_uuid)]

    assert [each.session_amount for each in bills] == [Decimal("0.05")] * 3
    assert [each.rate for each in held] == [HOUSE.rate] * 3
    assert [each.pair_grace for each in held] == [900] * 3
    assert [(each.terms.call_time_limit, each.terms.ring_timeout, each.at_expiry) for each in held] == [
        (1234, 44, "warn"),
        (600, 20, "drop"),
        (600, 20, "drop"),
    ]
    assert [each.recording_wait for each in held] == [77, 77, 300]


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"first_party": "911"}, "must be a phone number"),
        ({"second_party": ""}, "give both parties, or single_party=True"),
        ({"second_party": FIRST}, "must differ"),
        ({"account_id": "somebody"}, "pattern"),
        ({"session_expiry": 59}, "greater than or equal to 60"),
        ({"callback_url": "ftp://x"}, "pattern"),
    ],
)
def test_a_wrong_request_is_told_before_it_is_sent_and_without_its_numbers(wrong: dict[str, str], rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as told:
        ride(**wrong)
    assert FIRST not in str(told.value)


@pytest.mark.usefixtures("still")
async def test_a_single_party_may_be_joined_later(sessions: MaskingClient, remembered: Remembered) -> None:
    alone = await sessions.start(ride(second_party="", single_party=True))
    await sessions.modify(alone.session_uuid, Change(second_party=SECOND))

    assert remembered.sessions[alone.session_uuid].terms.second_party == SECOND


async def test_the_stream_tells_a_session_from_its_number_to_its_bill(
    environment: TimeSkipper, client: Client, sessions: MaskingClient, remembered: Remembered
) -> None:
    with environment.with_time_skipping_disabled():
        opened = await sessions.start(ride(record=True))
        uuid = opened.session_uuid
        handle = client.get_workflow_handle(session_workflow_id(uuid))
        async with aclosing(sessions.events(uuid)) as live:
            told: list[SessionEvent] = [await anext(live)]
            for event in moved_to(answered_call(call()), opened.created_at):
                # The same twice is told once.
                await handle.signal(event.kind, event)
                await handle.signal(event.kind, event)
                told.append(await anext(live))
            await sessions.extend(uuid, 7200)
            told.append(await anext(live))
            await sessions.expire(uuid)
            told += [each async for each in live]

    kinds = [each.what if isinstance(each, CallEvent) else type(each) for each in told]
    assert kinds == [
        SessionOpened,
        *(event.kind for event in answered_call(call())),
        SessionChanged,
        SessionExpired,
        SessionSettled,
    ]
    first, last = told[0], told[-1]
    assert isinstance(first, SessionOpened)
    assert isinstance(last, SessionSettled)
    assert first.virtual_number == VIRTUAL
    assert first.expires_at - first.at == pytest.approx(timedelta(hours=1), abs=timedelta(seconds=2))
    assert last.bill == await sessions.final_bill(uuid)
    assert last.bill.calls.call_count == 2
    assert not any(number in each.model_dump_json() for each in told for number in (FIRST, SECOND))
    # Whoever comes later reads the same, and goes on wherever it was.
    assert await taken(sessions.events(uuid)) == told
    for n, one in enumerate(told):
        assert await taken(sessions.events(uuid, after=one.position)) == told[n + 1 :]


async def test_the_stream_goes_on_while_no_worker_is_there_and_when_one_is_back(
    environment: TimeSkipper, client: Client, remembered: Remembered, task_queue: str
) -> None:
    queue = f"{task_queue}-restarted"
    sessions = MaskingClient(client, task_queue=queue)

    def worker() -> Worker:
        return Worker(client, task_queue=queue, workflows=[MaskingSession], activities=remembered.activities())

    # On a busy machine its hour would be over before it is told of a call.
    with environment.with_time_skipping_disabled():
        async with worker():
            opened = await sessions.start(ride())
    handle = client.get_workflow_handle(session_workflow_id(opened.session_uuid))
    async with aclosing(sessions.events(opened.session_uuid)) as live:
        assert isinstance(await anext(live), SessionOpened)
        (ring, *_) = moved_to(answered_call(call()), opened.created_at)
        await handle.signal(ring.kind, ring)
        assert isinstance(await anext(live), CallEvent)
        async with worker():
            await environment.fast_forward(handle, timedelta(hours=1))
            rest = [event async for event in live]
    assert [type(event) for event in rest][-2:] == [SessionExpired, SessionSettled]


@pytest.mark.usefixtures("still")
async def test_the_stream_of_a_refused_session_ends_with_the_reason(
    sessions: MaskingClient, remembered: Remembered
) -> None:
    remembered.number = None
    wanted = ride(f"ride-{uuid4()}")
    with pytest.raises(NumberPoolExhausted) as refusal:
        await sessions.start(wanted)

    (told,) = await taken(sessions.events(wanted.session_uuid()))

    assert isinstance(told, SessionTurnedAway)
    assert told.reason == str(refusal.value)


async def test_a_stream_of_nothing_and_from_nowhere_is_told(sessions: MaskingClient) -> None:
    with pytest.raises(SessionNotFound):
        await taken(sessions.events(str(uuid4())))
    with pytest.raises(ValueError, match="position of an event"):
        await taken(sessions.events(str(uuid4()), after="the beginning"))


@pytest.mark.usefixtures("still")
async def test_a_workflow_that_was_terminated_has_no_bill(
    client: Client, sessions: MaskingClient, remembered: Remembered
) -> None:
    opened = await sessions.start(ride())
    await client.get_workflow_handle(session_workflow_id(opened.session_uuid)).terminate()
    with pytest.raises(SessionRefused, match="ended from outside"):
        await sessions.final_bill(opened.session_uuid)
    with pytest.raises(SessionRefused, match="ended from outside"):
        await taken(sessions.events(opened.session_uuid))


@pytest.mark.usefixtures("still")
async def test_waiting_for_a_bill_has_an_end_where_one_is_given(
    sessions: MaskingClient, remembered: Remembered
) -> None:
    opened = await sessions.start(ride())
    with pytest.raises(NotSettledYet, match="not settled yet"):
        await sessions.final_bill(opened.session_uuid, timeout=timedelta(milliseconds=100))
    assert (await sessions.snapshot(opened.session_uuid)).status is Status.ACTIVE


async def test_a_client_that_would_send_numbers_in_the_clear_or_spoil_models_is_told_so(
    client: Client, keyring: Keyring
) -> None:
    plain = Client(client.service_client, namespace=client.namespace)
    with pytest.raises(UnfitClient, match="masking_plugin"):
        MaskingClient(plain)
    in_the_clear = Client(client.service_client, namespace=client.namespace, data_converter=pydantic_data_converter)
    with pytest.raises(UnfitClient, match="in the clear"):
        await MaskingClient(in_the_clear).start(ride())
    MaskingClient(Client(client.service_client, data_converter=data_converter(keyring)))


@pytest.mark.usefixtures("still")
async def test_a_namespace_without_our_attributes_still_gets_its_sessions_and_one_line(
    client: Client, sessions: MaskingClient, remembered: Remembered, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

    foreign = TypedSearchAttributes([SearchAttributePair(SearchAttributeKey.for_keyword("NobodyRegistered"), "x")])
    monkeypatch.setattr("masking.client.starting.told_at_start", lambda *_: foreign)
    with caplog.at_level(logging.ERROR):
        first, second = await sessions.start(ride()), await sessions.start(ride())

    assert first.virtual_number == second.virtual_number == VIRTUAL
    (line,) = [record.getMessage() for record in caplog.records if record.name == "masking.client"]
    assert "lacks our search attributes" in line
    assert "MASKING_LOOKUP" in line
