"""Keys rotate in the middle of a call; what was altered is told, and loses no session."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from masking.contract import session_workflow_id
from masking.privacy import keyring as keyrings
from masking.privacy.key_files import add_master_key, load_keyring
from masking.privacy.keyring import Keyring
from masking.privacy.payload_codec import ENCODING
from masking.privacy.payload_keys import named
from masking.settings import Settings
from masking.storage.creates import UnansweredCreates
from masking.storage.database import Database
from masking.storage.rewrapping import PLACES, rewrap_some, uses
from masking.temporal import masking_plugin
from tests.conftest import KEYS
from tests.integration.conftest import Receiver, System, served
from tests.integration.reported_calls import SECOND, create, rest_of_call, ring_at, whole_call
from tests.integration.telephone import heard
from tests.integration.test_sessions_api import error_of
from worker import working

pytestmark = pytest.mark.anyio


async def keys_of_history(client: Client, session_uuid: str) -> set[str]:
    """The ids of the keys under which the payloads of its workflow are."""
    found: set[str] = set()

    def look(message: object) -> None:
        if isinstance(message, Payload):
            # What the SDK notes of a local activity for itself is not encrypted, and tells nothing of the session.
            if message.metadata["encoding"] == ENCODING:
                found.add(named(message.metadata))
            return
        for field, value in getattr(message, "ListFields", list)():
            if field.message_type is None:
                continue
            values = value.values() if hasattr(value, "values") else value if hasattr(value, "append") else [value]
            for each in values:
                look(each)

    handle = client.get_workflow_handle(session_workflow_id(session_uuid))
    async for event in handle.fetch_history_events():
        look(event)
    return found


async def rewrap(database: Database, keyring: Keyring) -> None:
    async with database.transaction() as connection:
        for place in PLACES:
            await rewrap_some(connection, keyring, place, None)


async def test_a_key_rotates_and_everything_is_moved_in_the_middle_of_a_call(
    database: Database,
    temporal: Client,
    creates: UnansweredCreates,
    settings: Settings,
    task_queue: str,
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keyrings, "FOLLOW_EVERY_S", 0.0)
    file = tmp_path / "keys.json"
    file.write_text(KEYS)
    # The gateway, the worker and the operator each have read the file for themselves.
    gateways, workers, operators = (load_keyring(Settings(keys_file=file)) for _ in range(3))
    address = temporal.service_client.config.target_host
    clients = [await Client.connect(address, plugins=[masking_plugin(ring)]) for ring in (gateways, workers)]
    async with (
        working(clients[1], database, workers, settings, task_queue),
        served(database, gateways, clients[0], creates, settings, task_queue) as system,
    ):
        session = await create(system, callback_url=receiver.url)
        call_uuid, uuid = str(uuid4()), session["session_uuid"]
        document = await ring_at(system, session["virtual_number"], SECOND, call_uuid)
        await heard(receiver, "SessionFirstPartyAnswer")

        assert add_master_key(file) == "k2"
        await rewrap(database, operators)
        async with database.transaction() as connection:
            assert {use.key_id for use in await uses(connection)} == {"k2"}

        await rest_of_call(system, document, call_uuid)
        await heard(receiver, "SessionPartiesHangup")
        assert (await system.http.delete(f"{system.api}/{uuid}/")).status_code == 200
        bill = await asyncio.wait_for(system.sessions.final_bill(uuid), 30)
        await heard(receiver, "SessionTimeout")
        assert await keys_of_history(clients[0], uuid) == {f"session-{uuid}"}, "which key wraps this one is no matter"
    assert bill.calls.call_count == 2
    numbers = sorted(int(each["SequenceNumber"]) for each in receiver.requests)
    assert numbers == list(range(1, 8))


async def test_what_was_altered_is_told_and_the_session_writes_it_anew(system: System) -> None:
    session = await create(system)
    address = f"{system.api}/{session['session_uuid']}/"
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE sessions SET sealed_session = set_byte(sealed_session, 20, 0) || '\\x00'")
    assert error_of(await system.http.get(address)) == (
        500, "What is stored of this cannot be decrypted at the moment.",
    )  # fmt: skip

    await system.sessions.extend(session["session_uuid"], 7200)
    restored = (await system.http.get(address)).json()["response"]
    assert restored["first_party"] == session["first_party"]
    assert restored["duration"] >= 7200
    await whole_call(system, session, str(uuid4()))
    await system.sessions.expire(session["session_uuid"])
    bill = await asyncio.wait_for(system.sessions.final_bill(session["session_uuid"]), 30)
    assert bill.calls.call_count == 2
