"""examples/ride: the `Ride` workflow beside real sessions, an hour in a moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from uuid import uuid4

import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from examples.ride.workflow import Books, Driver, Eta, Line, Ride, RideRequest, RideTotal
from masking.domain.events import AnyCarrierEvent, Hangup, Side
from masking.domain.session import Status
from tests.conftest import ACCOUNT
from tests.domain.conversation import FIRST, SECOND, answered_call, call
from tests.examples.conftest import World, served

pytestmark = pytest.mark.anyio

RideHandle = WorkflowHandle[Ride, RideTotal]

OTHER_DRIVER = "+12025550103"
PER_LEG = Decimal("0.00850")


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
async def workers(world: World, task_queue: str, books: Books) -> AsyncIterator[None]:
    async with served(world, task_queue, Ride, books.book_ride):
        yield


async def booked(world: World, task_queue: str) -> RideHandle:
    """A ride that waits for its driver."""
    request = RideRequest(ride_id=f"ride-{uuid4()}", account_id=ACCOUNT, rider=FIRST)
    queue = f"{task_queue}-example"
    with world.environment.with_time_skipping_disabled():
        return await world.environment.client.start_workflow(Ride.run, request, id=request.ride_id, task_queue=queue)


def a_call(call_uuid: str, *, talks: int = 50) -> list[AnyCarrierEvent]:
    """One minute billed on each leg."""
    return answered_call(call(call_uuid, caller=Side.FIRST, recorded=False), talks=talks)


async def statuses(world: World) -> list[Status]:
    return [(await world.snapshot(session_uuid)).status for session_uuid in world.opened]


def parties(world: World) -> list[tuple[str, str]]:
    terms = [session.terms for session in world.pool.sessions.values()]
    return [(each.first_party, each.second_party) for each in terms]


@pytest.mark.usefixtures("workers")
async def test_a_ride_from_its_driver_to_the_booked_total(world: World, task_queue: str, books: Books) -> None:
    ride = await booked(world, task_queue)
    assert await ride.query(Ride.line) == Line(virtual_number=None)

    shown = await ride.execute_update(Ride.assign, Driver(phone=SECOND, eta=10))
    await world.passes(ride, 5)
    await world.tell(world.opened[0], a_call("where-are-you"), after=5)
    await world.passes(ride, 4)
    await ride.execute_update(Ride.arrive)
    assert world.pool.orders == ["call first party"]
    await world.tell(world.opened[1], a_call("placed"), after=0)
    await ride.execute_update(Ride.drop_off)
    await world.passes(ride, 4)
    assert await statuses(world) == [Status.ACTIVE, Status.ACTIVE], "they may still call about what was left behind"
    await world.passes(ride, 2)
    total = await ride.result()

    assert shown == Line(virtual_number="+12025550142")
    assert parties(world) == [(FIRST, SECOND), (FIRST, SECOND)]
    assert [s.terms.initiate_call_to_first_party for s in world.pool.sessions.values()] == [False, True]
    assert await statuses(world) == [Status.EXPIRED, Status.EXPIRED]
    assert (total.ended, total.sessions, total.calls, total.amount) == ("dropped off", 2, 4, 4 * PER_LEG)
    assert total.amount == sum(bill.total_amount for bill in world.pool.bills)
    assert books.totals == {total.ride_id: total}


@pytest.mark.usefixtures("workers")
async def test_a_session_lives_through_an_eta_that_slips_twice(world: World, task_queue: str) -> None:
    ride = await booked(world, task_queue)
    await ride.execute_update(Ride.assign, Driver(phone=SECOND, eta=10))
    first = (await world.snapshot(world.opened[0])).expires_at

    await world.passes(ride, 35)
    shown = await ride.execute_update(Ride.delay, Eta(minutes=20))
    second = (await world.snapshot(world.opened[0])).expires_at
    await world.passes(ride, 45)
    await ride.execute_update(Ride.delay, Eta(minutes=15))
    third = (await world.snapshot(world.opened[0])).expires_at
    await world.passes(ride, 40)

    # 40 minutes from the start, 50 from minute 35, 45 from minute 80; it would have ended at 40, and at 85.
    minutes = [round((moved - first).total_seconds() / 60) for moved in (second, third)]
    assert minutes == [45, 85]
    assert shown == Line(virtual_number="+12025550142")
    assert await statuses(world) == [Status.ACTIVE]
    assert len(world.opened) == 1
    await ride.execute_update(Ride.cancel)
    assert (await ride.result()).sessions == 1


@pytest.mark.usefixtures("workers")
async def test_an_eta_that_slips_too_late_opens_another_session(world: World, task_queue: str) -> None:
    ride = await booked(world, task_queue)
    await ride.execute_update(Ride.assign, Driver(phone=SECOND, eta=10))
    await world.passes(ride, 41)
    assert await statuses(world) == [Status.EXPIRED]

    shown = await ride.execute_update(Ride.delay, Eta(minutes=20))

    assert shown == Line(virtual_number="+12025550143")
    assert await statuses(world) == [Status.EXPIRED, Status.ACTIVE]
    await ride.execute_update(Ride.cancel)
    assert (await ride.result()).sessions == 2


@pytest.mark.usefixtures("workers")
async def test_another_driver_gets_a_session_of_its_own_while_the_first_one_talks(
    world: World, task_queue: str
) -> None:
    ride = await booked(world, task_queue)
    await ride.execute_update(Ride.assign, Driver(phone=SECOND, eta=10))
    began, ended = until_the_end(a_call("talking", talks=110))
    await world.tell(world.opened[0], began, after=1)
    assert await statuses(world) == [Status.IN_PROGRESS]

    shown = await ride.execute_update(Ride.assign, Driver(phone=OTHER_DRIVER, eta=15))
    assert await statuses(world) == [Status.EXPIRED, Status.ACTIVE]
    await world.tell(world.opened[0], ended, after=3)
    await world.tell(world.opened[1], a_call("hello"), after=1)
    await ride.execute_update(Ride.drop_off)
    await world.passes(ride, 6)
    total = await ride.result()

    assert shown == Line(virtual_number="+12025550143")
    assert parties(world) == [(FIRST, SECOND), (FIRST, OTHER_DRIVER)]
    # The call that went on is on the bill in full: two minutes for each of its legs.
    assert (total.sessions, total.calls, total.amount) == (2, 4, 6 * PER_LEG)


def until_the_end(events: Sequence[AnyCarrierEvent]) -> tuple[list[AnyCarrierEvent], list[AnyCarrierEvent]]:
    """What a carrier tells while a call goes on, and how it ends."""
    return [e for e in events if not isinstance(e, Hangup)], [e for e in events if isinstance(e, Hangup)]


@pytest.mark.usefixtures("workers")
async def test_a_cancelled_ride_takes_no_more_calls_and_books_those_it_had(
    world: World, task_queue: str, books: Books
) -> None:
    ride = await booked(world, task_queue)
    await ride.execute_update(Ride.assign, Driver(phone=SECOND, eta=10))
    await world.tell(world.opened[0], a_call("never-mind"), after=1)

    await ride.execute_update(Ride.cancel)
    total = await ride.result()

    assert await statuses(world) == [Status.EXPIRED]
    assert (total.ended, total.calls, total.amount) == ("cancelled", 2, 2 * PER_LEG)
    assert books.totals == {total.ride_id: total}


@pytest.mark.usefixtures("workers")
async def test_a_ride_that_is_cancelled_before_it_has_a_driver_costs_nothing(world: World, task_queue: str) -> None:
    ride = await booked(world, task_queue)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await ride.execute_update(Ride.arrive)
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "NoDriver"

    await ride.execute_update(Ride.cancel)

    assert (await ride.result()).amount == 0
    assert world.opened == []


@pytest.mark.usefixtures("workers")
async def test_a_driver_may_have_a_number_of_any_country_and_no_other(world: World, task_queue: str) -> None:
    ride = await booked(world, task_queue)
    before = await ride.execute_update(Ride.assign, Driver(phone=SECOND, eta=10))
    with pytest.raises(WorkflowUpdateFailedError):
        await ride.execute_update(Ride.assign, Driver(phone="nobody", eta=10))
    assert await ride.query(Ride.line) == before
    assert await statuses(world) == [Status.ACTIVE]

    # Nothing in this process has seen a number of that country before: what tells its numbers is loaded in the sandbox.
    shown = await ride.execute_update(Ride.assign, Driver(phone="+442079460123", eta=10))

    assert shown == Line(virtual_number="+12025550143")
    assert await statuses(world) == [Status.EXPIRED, Status.ACTIVE]
    await ride.execute_update(Ride.cancel)
    assert (await ride.result()).ended == "cancelled"


@pytest.mark.usefixtures("workers")
async def test_without_a_free_number_the_ride_goes_on_and_tries_again(world: World, task_queue: str) -> None:
    ride = await booked(world, task_queue)
    world.pool.numbers, spare = [], world.pool.numbers
    assert await ride.execute_update(Ride.assign, Driver(phone=SECOND, eta=10)) == Line(virtual_number=None)

    world.pool.numbers = spare
    shown = await ride.execute_update(Ride.delay, Eta(minutes=12))

    assert shown == Line(virtual_number="+12025550142")
    await ride.execute_update(Ride.drop_off)
    await world.passes(ride, 6)
    total = await ride.result()
    assert (total.ended, total.sessions, total.amount) == ("dropped off", 1, Decimal(0))


async def test_a_ride_and_its_session_survive_their_workers(world: World, task_queue: str, books: Books) -> None:
    async with served(world, task_queue, Ride, books.book_ride):
        ride = await booked(world, task_queue)
        await ride.execute_update(Ride.assign, Driver(phone=SECOND, eta=10))
        await world.tell(world.opened[0], a_call("before"), after=1)

    async with served(world, task_queue, Ride, books.book_ride):
        assert await ride.query(Ride.line) == Line(virtual_number="+12025550142")
        await ride.execute_update(Ride.delay, Eta(minutes=20))
        await world.tell(world.opened[0], a_call("after"), after=5)
        await ride.execute_update(Ride.drop_off)

    async with served(world, task_queue, Ride, books.book_ride):
        await world.passes(ride, 6)
        total = await ride.result()

    assert (total.sessions, total.calls, total.amount) == (1, 4, 4 * PER_LEG)
    assert len(world.opened) == 1
