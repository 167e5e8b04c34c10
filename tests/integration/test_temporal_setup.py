"""What `masking run` makes in a namespace."""

from __future__ import annotations

import pytest
from temporalio.api.operatorservice.v1 import ListNexusEndpointsRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from masking import temporal_setup
from masking.lookup import ATTRIBUTES
from masking.nexus import ENDPOINT
from masking.privacy.keyring import Keyring
from masking.privacy.party_hash import party_hash
from masking.storage.routes import identity_hash
from tests.domain.conversation import FIRST, SECOND
from tests.integration.conftest import another_namespace

pytestmark = pytest.mark.anyio


async def attributes(client: Client) -> dict[str, int]:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    known = await client.operator_service.list_search_attributes(request)
    return {name: int(kind) for name, kind in known.custom_attributes.items()}


async def test_a_namespace_is_prepared_once_and_again_without_a_word(temporal: Client) -> None:
    said: list[str] = []
    bare = await another_namespace(temporal, "bare")
    before = await attributes(bare)
    for _ in range(2):
        await temporal_setup.prepare_namespace(bare, said.append, lookup=True)

    after = await attributes(bare)
    endpoints = await temporal.operator_service.list_nexus_endpoints(ListNexusEndpointsRequest(name=ENDPOINT))
    assert said == []
    wanted = {key.name: int(key.indexed_value_type) for key in ATTRIBUTES}
    assert not wanted.keys() & before.keys()
    assert wanted.items() <= after.items()
    (worker,) = (each.spec.target.worker for each in endpoints.endpoints)
    assert (worker.namespace, worker.task_queue) == ("bare", "masking")


async def test_where_it_is_not_ours_to_do_a_line_says_what_to_do(
    temporal: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> None:
        raise RPCError("no", RPCStatusCode.PERMISSION_DENIED, b"")

    monkeypatch.setattr(temporal_setup, "register_attributes", refused)
    monkeypatch.setattr(temporal_setup, "ensure_endpoint", refused)
    said: list[str] = []
    await temporal_setup.prepare_namespace(temporal, said.append, lookup=True)
    assert len(said) == 2
    assert all("docs/client.md" in line and "PERMISSION_DENIED" in line for line in said)
    await temporal_setup.prepare_namespace(temporal, said.append, lookup=False)
    assert len(said) == 3


def test_a_partys_hash_is_keyed_and_is_not_that_of_the_database(keyring: Keyring) -> None:
    hashed = party_hash(keyring)
    other = Keyring({"k": b"3" * 32}, "k", b"4" * 32)
    assert hashed(FIRST) == hashed(FIRST) != hashed(SECOND)
    assert hashed(FIRST) != party_hash(other)(FIRST)
    assert not identity_hash(keyring, "number", FIRST).hex().startswith(hashed(FIRST))
