"""What a Temporal namespace needs besides being there: our search attributes, and the Nexus endpoint.

A Temporal Cloud namespace gets both by its own tools (docs/client.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.nexus.v1 import EndpointSpec, EndpointTarget
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    CreateNexusEndpointRequest,
    ListNexusEndpointsRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from masking.contract import TASK_QUEUE
from masking.lookup import ATTRIBUTES
from masking.nexus import ENDPOINT

TIMEOUT = timedelta(seconds=10)


async def prepare_namespace(client: Client, say: Callable[[str], None], *, lookup: bool) -> None:
    """Register what is missing. Where that is not ours to do, tell in a line what to do, and go on.

    Args:
        lookup: whether search attributes are wanted.
    """
    if lookup:
        try:
            await register_attributes(client)
        except RPCError as error:
            say(f"search attributes cannot be registered ({error.status.name}); see docs/client.md, or MASKING_LOOKUP")
    try:
        await ensure_endpoint(client)
    except RPCError as error:
        say(f"no Nexus endpoint can be made ({error.status.name}); where it is wanted, see docs/client.md")


async def register_attributes(client: Client) -> None:
    """Register those of our search attributes that the namespace lacks. Raises `RPCError`."""
    service = client.operator_service
    known = await service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), timeout=TIMEOUT
    )
    wanted: Mapping[str, IndexedValueType.ValueType] = {
        key.name: IndexedValueType.ValueType(int(key.indexed_value_type))
        for key in ATTRIBUTES
        if key.name not in known.custom_attributes
    }
    if wanted:
        await service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=wanted), timeout=TIMEOUT
        )


async def ensure_endpoint(client: Client, name: str = ENDPOINT, task_queue: str = TASK_QUEUE) -> None:
    """Make the Nexus endpoint through which other namespaces reach our service, if it is missing. Raises `RPCError`."""
    service = client.operator_service
    found = await service.list_nexus_endpoints(ListNexusEndpointsRequest(name=name, page_size=1), timeout=TIMEOUT)
    if found.endpoints:
        return
    target = EndpointTarget(worker=EndpointTarget.Worker(namespace=client.namespace, task_queue=task_queue))
    await service.create_nexus_endpoint(
        CreateNexusEndpointRequest(spec=EndpointSpec(name=name, target=target)), timeout=TIMEOUT
    )
