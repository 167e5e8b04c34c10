"""A team in another namespace, with none of our code, has sessions by Nexus: by a codec of its own, or in the clear."""

from __future__ import annotations

import ast
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    DefaultPayloadConverter,
    PayloadCodec,
)
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from examples.nexus.codec import MaskingCodec, ingress_keys
from examples.nexus.workflow import Bill, NexusRide, Ride
from masking.audit.payloads import payloads_of
from masking.client import MaskingClient, NewSession
from masking.client.new_session import session_uuid_of
from masking.contract import session_workflow_id
from masking.lookup import PARTIES
from masking.privacy.ingress import ingress_file
from masking.privacy.keyring import Keyring
from masking.privacy.party_hash import party_hash
from masking.storage.database import Database
from masking.storage.ingress_keys import make_ahead, read_ingress_keys
from masking.temporal_setup import ensure_endpoint
from tests.conftest import ACCOUNT
from tests.domain.conversation import FIRST, SECOND
from tests.integration.conftest import System, another_namespace
from tests.integration.test_payload_keys import history, sealed, today

__all__ = ["today"]

pytestmark = pytest.mark.anyio

THEIRS = Path(__file__).parent.parent.parent / "examples" / "nexus"
IN_CLEAR = pytest.mark.parametrize("more_settings", [{"nexus_clear": True}], indirect=True)


@pytest.fixture
def more_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(getattr(request, "param", {}))


class TheirOwnCodec(PayloadCodec):
    """What the team encrypts everything else with, under a key that we never see."""

    _cipher = AESGCM(b"t" * 32)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": b"binary/theirs"}, data=self._cipher.encrypt(b"n" * 12, each, None))
            for each in (payload.SerializeToString() for payload in payloads)
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload.FromString(self._cipher.decrypt(b"n" * 12, payload.data, None))
            if payload.metadata["encoding"] == b"binary/theirs"
            else payload
            for payload in payloads
        ]


def own_codec(codec: PayloadCodec) -> DataConverter:
    return DataConverter(
        payload_converter_class=DefaultPayloadConverter,
        payload_codec=codec,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


@pytest.fixture
async def ingress(database: Database, keyring: Keyring) -> dict[str, bytes]:
    """What the operator hands to the team: the content of a file, read as the team reads it."""
    today = datetime.now(UTC).date()
    async with database.transaction() as connection:
        await make_ahead(connection, keyring, 1)
        keys = await read_ingress_keys(connection, keyring, today, today)
    return ingress_keys(ingress_file(keys))


class Team(NamedTuple):
    """Their namespace, and what they know of us."""

    client: Client
    queue: str
    endpoint: str

    async def start(self, key: str, **more: Any) -> WorkflowHandle[NexusRide, Bill]:
        ride = Ride(**{
            "ride_id": key, "account_id": ACCOUNT, "rider": FIRST, "driver": SECOND, "endpoint": self.endpoint, **more
        })  # fmt: skip
        return await self.client.start_workflow(NexusRide.run, ride, id=f"ride-{uuid4()}", task_queue=self.queue)

    async def begun(self, key: str) -> WorkflowHandle[NexusRide, Bill]:
        """A ride whose session is open."""
        handle = await self.start(key)
        async with asyncio.timeout(30):
            while not await handle.query(NexusRide.number):  # noqa: ASYNC110 it is across the network
                await asyncio.sleep(0.1)
        return handle

    async def ended(self, handle: WorkflowHandle[NexusRide, Bill]) -> Bill:
        await handle.signal(NexusRide.dropped_off)
        async with asyncio.timeout(30):
            return await handle.result()


@asynccontextmanager
async def team(temporal: Client, task_queue: str, converter: DataConverter) -> AsyncIterator[Team]:
    endpoint, queue = f"masking-{uuid4().hex[:8]}", f"rides-{uuid4()}"
    await ensure_endpoint(temporal, endpoint, task_queue)
    theirs = await another_namespace(temporal, "rides-of-others", data_converter=converter)
    async with Worker(theirs, task_queue=queue, workflows=[NexusRide]):
        yield Team(theirs, queue, endpoint)


async def messages_of(handle: WorkflowHandle[NexusRide, Bill]) -> list[str]:
    """What a ride failed with, as its team reads it, from the outside in; and that it is final."""
    with pytest.raises(WorkflowFailureError) as told:
        async with asyncio.timeout(30):
            await handle.result()
    chain: list[BaseException] = []
    failure: BaseException | None = told.value
    while failure is not None:
        chain.append(failure)
        failure = failure.__cause__
    assert isinstance(chain[-1], ApplicationError)
    return [chain[-1].type or "", chain[-1].message]


async def all_of_ours(client: Client, task_queue: str) -> bytes:
    """Every byte of every history of this system, with its list entries; other tests use the server, too."""
    found = b""
    async for each in client.list_workflows(f"TaskQueue = '{task_queue}'"):
        run = await client.get_workflow_handle(each.id, run_id=each.run_id).fetch_history()
        found += b"".join(event.SerializeToString() for event in run.events) + each.raw_info.SerializeToString()
    return found


def of_ours(payload: Payload) -> bool:
    """Whether a payload is ours and in the clear. The SDK's own and search attributes always are."""
    is_of_sdk = b"complete_time" in payload.data or "type" in payload.metadata
    return payload.metadata["encoding"] == b"json/plain" and not is_of_sdk


async def appears(client: Client, session_uuid: str) -> None:
    """Wait until lists know the session."""
    async with asyncio.timeout(30):
        while (await client.count_workflows(f"WorkflowId = '{session_workflow_id(session_uuid)}'")).count == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def test_what_the_team_has_imports_nothing_of_ours() -> None:
    for file in THEIRS.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.split(".")[0] for name in names if not name.startswith("examples.nexus.")}
            assert roots - set(sys.stdlib_module_names) <= {"temporalio", "cryptography", "google"}, file


