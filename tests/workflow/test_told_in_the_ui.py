"""What the Temporal Web UI shows of a session, in words: its details now, and each step's summary."""

from __future__ import annotations

from uuid import uuid4

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client
from temporalio.testing import TimeSkipper

from masking.client import MaskingClient
from masking.contract import session_workflow_id
from masking.temporal import data_converter
from tests.domain.conversation import FIRST, SECOND, request
from tests.histories import KEYRING
from tests.histories.test_replay import FILES, recorded
from tests.workflow.conftest import Remembered

pytestmark = pytest.mark.anyio


async def test_its_current_details_are_its_story_without_a_number(
    environment: TimeSkipper, client: Client, sessions: MaskingClient, remembered: Remembered
) -> None:
    asked = request().model_copy(update={"session_uuid": str(uuid4())})
    with environment.with_time_skipping_disabled():
        await sessions.start(asked)
        handle = client.get_workflow_handle(session_workflow_id(asked.session_uuid))

        told = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)

        assert told.current_details == await sessions.story(asked.session_uuid)
        assert told.current_details.strip()
        for party in (FIRST, SECOND):
            assert party.removeprefix("+") not in told.current_details
        assert all(each.description for each in told.definition.signal_definitions)


@pytest.mark.parametrize("name", ["answered", "warned"])
async def test_every_timer_and_activity_of_a_recorded_session_has_a_summary(name: str) -> None:
    (file,) = (file for file in FILES if file.stem == name)
    said: dict[int, set[str]] = {}
    for event in recorded(file).events:
        if event.event_type in (
            EventType.EVENT_TYPE_TIMER_STARTED,
            EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
            EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
        ) or event.HasField("user_metadata"):
            (summary,) = await data_converter(KEYRING).decode([event.user_metadata.summary], [str])
            said.setdefault(event.event_type, set()).add(summary)

    assert said[EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED] == {"a masking session"}
    assert "session expiry" in said[EventType.EVENT_TYPE_TIMER_STARTED]
    assert "close the bill" in said[EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED]
    assert "choose a virtual number" in said[EventType.EVENT_TYPE_MARKER_RECORDED]
    for summaries in said.values():
        assert all(summary and not any(digit in summary for digit in ("1202", "+1")) for summary in summaries)
