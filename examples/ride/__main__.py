"""`python -m examples.ride`: a ride, told as it happens."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from examples.ride.workflow import Books, Driver, Eta, Ride, RideRequest
from examples.stage import Stage, perform, shown, some_phones
from masking.carriers.simulator.phones import Behaviour
from masking.demo.timeline import check
from masking.process import end_with

BOOKS = Books()


async def ride(stage: Stage) -> None:
    """Two drivers, one rider, an ETA that slips twice, and a total."""
    rider, first_driver, second_driver = some_phones(3)
    request = RideRequest(
        ride_id=f"ride-{uuid4()}", account_id=stage.account_id, rider=rider, calls_after_drop_off=timedelta(seconds=2)
    )
    handle = await stage.client.start_workflow(Ride.run, request, id=request.ride_id, task_queue=stage.task_queue)
    stage.tell("rider", "books a ride")

    number = shown((await handle.execute_update(Ride.assign, Driver(phone=first_driver, eta=6))).virtual_number)
    stage.tell("ride", f"a driver is on its way; both apps show {number}", number)
    call = await stage.talk("rider", rider, number, "driver", first_driver)

    stage.tell("ride", "another driver takes over while the two still talk")
    other_number = shown((await handle.execute_update(Ride.assign, Driver(phone=second_driver, eta=9))).virtual_number)
    check(other_number != number, "the new driver got the number of the former one")
    stage.tell("ride", f"the apps show {other_number} now", other_number)
    check((await stage.phones.call(call.call_uuid)).ended is False, "the call in progress was cut")
    await stage.hang_up("rider", rider, call)
    await stage.is_turned_away("first driver", first_driver, number)
    call = await stage.talk("driver", second_driver, other_number, "rider", rider)
    await stage.hang_up("driver", second_driver, call)

    for minutes in (14, 20):
        kept = shown((await handle.execute_update(Ride.delay, Eta(minutes=minutes))).virtual_number)
        check(kept == other_number, "the number changed with the ETA")
        stage.tell("ride", f"the ETA slips to {minutes} minutes; the session is extended")

    await stage.phones.behave(rider, Behaviour(on_ring="manual"))
    await handle.execute_update(Ride.arrive)
    stage.tell("ride", "the driver is there: the rider is called")
    view = await stage.phones.wait_for(rider, "ringing")
    screen, call_uuid = view.screen or "", view.call_uuid or ""
    stage.tell("rider", f"answers; the screen shows {screen}", screen)
    await stage.phones.answer(rider)
    call = await stage.connected(call_uuid, "driver", second_driver, screen)
    await stage.hang_up("rider", rider, call)

    await handle.execute_update(Ride.drop_off)
    stage.tell("ride", "the rider is dropped off; for a little while the two may still call")
    total = await handle.result()
    await stage.is_turned_away("driver", second_driver, other_number)
    check(total.calls == 6 and total.amount > 0, "the total does not have three calls of two legs")
    check(BOOKS.totals == {request.ride_id: total}, "the total was not booked")
    usd = f"{total.amount} {total.currency}"
    stage.tell("bill", f"{total.sessions} sessions, {total.calls} legs, {usd}, booked", usd)


if __name__ == "__main__":
    end_with(lambda: perform("A ride", ride, Ride, BOOKS.book_ride))
