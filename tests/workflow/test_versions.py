"""Worker versioning: a session stays on the version of the code on which it began."""

from __future__ import annotations

import asyncio
import shutil
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.testing import TimeSkipper
from temporalio.worker import Worker

from masking.client import MaskingClient, OutcomeUnknown
from masking.contract import session_workflow_id
from masking.domain import session as session_module
from masking.domain.session import REVISION
from masking.domain.snapshot import SessionSnapshot
from masking.domain.terms import SessionRequest
from masking.settings import Settings
from tests.workflow.conftest import Remembered
from tests.workflow.test_masking_session import fresh
from worker import deployment
from workflows.masking_session import MaskingSession

pytestmark = pytest.mark.anyio

BINARY = shutil.which("temporal", path=str(Path(sys.executable).parent))


async def make_current(environment: TimeSkipper, name: str, build_id: str) -> None:
    """As an operator does it, once a worker of the version polls."""
    address = environment.client.service_client.config.target_host
    command = ["worker", "deployment", "set-current-version", "--deployment-name", name, "--build-id", build_id]
    for _ in range(50):
        process = await asyncio.create_subprocess_exec(
            str(BINARY), *command, "--yes", "--address", address, stdout=-3, stderr=-3
        )
        if await process.wait() == 0:
            return
        await asyncio.sleep(0.2)
    raise AssertionError("the version could not be made current")


async def test_a_session_ends_on_the_version_on_which_it_began(environment: TimeSkipper) -> None:
    name, queue = f"masking-{uuid4()}", f"masking-{uuid4()}"
    sessions = MaskingClient(environment.client, task_queue=queue)
    old, new = Remembered(), Remembered()

    def worker(remembered: Remembered, build_id: str) -> Worker:
        return Worker(
            environment.client,
            task_queue=queue,
            workflows=[MaskingSession],
            activities=remembered.activities(),
            deployment_config=deployment(Settings(deployment_name=name, build_id=build_id)),
        )

    async with AsyncExitStack() as running:
        await running.enter_async_context(worker(old, "build-1"))
        await make_current(environment, name, "build-1")
        begun = fresh(3600)
        with environment.with_time_skipping_disabled():
            await sessions.start(begun)

        await running.enter_async_context(worker(new, "build-2"))
        await make_current(environment, name, "build-2")
        later = fresh(3600)
        with environment.with_time_skipping_disabled():
            await sessions.start(later)
        await sessions.extend(begun.session_uuid, 7200)
        for asked in (begun, later):
            await sessions.expire(asked.session_uuid)
            await sessions.final_bill(asked.session_uuid)

    assert [final.session_uuid for final in old.bills] == [begun.session_uuid]
    assert [final.session_uuid for final in new.bills] == [later.session_uuid]
    described = await environment.client.get_workflow_handle(session_workflow_id(begun.session_uuid)).describe()
    version = described.raw_description.workflow_execution_info.versioning_info.deployment_version
    assert (version.deployment_name, version.build_id) == (name, "build-1")


def test_without_both_settings_there_is_no_versioning() -> None:
    assert deployment(Settings()) is None
    assert deployment(Settings(deployment_name="masking")) is None


async def why_a_task_failed(client: Client, asked: SessionRequest) -> str:
    handle = client.get_workflow_handle(session_workflow_id(asked.session_uuid))
    async with asyncio.timeout(20):
        while True:
            async for event in handle.fetch_history_events():
                if event.HasField("workflow_task_failed_event_attributes"):
                    told = event.workflow_task_failed_event_attributes.failure
                    return str(await client.data_converter.decode_failure(told))
            await asyncio.sleep(0.1)


async def started(sessions: MaskingClient, asked: SessionRequest) -> SessionSnapshot:
    """Temporal waits for longer each time before it gives a task out that failed."""
    async with asyncio.timeout(60):
        while True:
            with suppress(OutcomeUnknown):
                return await sessions.start(asked)


async def test_a_worker_leaves_a_session_of_newer_rules_to_a_newer_worker(
    environment: TimeSkipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While workers are replaced, an older one may be given what a newer one opened."""
    queue, remembered, asked = f"masking-{uuid4()}", Remembered(), fresh(3600)
    remembered.revision = REVISION + 1
    sessions = MaskingClient(environment.client, task_queue=queue)
    with environment.with_time_skipping_disabled():
        async with Worker(
            environment.client, task_queue=queue, workflows=[MaskingSession], activities=remembered.activities()
        ):
            with pytest.raises(OutcomeUnknown):
                await sessions.start(asked)
            told = await why_a_task_failed(environment.client, asked)
            assert f"revision {REVISION + 1}, and this worker knows {REVISION}" in told
            assert remembered.callbacks == []
            monkeypatch.setattr(session_module, "REVISION", REVISION + 1)
            assert (await started(sessions, asked)).status == "active"
            await sessions.expire(asked.session_uuid)
            assert (await sessions.final_bill(asked.session_uuid)).settled_at is not None
