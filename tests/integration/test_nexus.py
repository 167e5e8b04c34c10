"""Sessions as a Nexus service, used by a team in another namespace that has none of our code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import nexusrpc
import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError, NexusOperationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from masking.client import MaskingClient
from masking.client.new_session import session_uuid_of
from masking.privacy.keyring import Keyring
from masking.temporal import data_converter
from masking.temporal_setup import ensure_endpoint
from tests.conftest import ACCOUNT
from tests.domain.conversation import FIRST, SECOND
from tests.integration.conftest import System, another_namespace

pytestmark = pytest.mark.anyio

NAMESPACE = "rides"


@nexusrpc.service(name="Masking")
class TheirMasking:
    """What the callers wrote down of the contract: names, and JSON."""

    start: nexusrpc.Operation[dict[str, Any], dict[str, Any]]
    opened: nexusrpc.Operation[dict[str, Any], dict[str, Any]]
    extend: nexusrpc.Operation[dict[str, Any], dict[str, Any]]
    modify: nexusrpc.Operation[dict[str, Any], dict[str, Any]]
    expire: nexusrpc.Operation[dict[str, Any], dict[str, Any]]
    snapshot: nexusrpc.Operation[dict[str, Any], dict[str, Any]]


@workflow.defn(name="Ride", sandboxed=False)
class Ride:
    """Has its session as an operation."""

    def __init__(self) -> None:
        self._over = False
        self._number = ""

    @workflow.signal
    def over(self) -> None:
        self._over = True

    @workflow.query
    def number(self) -> str:
        return self._number

    @workflow.run
    async def run(self, ride: dict[str, Any]) -> dict[str, Any]:
        masking = workflow.create_nexus_client(service=TheirMasking, endpoint=ride["endpoint"])
        wanted, done = ride["wanted"], {}
        named = {"account_id": wanted["account_id"], "idempotency_key": wanted.get("idempotency_key", "")}
        session = await masking.start_operation(
            TheirMasking.start, wanted, cancellation_type=workflow.NexusOperationCancellationType.WAIT_COMPLETED
        )
        opened = await masking.execute_operation(TheirMasking.opened, named)
        done["extended"] = await masking.execute_operation(TheirMasking.extend, {**named, "session_expiry": 7200})
        by_id = {"session_uuid": opened["session_uuid"]}
        await masking.execute_operation(TheirMasking.modify, {**by_id, "change": {"call_time_limit": 777}})
        self._number = opened["virtual_number"]
        try:
            await workflow.wait_condition(lambda: self._over)
        except asyncio.CancelledError:
            session.cancel()
            return {"bill": await session}
        done["seen"] = await masking.execute_operation(TheirMasking.snapshot, by_id)
        done["expired"] = await masking.execute_operation(TheirMasking.expire, {**named, "reason": "dropped off"})
        done["bill"] = await session
        return done


@pytest.fixture(scope="module")
async def their_client(temporal: Client, keyring: Keyring) -> Client:
    """A client of the other namespace, which carries the codec that both agreed on, and no plugin of ours."""
    return await another_namespace(temporal, NAMESPACE, data_converter=data_converter(keyring))


@pytest.fixture
async def endpoint(temporal: Client, task_queue: str) -> str:
    name = f"masking-{uuid4().hex[:8]}"
    await ensure_endpoint(temporal, name, task_queue)
    return name


@pytest.fixture
async def rides(their_client: Client, system: System, endpoint: str) -> AsyncIterator[str]:
    queue = f"rides-{uuid4()}"
    async with Worker(their_client, task_queue=queue, workflows=[Ride], workflow_runner=UnsandboxedWorkflowRunner()):
        yield queue


def asked(endpoint: str, key: str, **more: object) -> dict[str, object]:
    wanted = {"account_id": ACCOUNT, "first_party": FIRST, "second_party": SECOND, "idempotency_key": key, **more}
    return {"endpoint": endpoint, "wanted": wanted}


async def begun(client: Client, queue: str, ride: dict[str, object]) -> Any:
    """A ride whose session is open."""
    handle = await _started(client, queue, ride)
    async with asyncio.timeout(30):
        while not await handle.query("number"):  # noqa: ASYNC110 it is across the network
            await asyncio.sleep(0.1)
    return handle


async def _started(client: Client, queue: str, ride: dict[str, object]) -> Any:
    return await client.start_workflow("Ride", ride, id=f"ride-{uuid4()}", task_queue=queue)


async def failure_of(handle: Any) -> ApplicationError:
    """What a ride's operation failed with."""
    with pytest.raises(WorkflowFailureError) as told:
        async with asyncio.timeout(30):
            await handle.result()
    failure: BaseException | None = told.value
    while failure is not None and not (isinstance(failure, ApplicationError) and failure.type != "OperationError"):
        failure = failure.__cause__
    assert isinstance(failure, ApplicationError)
    return failure


