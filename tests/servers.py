"""The Temporal servers that tests run against: real ones of their own, which keep nothing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from masking.lookup import ATTRIBUTES
from masking.privacy.keyring import Keyring
from masking.temporal import data_converter

BINARY = shutil.which("temporal", path=str(Path(sys.executable).parent))

CONFIG = {
    # A queue of four parts, as the server has it, costs a poll and a row for each; a test has one worker.
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    # A closed workflow is deleted only once the server has noted how far it has come, else every 30 s.
    "history.transferProcessorUpdateAckInterval": '"1s"',
    "history.visibilityProcessorUpdateAckInterval": '"1s"',
    "frontend.WorkflowTimeSkippingEnabled": "true",
    "history.timerProcessorMaxTimeShift": '"1ms"',
}


def _options(config: Mapping[str, str]) -> list[str]:
    return [word for name, value in config.items() for word in ("--dynamic-config-value", f"{name}={value}")]


@asynccontextmanager
async def temporal_server(keyring: Keyring, *, continue_after: int | None = None) -> AsyncIterator[WorkflowEnvironment]:
    """A server that skips time for the workflows that its environment's own client starts, and for no others.

    Args:
        continue_after: events of history after which it suggests to continue as new; its own 4,096 when None.
    """
    config = dict(CONFIG)
    if continue_after is not None:
        config["limit.historyCount.suggestContinueAsNew"] = str(continue_after)
    async with await WorkflowEnvironment.start_time_skipping_v2(
        dev_server_existing_path=BINARY,
        data_converter=data_converter(keyring),
        dev_server_extra_args=_options(config),
        search_attributes=ATTRIBUTES,
    ) as environment:
        yield environment