async def test_a_team_with_a_codec_of_its_own_has_sessions_and_nothing_is_in_the_clear(
    system: System, temporal: Client, task_queue: str, ingress: dict[str, bytes], keyring: Keyring, today: str
) -> None:
    key = f"ride-{uuid4()}"
    converter = own_codec(MaskingCodec(ingress, own=TheirOwnCodec()))
    async with team(temporal, task_queue, converter) as theirs:
        ride = await theirs.begun(key)
        bill = await theirs.ended(ride)
        events = (await ride.fetch_history()).events
    uuid = session_uuid_of(ACCOUNT, key)
    ours = await system.sessions.snapshot(uuid)
    assert (bill.session_uuid, bill.session_amount) == (uuid, "0")
    assert ours.bill.settled_at is not None
    assert datetime.fromisoformat(str(bill.settled_at)) == ours.bill.settled_at

    # On their side the two meet: what went to us is under our key, all the rest under theirs.
    encodings = {payload.metadata["encoding"] for event in events for payload in payloads_of(event)}
    assert encodings == {b"binary/theirs", b"binary/encrypted"}
    for number in (FIRST, SECOND):
        assert number[1:].encode() not in b"".join(event.SerializeToString() for event in events)
        assert number[1:].encode() not in await all_of_ours(system.client, task_queue)
    # On ours it is as if they had started it by a client: the start and what they read under their key of the day.
    assert set(sealed(await history(system.client, uuid))) == {today, f"session-{uuid}"}
    described = await system.client.get_workflow_handle(session_workflow_id(uuid)).describe()
    hashed = party_hash(keyring)
    assert described.typed_search_attributes.get(PARTIES) == [hashed(FIRST), hashed(SECOND)]


@pytest.mark.parametrize("converter", [DataConverter.default, pydantic_data_converter], ids=["default", "pydantic"])
async def test_a_team_that_writes_in_the_clear_is_refused_and_told_what_to_do(
    converter: DataConverter, system: System, temporal: Client, task_queue: str
) -> None:
    async with team(temporal, task_queue, converter) as theirs:
        _, message = await messages_of(await theirs.start(f"ride-{uuid4()}"))
    assert "the input is in the clear, and its phone numbers with it" in message
    assert "docs/client.md" in message
    assert "MASKING_NEXUS_CLEAR" in message
    assert FIRST[1:].encode() not in await all_of_ours(system.client, task_queue)


