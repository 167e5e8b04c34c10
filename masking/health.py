"""Whether our processes do their work, asked from outside: by the supervisor, and by `masking health`."""

from __future__ import annotations

import socket
import time
from typing import Literal

import httpx
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from masking.contract import TASK_QUEUE
from masking.privacy.key_files import load_keyring
from masking.settings import Settings
from masking.temporal import connect
from masking.tls import trusted

Process = Literal["gateway", "worker"]

POLLED_WITHIN_S = 90.0
"""A worker that waits for work asks for it anew each minute."""


async def is_healthy(url: str) -> bool:
    """Whether `GET /healthz` answers 200 there."""
    try:
        async with httpx.AsyncClient(timeout=2, trust_env=False, verify=trusted()) as http:
            return (await http.get(f"{url}/healthz")).status_code == 200
    except httpx.HTTPError:
        return False


async def is_polling(client: Client, worker: str) -> bool:
    """Whether a worker of ours asks Temporal for work.

    Args:
        worker: how its identity ends; the whole is `PID@HOST`.
    """
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=TASK_QUEUE),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        pollers = (await client.workflow_service.describe_task_queue(request)).pollers
    except RPCError:
        return False
    since = time.time() - POLLED_WITHIN_S
    return any(poller.identity.endswith(worker) and poller.last_access_time.seconds > since for poller in pollers)


async def does_its_work(process: Process, settings: Settings) -> bool:
    """Whether the gateway, or a worker, of this machine works.

    Raises:
        StartupError: Temporal cannot be asked about the worker.
    """
    if process == "gateway":
        return await is_healthy(settings.gateway_url)
    return await is_polling(await connect(load_keyring(settings)), f"@{socket.gethostname()}")