async def test_a_session_is_an_operation_whose_result_is_the_bill(
    system: System, their_client: Client, rides: str, endpoint: str
) -> None:
    key = f"ride-{uuid4()}"
    handle = await begun(their_client, rides, asked(endpoint, key, session_expiry=600))
    await handle.signal("over")
    async with asyncio.timeout(30):
        done = await handle.result()

    uuid = session_uuid_of(ACCOUNT, key)
    assert done["bill"]["session_uuid"] == uuid
    assert done["bill"]["settled_at"] is not None
    assert done["seen"]["status"] == "active"
    assert done["expired"]["status"] == "expired"
    ours = await system.sessions.snapshot(uuid)
    assert done["bill"] == ours.bill.model_dump(mode="json")
    assert done["extended"]["virtual_number"] == ours.virtual_number


async def test_a_session_that_cannot_be_fails_its_operation_with_the_reason(
    system: System, their_client: Client, rides: str, endpoint: str
) -> None:
    unknown = asked(endpoint, f"ride-{uuid4()}", account_id="MA000000000000000000")
    failure = await failure_of(await _started(their_client, rides, unknown))

    assert failure.type == "AccountUnknown"
    assert "no such account" in failure.message
    assert failure.non_retryable


async def test_a_key_that_is_used_for_another_session_is_told(
    system: System, their_client: Client, rides: str, endpoint: str
) -> None:
    key = f"ride-{uuid4()}"
    first = await begun(their_client, rides, asked(endpoint, key))
    failure = await failure_of(await _started(their_client, rides, asked(endpoint, key, record=True)))
    assert failure.type == "IdempotencyConflict"
    await first.signal("over")
    await first.result()


async def test_the_same_key_again_joins_its_session_and_has_its_bill_also_after_its_end(
    system: System, their_client: Client, rides: str, endpoint: str
) -> None:
    key = f"ride-{uuid4()}"
    first = await begun(their_client, rides, asked(endpoint, key))
    second = await begun(their_client, rides, asked(endpoint, key))
    await first.signal("over")
    bill = (await first.result())["bill"]
    # Its own operations come too late by then; the bill of the first is its as well.
    await second.signal("over")
    failure = await failure_of(second)
    late = await failure_of(await _started(their_client, rides, asked(endpoint, key)))

    assert bill["session_uuid"] == session_uuid_of(ACCOUNT, key)
    assert (failure.type, late.type) == ("SessionAlreadyExpired", "SessionAlreadyExpired")


async def test_cancelling_the_operation_expires_the_session_and_closes_its_bill(
    system: System, their_client: Client, rides: str, endpoint: str
) -> None:
    key = f"ride-{uuid4()}"
    handle = await begun(their_client, rides, asked(endpoint, key))
    await handle.cancel()
    async with asyncio.timeout(30):
        told = (await handle.result())["bill"]

    bill = await system.sessions.final_bill(session_uuid_of(ACCOUNT, key), timeout=timedelta(seconds=20))
    assert bill.settled_at is not None
    assert told == bill.model_dump(mode="json")


async def test_a_request_that_breaks_the_rules_is_refused_for_good(
    system: System, their_client: Client, rides: str, endpoint: str
) -> None:
    handle = await _started(their_client, rides, asked(endpoint, f"ride-{uuid4()}", session_expiry=5))
    with pytest.raises(WorkflowFailureError) as told:
        async with asyncio.timeout(30):
            await handle.result()
    assert isinstance(told.value.cause, NexusOperationError)


async def test_what_their_server_sends_again_happens_once(system: System) -> None:
    """An update with the id of a Nexus request, told twice, extends once."""
    from masking.client import NewSession

    sessions: MaskingClient = system.sessions
    opened = await sessions.start(NewSession(account_id=ACCOUNT, first_party=FIRST, second_party=SECOND))
    once = await sessions.extend(opened.session_uuid, 7200, update_id="nexus-request-1")
    again = await sessions.extend(opened.session_uuid, 7200, update_id="nexus-request-1")
    assert again == once
    await sessions.expire(opened.session_uuid)
