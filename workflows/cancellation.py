"""What becomes of a workflow that is cancelled, by the button in Temporal's UI or by whoever reaches its id."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from temporalio import workflow

ResultT = TypeVar("ResultT")


async def outliving_cancellation(
    work: Coroutine[Any, Any, ResultT], when_cancelled: Callable[[], Awaitable[None]]
) -> ResultT:
    """Do a workflow's work to its end, also when the workflow is cancelled; return what the work does.

    Args:
        when_cancelled: what is done beside the work then, so that it comes to its end. The server asks once.
    """
    working = asyncio.create_task(work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        # A worker that evicts the workflow cancels its tasks, too; then this is no request of anybody.
        if workflow.cancellation_reason() is None:
            raise
    await when_cancelled()
    return await working
