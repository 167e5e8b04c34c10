"""A ride by Nexus, beside `make run`: `python -m examples.nexus KEYS`."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes
from temporalio.service import RPCError
from temporalio.worker import Worker

from examples.nexus.codec import MaskingCodec, ingress_keys
from examples.nexus.workflow import NexusRide, Ride

NAMESPACE, QUEUE = "rides", "rides"
RIDER, DRIVER = "+12025550151", "+12025550152"
"""No other example's: here the ride itself keeps them as its team's codec leaves them, which is in the clear."""


async def connected(keys: dict[str, bytes]) -> Client:
    """A client of the team's namespace, which is made if it is missing. A team with a codec gives it as `own`."""
    converter = DataConverter(
        payload_codec=MaskingCodec(keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
    client = await Client.connect(
        os.environ.get("TEMPORAL_ADDRESS", "localhost:7233"), namespace=NAMESPACE, data_converter=converter
    )
    kept = Duration(seconds=86_400)
    with suppress(RPCError):
        await client.workflow_service.register_namespace(
            RegisterNamespaceRequest(namespace=NAMESPACE, workflow_execution_retention_period=kept)
        )
    async with asyncio.timeout(30):
        # One that was just made is not known everywhere at once.
        while True:
            with suppress(RPCError):
                await client.count_workflows()
                return client
            await asyncio.sleep(0.2)


async def main(keys: dict[str, bytes]) -> None:
    """Drive one ride."""
    client, ride_id = await connected(keys), f"ride-{uuid4()}"
    ride = Ride(ride_id, os.environ.get("AUTH_ID", "MAMASKINGDEMO0000000"), RIDER, DRIVER)
    async with Worker(client, task_queue=QUEUE, workflows=[NexusRide]):
        handle = await client.start_workflow(NexusRide.run, ride, id=ride_id, task_queue=QUEUE)
        async with asyncio.timeout(60):
            while not (number := await handle.query(NexusRide.number)):  # noqa: ASYNC110 it is across the network
                await asyncio.sleep(0.2)
            print(f"rider and driver meet on {number}")
            await handle.signal(NexusRide.dropped_off)
            bill = await handle.result()
        print(f"dropped off; calls cost {bill.calls['amount']} {bill.currency}, the session {bill.session_amount}")
    # Temporal's core may abort an interpreter that ends at once (sdk-python #300).
    await asyncio.sleep(0.05)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m examples.nexus KEYS, a file that `masking keys ingress export` wrote")
    asyncio.run(main(ingress_keys(Path(sys.argv[1]).read_text())))
