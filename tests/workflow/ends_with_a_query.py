"""A workflow task in which a local activity ends too late."""

from __future__ import annotations

import asyncio
import time
from typing import NoReturn

from temporalio import workflow
from temporalio.worker import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleQueryInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from tests.workflow.conftest import Remembered


class EndsWithAQuery(Interceptor):
    """Lets held local writes end after the command that ends a run, while a query of that workflow task is answered.

    Constructed in the event loop of the worker.
    """

    def __init__(self, remembered: Remembered) -> None:
        self.remembered = remembered
        self.loop = asyncio.get_running_loop()
        self.ended = 0
        """Runs that are about to end."""
        self.asked = 0
        """Queries that came together with such an end."""

    def workflow_interceptor_class(self, _: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        whole = self

        class Outbound(WorkflowOutboundInterceptor):
            def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
                whole.ended += 1
                super().continue_as_new(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

            async def execute_workflow(self, input: ExecuteWorkflowInput) -> object:
                final = await super().execute_workflow(input)
                whole.ended += 1
                return final

            async def handle_query(self, input: HandleQueryInput) -> object:
                held = whole.remembered.held_locally
                if whole.ended and held is not None and not held.is_set():
                    whole.asked += 1
                    whole.loop.call_soon_threadsafe(held.set)
                    # The workflow is to be busy until the write has ended; for 2 s, it may be.
                    with workflow.unsafe.sandbox_unrestricted():
                        begun = time.monotonic()
                        while not held.is_set() and time.monotonic() - begun < 1.5:
                            time.sleep(0.01)  # noqa: ASYNC251
                        time.sleep(0.3)  # noqa: ASYNC251
                return await super().handle_query(input)

        return Inbound
