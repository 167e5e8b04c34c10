"""A Temporal server whose time can be skipped, and a worker with activities that only remember."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.callbacks import DeliverCallbacks, Delivered
from activities.sessions import Opened, OpenSession, Recorded, RecordSession, SessionRef, Unreported
from masking.client import MaskingClient
from masking.domain.callbacks import Callback
from masking.domain.session import Bill, Session, bill
from masking.privacy.keyring import Keyring
from masking.temporal import data_converter
from tests.domain.conversation import VIRTUAL
from workflows.masking_session import MaskingSession

DYNAMIC_CONFIG = [
    "--dynamic-config-value",
    "frontend.WorkflowTimeSkippingEnabled=true",
    "--dynamic-config-value",
    'history.timerProcessorMaxTimeShift="1ms"',
]


class Remembered:
    """The activities of a session under their real names, with a memory instead of a database."""

    def __init__(self) -> None:
        self.number: str | None = VIRTUAL
        self.sessions: dict[str, Session] = {}
        self.callbacks: list[Callback] = []
        self.bills: list[Bill] = []
        self.unreported: list[int] = []
        self.endpoint_down = False
        self.deliveries = 0

    @activity.defn
    async def open_session(self, command: OpenSession) -> Opened:
        self.sessions[command.session.session_uuid] = command.session
        return Opened(virtual_number=self.number)

    @activity.defn
    async def record_session(self, command: RecordSession) -> Recorded:
        assert command.session.version > self.sessions[command.session.session_uuid].version
        self.sessions[command.session.session_uuid] = command.session
        self.callbacks += command.callbacks
        return Recorded(holds_routes=True)

    @activity.defn
    async def count_unreported(self, command: SessionRef) -> Unreported:
        return Unreported(count=self.unreported.pop() if self.unreported else 0)

    @activity.defn
    async def settle_session(self, command: RecordSession) -> Bill:
        final = bill(command.session)
        self.sessions[command.session.session_uuid] = command.session
        self.bills.append(final)
        return final

    @activity.defn
    async def deliver_callbacks(self, command: DeliverCallbacks) -> Delivered:
        if self.endpoint_down:
            raise ApplicationError("not taken", type="CallbackUndelivered")
        self.deliveries += 1
        return Delivered(count=len(self.callbacks))

    def activities(self) -> list[Callable[..., Any]]:
        """What to register with a worker."""
        return [
            self.open_session,
            self.record_session,
            self.count_unreported,
            self.settle_session,
            self.deliver_callbacks,
        ]

    @property
    def names(self) -> list[str]:
        """The names of the callbacks so far, in their order."""
        return [callback.name for callback in self.callbacks]


@pytest.fixture(scope="session")
async def environment(anyio_backend: str, keyring: Keyring) -> AsyncIterator[WorkflowEnvironment]:
    binary = shutil.which("temporal", path=str(Path(sys.executable).parent))
    async with await WorkflowEnvironment.start_time_skipping_v2(
        dev_server_existing_path=binary,
        data_converter=data_converter(keyring),
        dev_server_extra_args=DYNAMIC_CONFIG,
    ) as environment:
        yield environment


@pytest.fixture
def client(environment: WorkflowEnvironment) -> Client:
    return environment.client


@pytest.fixture
def task_queue() -> str:
    """A queue of the test's own: what an earlier test left running is not served here."""
    return f"masking-{uuid4()}"


@pytest.fixture
async def remembered(environment: WorkflowEnvironment, task_queue: str) -> AsyncIterator[Remembered]:
    remembered = Remembered()
    async with Worker(
        environment.client,
        task_queue=task_queue,
        workflows=[MaskingSession],
        activities=remembered.activities(),
    ):
        yield remembered


@pytest.fixture
def sessions(client: Client, task_queue: str) -> MaskingClient:
    return MaskingClient(client, task_queue=task_queue)
