"""Sessions in Temporal's lists."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import TimeSkipper

from masking.client import MaskingClient, NewSession, NumberPoolExhausted
from masking.contract import session_workflow_id
from masking.lookup import ACCOUNT, ATTRIBUTES, CARRIER, EXPIRY, PARTIES, STATUS
from masking.privacy.keyring import Keyring
from masking.privacy.party_hash import party_hash
from tests.domain.conversation import FIRST, SECOND
from tests.workflow.conftest import Remembered
from tests.workflow.test_masking_session import fresh

pytestmark = pytest.mark.anyio


async def found(client: Client, query: str, expected: set[str]) -> None:
    """Wait until a list shows these sessions, by their ids; lists lag behind."""
    ids = {session_workflow_id(uuid) for uuid in expected}
    async with asyncio.timeout(30):
        while {each.id async for each in client.list_workflows(query)} != ids:  # noqa: ASYNC110 it lags
            await asyncio.sleep(0.05)


async def test_lists_find_sessions_by_account_status_expiry_carrier_and_party(
    environment: TimeSkipper, client: Client, task_queue: str, keyring: Keyring, remembered: Remembered
) -> None:
    hashed = party_hash(keyring)
    sessions = MaskingClient(client, task_queue=task_queue, party_hash=hashed)
    account, sub = f"MA{uuid4().hex[:18].upper()}", f"SA{uuid4().hex[:18].upper()}"

    def wanted(second: str, expiry: int, subaccount: str | None = None) -> NewSession:
        return NewSession(
            account_id=account,
            subaccount_id=subaccount,
            first_party=FIRST,
            second_party=second,
            session_expiry=expiry,
        )

    with environment.with_time_skipping_disabled():
        short = (await sessions.start(wanted(SECOND, 600))).session_uuid
        long = (await sessions.start(wanted("+12025550133", 7200))).session_uuid
        other = (await sessions.start(wanted(SECOND, 7200, sub))).session_uuid
        remembered.number = None
        with pytest.raises(NumberPoolExhausted):
            await sessions.start(wanted(SECOND, 7200).model_copy(update={"idempotency_key": account}))
        refused = wanted(SECOND, 7200).model_copy(update={"idempotency_key": account}).session_uuid()
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        mine = f"MaskingAccount IN ('{account}', '{sub}')"

        await found(client, f"MaskingAccount = '{account}'", {short, long, refused})
        await found(client, f"MaskingAccount = '{sub}'", {other})
        await found(client, f"{mine} AND MaskingStatus = 'active'", {short, long, other})
        await found(client, f"{mine} AND MaskingStatus = 'refused'", {refused})
        await found(client, f"{mine} AND MaskingStatus = 'active' AND MaskingExpiry < '{soon}'", {short})
        await found(client, f"{mine} AND MaskingCarrier = 'voice' AND MaskingStatus = 'active'", {short, long, other})
        await found(client, f"MaskingAccount = '{account}' AND MaskingParties = '{hashed('+12025550133')}'", {long})
        await sessions.expire(long)
        await sessions.final_bill(long)
        await found(client, f"{mine} AND MaskingStatus = 'expired' AND MaskingExpiry < '{soon}'", {long})
        for uuid in (short, other):
            await sessions.expire(uuid)


async def test_temporal_takes_every_saved_query_of_the_docs(client: Client) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "client.md").read_text()
    _, _, table = page.partition("| To see | Query |")
    queries = re.findall(r"^\|[^|]*\| `(.*?)`", table.partition("**Registering")[0], re.MULTILINE)
    assert len(queries) == 6
    for query in queries:
        assert (await client.count_workflows(query)).count >= 0
    with pytest.raises(RPCError):
        await client.count_workflows("MaskingStatusQuo = 'active'")


async def test_what_lists_show_holds_no_number_and_costs_one_command_at_the_end(
    environment: TimeSkipper, client: Client, task_queue: str, keyring: Keyring, remembered: Remembered
) -> None:
    sessions, asked = MaskingClient(client, task_queue=task_queue, party_hash=party_hash(keyring)), fresh()
    handle = client.get_workflow_handle(session_workflow_id(asked.session_uuid))
    with environment.with_time_skipping_disabled():
        await sessions.start(asked)
        await sessions.extend(asked.session_uuid, 7200)
        ended = await sessions.expire(asked.session_uuid)
        await sessions.final_bill(asked.session_uuid)

    history = await handle.fetch_history()
    told = [event for event in history.events if event.HasField("upsert_workflow_search_attributes_event_attributes")]
    described = await handle.describe()

    assert len(told) == 1
    assert described.typed_search_attributes.get(STATUS) == "expired"
    assert described.typed_search_attributes.get(EXPIRY) == ended.expires_at
    assert {pair.key.name for pair in described.typed_search_attributes} >= {
        key.name for key in (ACCOUNT, CARRIER, PARTIES)
    }
    in_the_clear = b"".join(
        event.workflow_execution_started_event_attributes.search_attributes.SerializeToString()
        + event.upsert_workflow_search_attributes_event_attributes.SerializeToString()
        for event in history.events
    )
    for number in (FIRST, SECOND):
        assert number.removeprefix("+").encode() not in in_the_clear


async def test_a_session_whose_starter_cannot_hash_its_parties_tells_them_once_it_is_open_for_one_command(
    environment: TimeSkipper, client: Client, task_queue: str, remembered: Remembered
) -> None:
    remembered.parties = (f"hash-{uuid4()}", f"hash-{uuid4()}")
    sessions, asked = MaskingClient(client, task_queue=task_queue), fresh()
    with environment.with_time_skipping_disabled():
        await sessions.start(asked)
        for party in remembered.parties:
            await found(client, f"MaskingParties = '{party}' AND MaskingStatus = 'active'", {asked.session_uuid})
        await sessions.expire(asked.session_uuid)
        await sessions.final_bill(asked.session_uuid)
    history = await client.get_workflow_handle(session_workflow_id(asked.session_uuid)).fetch_history()
    told = [event for event in history.events if event.HasField("upsert_workflow_search_attributes_event_attributes")]
    assert [set(each.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields)
            for each in told] == [{"MaskingParties"}, {"MaskingStatus", "MaskingExpiry"}]  # fmt: skip


async def test_a_session_that_was_started_without_attributes_tells_lists_nothing(
    environment: TimeSkipper, client: Client, task_queue: str, remembered: Remembered
) -> None:
    remembered.parties = ("a-hash",)
    sessions, asked = MaskingClient(client, task_queue=task_queue, lookup=False), fresh()
    with environment.with_time_skipping_disabled():
        await sessions.start(asked)
        await sessions.expire(asked.session_uuid)
        await sessions.final_bill(asked.session_uuid)
    history = await client.get_workflow_handle(session_workflow_id(asked.session_uuid)).fetch_history()
    kinds = {event.event_type for event in history.events}
    assert EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES not in kinds


def test_the_attributes_fit_what_a_namespace_allows() -> None:
    """Of key word lists and dates a SQL-based namespace has few."""
    assert len({key.name for key in ATTRIBUTES}) == len(ATTRIBUTES) <= 5
