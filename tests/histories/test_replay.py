"""Today's code replays every session that was ever recorded, and comes to the recorded bill."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.converter import WorkflowSerializationContext
from temporalio.worker import Replayer, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from masking.domain.bill.charges import Bill
from masking.domain.session import REVISION
from masking.temporal import data_converter, masking_plugin
from masking.workflow_runner import workflow_runner
from tests.histories import KEYRING
from tests.histories.record import SCENES, name_of
from workflows.masking_session import MaskingSession

pytestmark = [pytest.mark.anyio, pytest.mark.long]

FILES = sorted(Path(__file__).parent.glob("*.json"))
TODAYS = [file for file in FILES if f"-r{REVISION}" in file.stem]
"""Of sessions that follow today's rules."""

BILLED = {
    "answered": 240,
    "looked_up": 240,
    "draining": 240,
    "disturbed": 360,
    "unheard": 120,
    "warned": 240,
    "joined": 240,
    "silent": 240,
    "belied": 240,
    "early": 240,
    "cancelled": 240,
    "resumed": 240,
    "restored": 240,
    "extended": 840,
    "long": 25 * 240,
    "plivo": 120 + 120 + 60 + 60,
    "plivo_unanswered": 60 + 60,
    "plivo_unheard": 3060 + 3000,
    "held_up": 60 + 15 * 240,
}
"""Seconds; nothing for the others."""

CONTINUED = [
    file
    for file in FILES
    if EventType.Name(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW) in file.read_text()
]
LOST = [
    file for file in FILES if EventType.Name(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED) in file.read_text()
]
"""Another run took over from them."""
ENDED = [file for file in FILES if file not in (*CONTINUED, *LOST)]


@functools.cache
def recorded(file: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"session-{file.stem}", file.read_text())


async def misfits(files: list[Path], runner: WorkflowRunner) -> dict[str, Exception]:
    """Why histories do not fit today's code, by the names of their files; all are replayed by one worker."""

    async def histories() -> AsyncIterator[WorkflowHistory]:
        for file in files:
            yield recorded(file)

    replayer = Replayer(workflows=[MaskingSession], workflow_runner=runner, plugins=[masking_plugin(KEYRING)])
    async with replayer.workflow_replay_iterator(histories()) as results:
        told = [result.replay_failure async for result in results]
    return {file.stem: failure for file, failure in zip(files, told, strict=True) if failure is not None}


@pytest.fixture(scope="module")
async def misfits_in_the_whole_sandbox() -> dict[str, Exception]:
    return await misfits(TODAYS, SandboxedWorkflowRunner())


@pytest.fixture(scope="module")
async def misfits_as_our_workers_replay() -> dict[str, Exception]:
    return await misfits(FILES, workflow_runner())


@pytest.mark.parametrize("file", TODAYS, ids=lambda file: file.stem)
async def test_a_session_of_today_replays_in_the_whole_sandbox(
    file: Path, misfits_in_the_whole_sandbox: dict[str, Exception]
) -> None:
    if file.stem in misfits_in_the_whole_sandbox:
        raise misfits_in_the_whole_sandbox[file.stem]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_a_recorded_session_replays(file: Path, misfits_as_our_workers_replay: dict[str, Exception]) -> None:
    if file.stem in misfits_as_our_workers_replay:
        raise misfits_as_our_workers_replay[file.stem]


def test_our_converters_ask_for_no_context() -> None:
    """What spares our workers the search for it (`masking/workflow_runner.py`)."""
    ours = data_converter(KEYRING)

    assert ours.with_context(WorkflowSerializationContext(namespace="default", workflow_id="session-1")) is ours
    assert ours.external_storage is None


@pytest.mark.parametrize("file", ENDED, ids=lambda file: file.stem)
async def test_a_recorded_session_ended_with_a_readable_bill(file: Path) -> None:
    history = recorded(file)
    last = history.events[-1]
    assert last.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED

    payloads = last.workflow_execution_completed_event_attributes.result.payloads
    (bill,) = await data_converter(KEYRING).decode(payloads, [Bill])

    scene = file.stem.split("-")[0]
    assert bill.calls.billed_duration == BILLED.get(scene, 0)
    if scene == "unheard":
        assert bill.calls.call_count == (4 if file.stem.endswith("-r4") else 2)
    assert (bill.refusal != "") == (scene == "refused")


def test_every_kind_of_session_has_a_recording() -> None:
    assert {file.stem for file in FILES} >= {name_of(scene) for scene in SCENES}


def test_of_a_resumed_session_the_run_that_was_lost_is_recorded_too() -> None:
    assert [file.stem for file in LOST] == ["resumed-r3", "resumed-r4", "resumed-r5"]


def test_a_long_session_was_recorded_run_by_run() -> None:
    assert CONTINUED
    assert all(file.stem.startswith(("long-", "held_up-")) for file in CONTINUED)
