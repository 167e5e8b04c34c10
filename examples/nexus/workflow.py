"""A ride whose masked session is a Nexus operation. What is known of the service is in docs/contract.json."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from temporalio import workflow

SERVICE = "Masking"
ENDPOINT = "masking"


@dataclass
class Ride:
    """A ride to be driven.

    Attributes:
        account_id: the auth id at the service, `MA…`.
        rider, driver: their phone numbers, E.164.
        endpoint: what the service's Nexus endpoint is called.
        session_expiry: seconds after which the session ends by itself.
    """

    ride_id: str
    account_id: str
    rider: str
    driver: str
    endpoint: str = ENDPOINT
    session_expiry: int = 1800


@dataclass
class NewSession:
    """As much of `NewSession` in the contract as this team says."""

    account_id: str
    first_party: str
    second_party: str
    idempotency_key: str
    session_expiry: int


@dataclass
class Session:
    """As much of `SessionSnapshot` as this team reads."""

    session_uuid: str
    virtual_number: str
    status: str
    expires_at: str


@dataclass
class Bill:
    """As much of `Bill` as this team books."""

    session_uuid: str
    currency: str
    session_amount: str
    settled_at: str | None
    calls: dict[str, Any]


@workflow.defn(name="NexusRide")
class NexusRide:
    """Opens the session, extends it, shortens its calls, ends it and books its bill."""

    def __init__(self) -> None:
        self._dropped_off = False
        self._number = ""

    @workflow.signal
    def dropped_off(self) -> None:
        """The ride is over."""
        self._dropped_off = True

    @workflow.query
    def number(self) -> str:
        """What both of them dial; empty until it is known."""
        return self._number

    @workflow.run
    async def run(self, ride: Ride) -> Bill:
        """The ride. Returns the bill of its session."""
        masking = workflow.create_nexus_client(service=SERVICE, endpoint=ride.endpoint)
        named = {"account_id": ride.account_id, "idempotency_key": ride.ride_id}
        wanted = NewSession(ride.account_id, ride.rider, ride.driver, ride.ride_id, ride.session_expiry)
        session = await masking.start_operation(
            "start",
            wanted,
            output_type=Bill,
            cancellation_type=workflow.NexusOperationCancellationType.WAIT_COMPLETED,
        )
        opened = await masking.execute_operation("opened", named, output_type=Session)
        await masking.execute_operation("extend", {**named, "session_expiry": 3600}, output_type=Session)
        self._number = opened.virtual_number
        try:
            await workflow.wait_condition(lambda: self._dropped_off)
        except asyncio.CancelledError:
            session.cancel()
            return await session
        change = {"call_time_limit": 600}
        await masking.execute_operation("modify", {**named, "change": change}, output_type=Session)
        await masking.execute_operation("expire", {**named, "reason": "dropped off"}, output_type=Session)
        return await session
