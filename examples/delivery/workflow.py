"""`Delivery`: one order of one customer. A courier who carries many has as many of these, each with its own number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from pydantic import BaseModel, ValidationError
from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from examples.sessions import Masked, open_session
    from masking.client import NewSession, PinTerms

PIN_PROMPT = "https://delivery.example/enter-your-pin.mp3"
LOST_ITEM_CALLS = timedelta(minutes=30)


class Order(BaseModel):
    """What is to be delivered. Phone numbers are E.164; nobody but the masking service sees them.

    Attributes:
        pin: by which the customer is known on any other phone, of as many digits as make guessing hopeless.
        lasts: for how long courier and customer may call each other, if nobody hands the order over before.
        lost_and_found: for how long after that the customer may say that something is missing.
    """

    order_id: str
    account_id: str
    courier: str
    customer: str
    pin: str
    lasts: timedelta = timedelta(hours=2)
    lost_and_found: timedelta = timedelta(days=3)


class Line(BaseModel):
    """What the apps show: the number to call, or None without one, and whether the two know it already."""

    virtual_number: str | None
    as_before: bool = False


class Costs(BaseModel):
    """What the calls about an order came to."""

    order_id: str
    sessions: int
    calls: int
    amount: Decimal


# What cannot be a phone number fails the workflow, and not the task that would try again for ever.
@workflow.defn(failure_exception_types=[ValidationError])
class Delivery:
    """One order. Its result is what the calls about it cost."""

    @workflow.init
    def __init__(self, order: Order) -> None:
        self._order = order
        self._sessions: list[Masked] = []
        self._line: Line | None = None
        self._handed_over = self._missed = self._found = False
        self._turn = asyncio.Lock()

    @workflow.run
    async def run(self, order: Order) -> Costs:
        """The story of an order. Returns what the calls about it cost."""
        async with self._turn:
            self._line = await self._open(order.lasts)
        await _until(lambda: self._handed_over, order.lasts, "for the order to be handed over")
        self._handed_over = True
        await self._expire()
        await _until(lambda: self._missed, order.lost_and_found, "for something to be missed")
        if self._missed:
            await _until(lambda: self._found, LOST_ITEM_CALLS, "for what was missed to be found")
            await self._expire()
        await workflow.wait_condition(workflow.all_handlers_finished)
        bills = [await each.session.bill() for each in self._sessions]
        return Costs(
            order_id=order.order_id,
            sessions=len(bills),
            calls=sum(bill.calls.call_count for bill in bills),
            amount=sum((bill.total_amount for bill in bills), Decimal(0)),
        )

    @workflow.update
    async def line(self) -> Line:
        """What the apps show, as soon as it is known."""
        await workflow.wait_condition(lambda: self._line is not None)
        return self._line or Line(virtual_number=None)

    @workflow.update
    async def hand_over(self) -> None:
        """The customer has the order: no more calls."""
        self._handed_over = True

    @workflow.update
    async def miss_something(self) -> Line:
        """Let the two talk once more, on the number that they know if that is still safe, else on another one."""
        async with self._turn:
            if not self._handed_over or self._missed:
                raise ApplicationError("only once, after the order was handed over", type="NotNow", non_retryable=True)
            self._line = await self._open(LOST_ITEM_CALLS)
            self._missed = True
            return self._line

    @workflow.update
    async def find_it(self) -> None:
        """What was missed is back: no more calls."""
        self._found = True

    async def _open(self, lasts: timedelta) -> Line:
        before = self._sessions[-1].virtual_number if self._sessions else ""
        opened = await open_session(
            NewSession(
                idempotency_key=f"{self._order.order_id}-{len(self._sessions)}",
                account_id=self._order.account_id,
                first_party=self._order.courier,
                second_party=self._order.customer,
                session_expiry=int(lasts.total_seconds()),
                pin=PinTerms(second_party=self._order.pin, prompt_play=PIN_PROMPT),
                preferred_number=before,
            )
        )
        if opened is None:
            return Line(virtual_number=None)
        self._sessions.append(opened)
        return Line(virtual_number=opened.virtual_number, as_before=opened.virtual_number == before)

    async def _expire(self) -> None:
        if self._sessions:
            await self._sessions[-1].expire()


async def _until(happened: Callable[[], bool], at_most: timedelta, what: str) -> None:
    """Wait for something to happen, for so long."""
    try:
        await workflow.wait_condition(happened, timeout=at_most, timeout_summary=f"wait {what}")
    except TimeoutError:
        return