@IN_CLEAR
@pytest.mark.parametrize("converter", [DataConverter.default, pydantic_data_converter], ids=["default", "pydantic"])
async def test_where_the_operator_allows_it_a_team_without_a_codec_has_sessions_and_no_party_is_in_the_clear_with_us(
    converter: DataConverter,
    system: System,
    temporal: Client,
    task_queue: str,
    database: Database,
    keyring: Keyring,
    today: str,
) -> None:
    key = f"ride-{uuid4()}"
    async with team(temporal, task_queue, converter) as theirs:
        ride = await theirs.begun(key)
        again = await theirs.begun(key)
        bill = await theirs.ended(ride)
        await again.signal(NexusRide.dropped_off)
        late = await messages_of(again)
        theirs_in_clear = b"".join(event.SerializeToString() for event in (await ride.fetch_history()).events)
    uuid = session_uuid_of(ACCOUNT, key)
    assert bill.session_uuid == uuid
    assert late[0] == "SessionAlreadyExpired", "its own operations come too late by then"
    assert FIRST.encode() in theirs_in_clear, "they chose so"

    await appears(system.client, uuid)
    ours = await all_of_ours(system.client, task_queue)
    assert session_workflow_id(uuid).encode() in ours
    for number in (FIRST, SECOND):
        assert number[1:].encode() not in ours
    events = await history(system.client, uuid)
    in_clear = [json.loads(payload.data) for event in events for payload in payloads_of(event) if of_ours(payload)]
    assert [each["session_uuid"] for each in in_clear] == [uuid], "the bill alone, which names no party"
    # The start is under the key of its day, and everything else under the session's own.
    assert set(sealed(events)) == {today, f"session-{uuid}"}
    async with database.transaction() as connection:
        ((under,),) = await (await connection.execute("SELECT answers_under FROM sessions")).fetchall()
    assert under == "clear"


@IN_CLEAR
async def test_the_bill_of_a_session_that_others_started_stays_theirs(
    system: System, temporal: Client, task_queue: str
) -> None:
    """A caller cannot read it, and is told so instead of waiting for what it could not read."""
    key = f"ride-{uuid4()}"
    wanted = NewSession(
        account_id=ACCOUNT, first_party=FIRST, second_party=SECOND, idempotency_key=key, session_expiry=1800
    )
    opened = await MaskingClient(temporal, task_queue=task_queue).start(wanted)
    async with team(temporal, task_queue, DataConverter.default) as theirs:
        kind, message = await messages_of(await theirs.start(key))
        assert (kind, "alone can read its bill" in message) == ("SessionRefused", True)
        await system.sessions.expire(opened.session_uuid)
        await asyncio.wait_for(system.sessions.final_bill(opened.session_uuid), 30)
        # Closed, it is not the workflow that tells it but we.
        late = await theirs.start(key)
        kind, _ = await messages_of(late)
        assert kind == "SessionAlreadyExpired"


async def test_an_input_under_a_codec_or_a_key_of_somebody_elses_is_refused_for_good(
    system: System, temporal: Client, task_queue: str, ingress: dict[str, bytes], today: str
) -> None:
    async with team(temporal, task_queue, own_codec(TheirOwnCodec())) as theirs:
        _, message = await messages_of(await theirs.start(f"ride-{uuid4()}"))
        assert "binary/theirs, which is not ours" in message
    async with team(temporal, task_queue, own_codec(MaskingCodec({today: b"x" * 32}))) as theirs:
        _, message = await messages_of(await theirs.start(f"ride-{uuid4()}"))
        assert "the input cannot be read: a ciphertext was altered or belongs to another key" in message


async def test_a_refusal_reaches_a_team_with_a_codec_of_its_own(
    system: System, temporal: Client, task_queue: str, ingress: dict[str, bytes]
) -> None:
    async with team(temporal, task_queue, own_codec(MaskingCodec(ingress))) as theirs:
        told = await messages_of(await theirs.start(f"ride-{uuid4()}", account_id="MA000000000000000000"))
        assert told == ["AccountUnknown", "There is no such account or subaccount, or it is disabled."]
        handle = await theirs.start(f"ride-{uuid4()}", session_expiry=5)
        with pytest.raises(WorkflowFailureError) as failed:
            await asyncio.wait_for(handle.result(), 30)
        refused = failed.value.cause
        assert refused is not None
        assert "Input should be greater than or equal to 60" in str(refused.__cause__ and refused.__cause__.__cause__)
