"""`python -m examples.delivery`: a courier's evening, told as it happens."""

from __future__ import annotations

import argparse
import asyncio
import secrets
from datetime import timedelta
from uuid import uuid4

from temporalio.client import WorkflowHandle

from examples.delivery.workflow import Costs, Delivery, Order
from examples.stage import Stage, perform, shown, some_phones
from masking.demo.timeline import check
from masking.process import end_with

PIN_DIGITS = 8


async def evening(stage: Stage) -> None:
    """Three customers at once, one of them on a borrowed phone, and something that was left behind."""
    courier, *customers, borrowed = some_phones(5)
    patience = (60 + stage.options.later, 1, 1)
    orders = [order_of(stage, courier, *each) for each in zip(customers, patience, strict=True)]
    deliveries = [await started(stage, order) for order in orders]
    numbers = [shown((await delivery.execute_update(Delivery.line)).virtual_number) for delivery in deliveries]
    for n, number in enumerate(numbers, 1):
        stage.tell("delivery", f"order {n}: courier and customer reach each other on {number}", number)
    check(
        len(set(numbers)) == len(numbers), "two customers have one number, so that the courier cannot tell them apart"
    )

    for n, (number, customer) in enumerate(zip(numbers, customers, strict=True), 1):
        call = await stage.talk("courier", courier, number, f"customer {n}", customer)
        await stage.hang_up("courier", courier, call)

    stage.tell("customer 3", f"has no battery left, and borrows a phone ({borrowed})")
    call = await stage.talk("customer 3", borrowed, numbers[2], "courier", courier, presses=f"{orders[2].pin}#")
    await stage.hang_up("courier", courier, call)

    for delivery in deliveries:
        await delivery.execute_update(Delivery.hand_over)
    stage.tell("delivery", "everything is handed over; nobody can call any more")
    costs = [await delivery.result() for delivery in deliveries[1:]]
    await stage.is_turned_away("customer 2", customers[1], numbers[1])
    await lost_and_found(stage, deliveries[0], courier, customers[0], numbers[0])
    costs.append(await deliveries[0].result())
    check(sum(each.calls for each in costs) == 10, "the bills do not have five calls of two legs")
    usd = f"{sum(each.amount for each in costs)} USD"
    stage.tell("bill", f"{len(costs)} orders, {sum(each.sessions for each in costs)} sessions, {usd}", usd)


async def lost_and_found(
    stage: Stage, delivery: WorkflowHandle[Delivery, Costs], courier: str, customer: str, number: str
) -> None:
    """A customer misses something, and asks for the number that the two know."""
    if later := stage.options.later:
        await asyncio.sleep(later)
        stage.tell("customer 1", f"goes on without calling for {later} s; the number rests no more")
    again = await delivery.execute_update(Delivery.miss_something)
    number_again = shown(again.virtual_number)
    told = "the same as before" if again.as_before else f"not {number}, which still rests since the hand-over"
    stage.tell("customer 1", f"misses an umbrella; the app shows {number_again}, {told}", number_again)
    check(
        again.as_before or not later, "the number still rests: MASKING_PAIR_GRACE of the system is longer than --later"
    )
    call = await stage.talk("customer 1", customer, number_again, "courier", courier)
    await stage.hang_up("customer 1", customer, call)
    await delivery.execute_update(Delivery.find_it)


def options(parser: argparse.ArgumentParser) -> None:
    """The day after, in short."""
    parser.add_argument(
        "--later",
        type=int,
        default=0,
        metavar="SECONDS",
        help="miss something only so long after the hand-over, and insist on the number that the two know",
    )


def order_of(stage: Stage, courier: str, customer: str, patience: int) -> Order:
    """An order whose customer may miss something for so many seconds: an example cannot last for days."""
    return Order(
        order_id=f"order-{uuid4()}",
        account_id=stage.account_id,
        courier=courier,
        customer=customer,
        pin="".join(secrets.choice("0123456789") for _ in range(PIN_DIGITS)),
        lost_and_found=timedelta(seconds=patience),
    )


async def started(stage: Stage, order: Order) -> WorkflowHandle[Delivery, Costs]:
    """Its workflow."""
    return await stage.client.start_workflow(Delivery.run, order, id=order.order_id, task_queue=stage.task_queue)


if __name__ == "__main__":
    end_with(lambda: perform("A courier's evening", evening, Delivery, options=options))
