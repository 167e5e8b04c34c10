"""`Ride`: from the assignment of a driver to the booked total, with a masked session for its calls."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ValidationError
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from examples.sessions import Masked, open_session
    from masking.client import NewSession

MARGIN = timedelta(minutes=30)
"""For how long a session outlives the time of arrival that is known."""


class RideRequest(BaseModel):
    """A ride that somebody booked. Phone numbers are E.164; nobody but the masking service sees them.

    Attributes:
        calls_after_drop_off: for how long the two may still call each other about what was left in the car.
    """

    ride_id: str
    account_id: str
    rider: str
    calls_after_drop_off: timedelta = timedelta(minutes=5)


class Driver(BaseModel):
    """A driver, and in how many minutes it will be there."""

    phone: str
    eta: int


class Eta(BaseModel):
    """In how many minutes the driver will be there."""

    minutes: int


class Line(BaseModel):
    """What both apps show behind the button "call": a number, or None while there is none."""

    virtual_number: str | None


class RideTotal(BaseModel):
    """What the calls of a ride came to."""

    ride_id: str
    ended: Literal["dropped off", "cancelled"]
    sessions: int
    calls: int
    amount: Decimal
    currency: str = "USD"


class Books:
    """The backend's own books, here in memory; a real one writes a row whose key is the ride."""

    def __init__(self) -> None:
        self.totals: dict[str, RideTotal] = {}

    @activity.defn
    async def book_ride(self, total: RideTotal) -> None:
        """Book a ride's total, once however often it is told."""
        self.totals[total.ride_id] = total


# What cannot be a phone number fails the update that brought it, not the ride.
@workflow.defn(failure_exception_types=[ValidationError])
class Ride:
    """One ride. Its updates are what happens to it; its result is what its calls cost."""

    @workflow.init
    def __init__(self, request: RideRequest) -> None:
        self._request = request
        self._driver = ""
        self._current: Masked | None = None
        self._open: list[Masked] = []
        self._sessions: list[Masked] = []
        self._asked = 0
        self._ended: Literal["dropped off", "cancelled"] | None = None
        # One thing at a time happens to a ride.
        self._turn = asyncio.Lock()

    @workflow.run
    async def run(self, request: RideRequest) -> RideTotal:
        """The story of a ride. Returns what its calls cost."""
        await workflow.wait_condition(lambda: self._ended is not None)
        if self._ended == "dropped off":
            await workflow.sleep(request.calls_after_drop_off, summary="something may have been left in the car")
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self._close()
        total = await self._total()
        await workflow.execute_activity_method(
            Books.book_ride, total, start_to_close_timeout=timedelta(seconds=10), summary="book the total"
        )
        return total

    @workflow.update
    async def assign(self, driver: Driver) -> Line:
        """A driver takes the ride, or another one takes it over, who must not meet the calls of the first."""
        async with self._turn:
            self._must_go_on()
            self._current = await self._open_session(driver.phone, driver.eta)
            self._driver, former = driver.phone, [each for each in self._open if each is not self._current]
            for each in former:
                await each.expire()
                self._open.remove(each)
            return self._line

    @workflow.update
    async def delay(self, eta: Eta) -> Line:
        """The driver will be there later. The session goes on, or is opened where there is none."""
        async with self._turn:
            self._must_go_on()
            if self._current is None or not await self._current.extend(_lasting(eta.minutes)):
                self._current = await self._open_session(self._driver, eta.minutes)
            return self._line

    @workflow.update
    async def arrive(self) -> Line:
        """The driver is there: the rider's phone rings, and once answered is connected with the driver's."""
        async with self._turn:
            self._must_go_on()
            await self._open_session(self._driver, 0, initiate_call_to_first_party=True)
            return self._line

    @workflow.update
    async def drop_off(self) -> None:
        """The ride is over."""
        async with self._turn:
            self._must_go_on()
            self._ended = "dropped off"

    @workflow.update
    async def cancel(self) -> None:
        """There will be no ride, and no more calls."""
        async with self._turn:
            self._must_go_on()
            self._ended = "cancelled"

    @workflow.query
    def line(self) -> Line:
        """What the apps show."""
        return self._line

    @property
    def _line(self) -> Line:
        return Line(virtual_number=self._current.virtual_number if self._current is not None else None)

    def _must_go_on(self) -> None:
        if self._ended is not None:
            raise ApplicationError(f"the ride was {self._ended}", type="RideOver", non_retryable=True)

    async def _open_session(
        self, driver: str, eta: int, *, initiate_call_to_first_party: bool = False
    ) -> Masked | None:
        """Open a session with a driver. Without a free number there is none, and the ride goes on without calls."""
        if not driver:
            raise ApplicationError("assign a driver first", type="NoDriver", non_retryable=True)
        self._asked += 1
        opened = await open_session(
            NewSession(
                idempotency_key=f"{self._request.ride_id}-{self._asked}",
                account_id=self._request.account_id,
                first_party=self._request.rider,
                second_party=driver,
                session_expiry=_lasting(eta),
                initiate_call_to_first_party=initiate_call_to_first_party,
            )
        )
        if opened is not None:
            self._open.append(opened)
            self._sessions.append(opened)
        return opened

    async def _close(self) -> None:
        for each in self._open:
            await each.expire()
        self._open, self._current = [], None

    async def _total(self) -> RideTotal:
        bills = [await each.session.bill() for each in self._sessions]
        return RideTotal(
            ride_id=self._request.ride_id,
            ended=self._ended or "cancelled",
            sessions=len(bills),
            calls=sum(bill.calls.call_count for bill in bills),
            amount=sum((bill.total_amount for bill in bills), Decimal(0)),
            currency=bills[0].currency if bills else "USD",
        )


def _lasting(eta: int) -> int:
    """Seconds that a session lasts when the driver will be there in so many minutes."""
    return int((timedelta(minutes=eta) + MARGIN).total_seconds())
