"""The Temporal servers that tests run against: real ones, which keep nothing."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
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


STARTED_WITHIN = timedelta(seconds=60)
"""On a busy machine a server takes more than the SDK's 5 s."""


@asynccontextmanager
async def temporal_server(keyring: Keyring, *, continue_after: int | None = None) -> AsyncIterator[Client]:
    """A server that can skip time for single workflows: for those that a `TimeSkipper` starts. A client of it.

    Args:
        continue_after: events of history after which it suggests to continue as new; its own 4,096 when None.
    """
    config = dict(CONFIG)
    if continue_after is not None:
        config["limit.historyCount.suggestContinueAsNew"] = str(continue_after)
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=BINARY,
        dev_server_log_level="never",
        dev_server_startup_timeout=STARTED_WITHIN,
        data_converter=data_converter(keyring),
        dev_server_extra_args=_options(config),
        search_attributes=ATTRIBUTES,
    ) as environment:
        yield environment.client


class SharedServer:
    """Such a server for all test processes of a run: with nothing to do, each of several would compute as much."""

    def __init__(self, keyring: Keyring) -> None:
        self._loop, self._stack = asyncio.new_event_loop(), AsyncExitStack()
        client = self._loop.run_until_complete(self._stack.enter_async_context(temporal_server(keyring)))
        self.address = client.service_client.config.target_host

    def close(self) -> None:
        """Stop it."""
        self._loop.run_until_complete(self._stack.aclose())
        self._loop.close()
