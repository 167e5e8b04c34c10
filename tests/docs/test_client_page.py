"""The blocks of docs/client.md do what they show, as they stand there."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from masking.client import Bill, MaskingClient
from masking.client.in_workflow import MaskingActivities
from masking.contract import TASK_QUEUE
from masking.privacy.keyring import Keyring
from masking.settings import DEMO_AUTH_ID
from tests.conftest import ACCOUNT, KEYS
from tests.integration.conftest import (
    System,
    answered_within,
    creates,
    more_settings,
    namespace_of_its_own,
    settings,
    simulator_port,
    system,
    worker,
)
from tests.integration.test_command_line_client import PAGE, commands, sh

__all__ = ["answered_within", "creates", "more_settings", "settings", "simulator_port", "system", "worker"]

pytestmark = pytest.mark.anyio


@pytest.fixture
def task_queue() -> str:
    """The one that callers go by who name none."""
    return TASK_QUEUE


@pytest.fixture
async def temporal(temporal: Client, keyring: Keyring) -> Client:
    """Where nobody else goes by it."""
    return await namespace_of_its_own(temporal, keyring)


def blocks() -> list[str]:
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [block.replace(DEMO_AUTH_ID, ACCOUNT) for block in found]


async def run(block: str, names: dict[str, Any]) -> None:
    code = compile(block, "docs/client.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    done = eval(code, names)
    if inspect.isawaitable(done):
        await done


async def test_a_session_is_started_steered_and_followed_as_the_page_shows(
    system: System, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", system.client.service_client.config.target_host)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", system.client.namespace)
    monkeypatch.setenv("MASKING_KEYS", KEYS)
    first, stream, _ = blocks()
    names: dict[str, Any] = {}
    await run(first.replace("ride-4711", f"ride-{uuid4()}"), names)
    await run(stream, names)

    assert isinstance(names["bill"], Bill)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == names["session"].virtual_number
    assert said[1:] == [f"number {said[0]}", "in all 0"]


async def test_a_workflow_has_its_session_as_a_child_as_the_page_shows(system: System, tmp_path: Path) -> None:
    *_, child = blocks()
    (tmp_path / "trip_of_the_page.py").write_text(child)
    spec = importlib.util.spec_from_file_location("trip_of_the_page", tmp_path / "trip_of_the_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    queue = f"trips-{uuid4()}"
    async with Worker(
        system.client,
        task_queue=queue,
        workflows=[module.Trip],
        activities=MaskingActivities(MaskingClient(system.client)).all,
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        bill = await system.client.execute_workflow(
            "Trip", f"ride-{uuid4()}", id=f"trip-{uuid4()}", task_queue=queue, result_type=Bill
        )
    assert bill.settled_at is not None


async def test_a_namespace_is_set_up_by_the_pages_commands(system: System, task_queue: str) -> None:
    endpoint = commands("As a Nexus service").replace("--name masking", f"--name masking-{uuid4().hex[:8]}")
    await sh(endpoint, system.client, task_queue)
    told = await sh(commands("Finding sessions"), system.client, task_queue)
    assert "".join(told).count("have been added") == 5
