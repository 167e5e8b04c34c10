"""examples/delivery: orders of one courier beside real sessions, days in a moment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from uuid import uuid4

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from examples.delivery.workflow import Costs, Delivery, Line, Order
from masking.domain.events import Side
from masking.domain.session import Status
from tests.conftest import ACCOUNT
from tests.domain.conversation import FIRST, SECOND, answered_call, call
from tests.examples.conftest import World, served

pytestmark = pytest.mark.anyio

DeliveryHandle = WorkflowHandle[Delivery, Costs]

COURIER, CUSTOMER, OTHER_CUSTOMER = FIRST, SECOND, "+12025550103"
PIN = "40718293"
PER_LEG = Decimal("0.00850")
A_DAY = 24 * 60


@pytest.fixture
async def workers(world: World, task_queue: str) -> AsyncIterator[None]:
    async with served(world, task_queue, Delivery):
        yield


async def ordered(world: World, task_queue: str, customer: str = CUSTOMER) -> DeliveryHandle:
    order = Order(
        order_id=f"order-{uuid4()}",
        account_id=ACCOUNT,
        courier=COURIER,
        customer=customer,
        pin=PIN,
        masking_queue=task_queue,
    )
    queue = f"{task_queue}-example"
    with world.environment.with_time_skipping_disabled():
        return await world.environment.client.start_workflow(Delivery.run, order, id=order.order_id, task_queue=queue)


async def has_called(world: World, session_uuid: str, call_uuid: str, after: float) -> None:
    """The courier and its customer have talked for less than a minute."""
    of = call(call_uuid, caller=Side.FIRST, recorded=False)
    await world.tell(session_uuid, answered_call(of, talks=50), after)


@pytest.mark.usefixtures("workers")
async def test_each_customer_has_a_number_of_its_own_and_a_pin(world: World, task_queue: str) -> None:
    first, other = await ordered(world, task_queue), await ordered(world, task_queue, OTHER_CUSTOMER)

    lines = [await each.execute_update(Delivery.line) for each in (first, other)]

    assert sorted(str(line.virtual_number) for line in lines) == ["+12025550142", "+12025550143"]
    sessions = list(world.pool.sessions.values())
    assert {each.terms.first_party for each in sessions} == {COURIER}
    assert {each.terms.second_party for each in sessions} == {CUSTOMER, OTHER_CUSTOMER}
    assert [each.terms.pins for each in sessions] == [{Side.SECOND: PIN}] * 2
    for each in (first, other):
        await each.execute_update(Delivery.hand_over)
        await world.passes(each, 4 * A_DAY)
        assert (await each.result()).sessions == 1


@pytest.mark.usefixtures("workers")
async def test_the_day_after_the_two_ask_for_the_number_that_they_know(world: World, task_queue: str) -> None:
    delivery = await ordered(world, task_queue)
    before = await delivery.execute_update(Delivery.line)
    await has_called(world, world.opened[0], "where", after=1)
    await delivery.execute_update(Delivery.hand_over)
    await world.passes(delivery, A_DAY)
    world.pool.numbers.insert(0, str(before.virtual_number))

    again = await delivery.execute_update(Delivery.miss_something)
    await has_called(world, world.opened[1], "umbrella", after=1)
    await delivery.execute_update(Delivery.find_it)
    costs = await delivery.result()

    asked_for = [session.terms.preferred_number for session in world.pool.sessions.values()]
    assert asked_for == ["", before.virtual_number]
    assert again == Line(virtual_number=before.virtual_number, as_before=True)
    assert [(await world.snapshot(each)).status for each in world.opened] == [Status.EXPIRED, Status.EXPIRED]
    assert (costs.sessions, costs.calls, costs.amount) == (2, 4, 4 * PER_LEG)


@pytest.mark.usefixtures("workers")
async def test_whoever_gets_another_number_is_told_so(world: World, task_queue: str) -> None:
    delivery = await ordered(world, task_queue)
    await delivery.execute_update(Delivery.line)
    await delivery.execute_update(Delivery.hand_over)

    again = await delivery.execute_update(Delivery.miss_something)

    assert again == Line(virtual_number="+12025550143", as_before=False)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await delivery.execute_update(Delivery.miss_something)
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "NotNow"
    await world.passes(delivery, 31)
    assert (await delivery.result()).sessions == 2


@pytest.mark.usefixtures("workers")
async def test_an_order_that_nobody_hands_over_ends_its_calls_by_itself(world: World, task_queue: str) -> None:
    delivery = await ordered(world, task_queue)
    await delivery.execute_update(Delivery.line)

    await world.passes(delivery, 121)

    assert [(await world.snapshot(each)).status for each in world.opened] == [Status.EXPIRED]
    await world.passes(delivery, 4 * A_DAY)
    assert (await delivery.result()).calls == 0


@pytest.mark.usefixtures("workers")
async def test_without_a_free_number_the_order_is_delivered_all_the_same(world: World, task_queue: str) -> None:
    world.pool.numbers = []
    delivery = await ordered(world, task_queue)

    assert await delivery.execute_update(Delivery.line) == Line(virtual_number=None)
    await delivery.execute_update(Delivery.hand_over)
    await world.passes(delivery, 4 * A_DAY)

    assert (await delivery.result()).sessions == 0


async def test_an_order_and_its_number_survive_their_workers(world: World, task_queue: str) -> None:
    async with served(world, task_queue, Delivery):
        delivery = await ordered(world, task_queue)
        before = await delivery.execute_update(Delivery.line)

    async with served(world, task_queue, Delivery):
        assert await delivery.execute_update(Delivery.line) == before
        await delivery.execute_update(Delivery.hand_over)
        await world.passes(delivery, 4 * A_DAY)
        assert (await delivery.result()).sessions == 1
