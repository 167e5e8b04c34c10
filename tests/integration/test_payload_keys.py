"""A session's payloads are under its own key; what other services write and read, under the key of its day."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from masking.audit.export import export
from masking.audit.payloads import payloads_of
from masking.client import (
    CallEvent,
    MaskingClient,
    NumberPoolExhausted,
    OutcomeUnknown,
    SessionAlreadyExpired,
    SessionEvent,
)
from masking.contract import session_workflow_id
from masking.domain.terms import Change, SessionRequest
from masking.erasure.retention import sweep
from masking.gateway.codec_endpoint import codec_served
from masking.lookup import PARTIES
from masking.privacy.ingress import ingress_key_id
from masking.privacy.key_files import load_keyring
from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.party_hash import party_hash
from masking.privacy.payload_codec import ENCODING, EncryptingCodec
from masking.privacy.payload_keys import UNDER_MASTER, named
from masking.settings import Settings
from masking.storage.creates import UnansweredCreates
from masking.storage.database import Database
from masking.storage.ingress_keys import make_ahead
from masking.storage.payload_keys import StoredPayloadKeys
from masking.temporal import masking_plugin
from tests.conftest import KEYS
from tests.domain import conversation
from tests.integration.conftest import Receiver, System, served
from tests.integration.reported_calls import FIRST, create, rest_of_call, ring_at
from tests.integration.test_codec_endpoint import ALICE, Endpoint, settings_of
from tests.integration.test_erasure import Operator, operator, settled, turned_back
from tests.operate.test_keys import Operator as KeyOperator
from worker import working

__all__ = ["operator"]

pytestmark = pytest.mark.anyio

_numbers = itertools.count(1000)


def request() -> SessionRequest:
    """A session asked for, without callbacks, for parties of its own."""
    base, n = conversation.request(callbacks=False), next(_numbers)
    terms = base.terms.model_copy(update={"first_party": f"+1202557{n:04d}", "second_party": f"+1202558{n:04d}"})
    return base.model_copy(update={"session_uuid": str(uuid4()), "terms": terms})


async def history(client: Client, session_uuid: str) -> list[HistoryEvent]:
    """A copy of all that Temporal has of a session, as a backup would."""
    fetched = await client.get_workflow_handle(session_workflow_id(session_uuid)).fetch_history()
    return [HistoryEvent.FromString(event.SerializeToString()) for event in fetched.events]


def sealed(events: Sequence[HistoryEvent]) -> dict[str, list[Payload]]:
    """The encrypted payloads of a history, by the ids of their keys."""
    found: dict[str, list[Payload]] = {}
    for event in events:
        for payload in payloads_of(event):
            if payload.metadata.get("encoding") == ENCODING:
                found.setdefault(named(payload.metadata), []).append(payload)
    return found


async def unreadable(codec: EncryptingCodec, payloads: Sequence[Payload]) -> bool:
    """Whether not a single one can be decoded."""
    for payload in payloads:
        try:
            await codec.decode([payload])
        except Unreadable:
            continue
        return False
    return True


def fresh(database: Database, keyring: Keyring) -> EncryptingCodec:
    """The codec of a process that knows no key yet."""
    return EncryptingCodec(keyring, StoredPayloadKeys(database, keyring))


async def test_a_copy_of_a_history_is_unreadable_as_soon_as_the_session_is_erased(
    system: System, receiver: Receiver, operator: Operator, keyring: Keyring
) -> None:
    uuid = await settled(system, receiver)
    backup = sealed(await history(system.client, uuid))
    assert set(backup) == {f"session-{uuid}"}, "all is under the session's own key, its start too"
    payloads = backup[f"session-{uuid}"]
    assert await unreadable(EncryptingCodec(keyring), payloads), "the key ring alone reads nothing"
    decoded = await fresh(system.database, keyring).decode(payloads)
    assert any(FIRST.encode() in payload.data for payload in decoded)

    settings = settings_of()
    content = json_format.MessageToJson(Payloads(payloads=payloads))
    async with codec_served(system.database, keyring, settings), httpx.AsyncClient(trust_env=False) as http:
        endpoint = Endpoint(settings.codec_url, http, system.database)
        shown = await endpoint.decode(content, ALICE)
        assert FIRST in b"".join(base64.b64decode(each["data"]) for each in shown.json()["payloads"]).decode()
        assert (await endpoint.looks())[-1][2:4] == (uuid, len(payloads)), "that it was shown is noted"

        (certificate,) = (await operator.erases(uuid))["erased"]
        assert certificate["temporal_backups"].startswith("unreadable, but for updates by other services")
        assert (await endpoint.decode(content, ALICE)).status_code == 400
    assert await unreadable(fresh(system.database, keyring), payloads)
    with pytest.raises(Unreadable, match="the session was erased: its key is destroyed"):
        await fresh(system.database, keyring).decode(payloads[:1])


class Service:
    """Another service: it has a Temporal client and a file of ingress keys, and nothing else."""

    def __init__(self, client: Client, keyring: Keyring, task_queue: str) -> None:
        self.codec = EncryptingCodec(keyring)
        self.sessions = MaskingClient(client, task_queue=task_queue)


@pytest.fixture
def today() -> str:
    """The id of today's ingress key."""
    return ingress_key_id(datetime.now(UTC).date())


@pytest.fixture
def keys_operator(migrated_url: str, tmp_path: Path, keyring: Keyring) -> KeyOperator:
    (tmp_path / "keys.json").write_text(KEYS)
    return KeyOperator(migrated_url, tmp_path / "keys.json")


@pytest.fixture
async def service(keys_operator: KeyOperator, temporal: Client, task_queue: str, tmp_path: Path, today: str) -> Service:
    file = tmp_path / "ingress.json"
    told = await keys_operator.told("ingress", "export", str(file), "--days", "2")
    assert told["keys"][0] == today
    assert file.stat().st_mode & 0o077 == 0
    ring = load_keyring(Settings(keys_file=file))
    address = temporal.service_client.config.target_host
    return Service(await Client.connect(address, plugins=[masking_plugin(ring)]), ring, task_queue)


async def test_a_service_with_ingress_keys_alone_starts_changes_and_ends_sessions_and_reads_no_more_than_that(
    system: System, service: Service, operator: Operator, keyring: Keyring, today: str
) -> None:
    asked = request()
    uuid = asked.session_uuid
    opened = await service.sessions.start(asked)
    number = opened.virtual_number
    assert (await service.sessions.start(asked)).virtual_number == number
    assert (await service.sessions.extend(uuid, 7200)).expires_at > opened.expires_at
    await service.sessions.modify(uuid, Change(record=False))
    assert (await service.sessions.snapshot(uuid)).virtual_number == number
    # So does the API, to which it is a session as any other.
    assert (await system.sessions.extend(uuid, 3600)).virtual_number == number
    assert (await service.sessions.expire(uuid)).session_uuid == uuid
    bill = await asyncio.wait_for(service.sessions.final_bill(uuid), 30)
    assert bill == await system.sessions.final_bill(uuid)
    with pytest.raises(SessionAlreadyExpired):
        await service.sessions.extend(uuid, 3600)
    assert "settled" in await service.sessions.story(uuid)

    # It has no look-up key; lists find its sessions by their parties all the same.
    described = await system.client.get_workflow_handle(session_workflow_id(uuid)).describe()
    hashed = party_hash(keyring)
    assert described.typed_search_attributes.get(PARTIES) == [hashed(each) for each in asked.terms.parties.values()]

    backup = sealed(await history(system.client, uuid))
    assert set(backup) == {today, f"session-{uuid}"}
    assert await unreadable(service.codec, backup[f"session-{uuid}"])
    inner = await fresh(system.database, keyring).decode(backup[f"session-{uuid}"])
    party = asked.terms.first_party.encode()
    assert any(party in payload.data for payload in inner)
    assert any(party in payload.data for payload in await service.codec.decode(backup[today])), "its own start"
    of_tomorrow = EncryptingCodec(Keyring({today: b"t" * 32}, today, b""))
    assert await unreadable(of_tomorrow, backup[today])
    made = await export(system.client, system.database, keyring, uuid, commit="")
    assert len(list(made.lines)) > 10

    # Erased, what belongs to it is gone; its start remains until the key of the day is destroyed.
    await turned_back(system.database, timedelta(days=2))
    (certificate,) = (await operator.erases(uuid))["erased"]
    assert today in certificate["temporal_backups"]
    assert await unreadable(fresh(system.database, keyring), backup[f"session-{uuid}"])
    assert not await unreadable(fresh(system.database, keyring), backup[today])
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE ingress_keys SET key_id = '', wrapped_key = '', destroyed_at = now()")
    assert await unreadable(fresh(system.database, keyring), [*backup[today], *backup[f"session-{uuid}"]])


async def test_a_service_follows_the_calls_of_its_session_and_reads_no_number(
    system: System, service: Service, keyring: Keyring
) -> None:
    asked, call_uuid = request(), str(uuid4())
    uuid, terms = asked.session_uuid, asked.terms
    number = (await service.sessions.start(asked)).virtual_number
    document = await ring_at(system, number.removeprefix("+"), terms.second_party.removeprefix("+"), call_uuid)
    await rest_of_call(system, document, call_uuid)
    told: list[SessionEvent] = []
    async with asyncio.timeout(60):
        async for event in service.sessions.events(uuid):
            told.append(event)
            if isinstance(event, CallEvent) and event.what == "hangup" and event.leg == "caller":
                await service.sessions.expire(uuid)

    assert told[0].kind == "opened"
    assert [event.kind for event in told[-2:]] == ["expired", "settled"]
    calls = [event for event in told if isinstance(event, CallEvent)]
    assert [(event.what, event.leg, event.duration) for event in calls if event.leg is not None] == [
        ("answer", "caller", None),
        ("answer", "callee", None),
        ("hangup", "callee", 61),
        ("hangup", "caller", 65),
    ]
    assert {event.call_uuid for event in calls} == {call_uuid}
    headers = [
        event.workflow_execution_signaled_event_attributes.header.fields["masking-told"]
        for event in await history(system.client, uuid)
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]
    decoded = b"".join(payload.data for payload in await service.codec.decode(headers))
    assert call_uuid.encode() in decoded
    for party in (terms.first_party, terms.second_party):
        assert party[1:].encode() not in decoded
    # A stream of a session that our gateway started is not a service's to read.
    ours = await create(system, first_party="12025550165", second_party="12025550166")
    with pytest.raises(Unreadable):
        await anext(service.sessions.events(ours["session_uuid"]))
    assert not any(
        event.workflow_execution_signaled_event_attributes.header.fields
        for event in await history(system.client, ours["session_uuid"])
    )


async def test_a_refused_start_tells_a_service_why(
    system: System, service: Service, keyring: Keyring, today: str
) -> None:
    async with system.database.transaction() as connection:
        await connection.execute("DELETE FROM numbers")
    asked = request()
    with pytest.raises(NumberPoolExhausted, match="Number pool exhausted"):
        await service.sessions.start(asked)
    assert set(sealed(await history(system.client, asked.session_uuid))) == {today}

    # One that our gateway started has a key of its own, which goes when it was kept long enough.
    body = {"first_party": "12025550161", "second_party": "12025550162"}
    assert (await system.http.post(f"{system.api}/", json=body)).status_code == 400
    async with system.database.transaction() as connection:
        ((refused,),) = await (await connection.execute("SELECT session_uuid FROM session_keys")).fetchall()
    backup = sealed(await history(system.client, str(refused)))
    assert set(backup) == {f"session-{refused}"}
    assert not await unreadable(fresh(system.database, keyring), backup[f"session-{refused}"])
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE session_keys SET made_at = made_at - interval '3 days'")
    await sweep(system.database, keyring, system.client, timedelta(days=1))
    assert await unreadable(fresh(system.database, keyring), backup[f"session-{refused}"])


async def test_a_worker_that_knows_no_key_goes_on_with_every_session(
    database: Database, temporal: Client, creates: UnansweredCreates, settings: Settings, task_queue: str,
    keyring: Keyring, service: Service, monkeypatch: pytest.MonkeyPatch, today: str,
) -> None:  # fmt: skip
    """Also while PostgreSQL is away: then the workflow's task waits."""
    asked = request()
    uuid = asked.session_uuid
    async with served(database, keyring, temporal, creates, settings, task_queue) as system:
        async with working(temporal, database, keyring, settings, task_queue):
            session = await create(system, first_party="12025550163", second_party="12025550164")
            await service.sessions.start(asked)

        asked_for = []

        async def away(*given: object) -> None:
            asked_for.append(given)
            raise psycopg.OperationalError("away")

        async with working(temporal, database, keyring, settings, task_queue):
            with monkeypatch.context() as outage:
                outage.setattr("masking.storage.payload_keys.read_payload_key", away)
                hasty = MaskingClient(service.sessions._client, task_queue=task_queue, timeout=timedelta(seconds=2))
                while not asked_for:
                    # The worker asks, and is told nothing; it may take its time to ask.
                    with pytest.raises(OutcomeUnknown):
                        await hasty.extend(uuid, 7200, update_id="once")
            async with asyncio.timeout(60):
                while True:
                    try:
                        told = await service.sessions.extend(uuid, 7200, update_id="once")
                        break
                    except OutcomeUnknown:
                        await asyncio.sleep(0.5)
            assert told.session_uuid == uuid
            await system.sessions.extend(session["session_uuid"], 7200)
            for each in (uuid, session["session_uuid"]):
                await system.sessions.expire(each)
                await asyncio.wait_for(system.sessions.final_bill(each), 30)
            await asyncio.wait_for(service.sessions.final_bill(uuid), 30)
        assert set(sealed(await history(temporal, uuid))) == {today, f"session-{uuid}"}


async def test_what_a_row_says_is_what_a_new_run_writes_under(
    database: Database, keyring: Keyring, task_queue: str, worker: None, service: Service, temporal: Client, today: str
) -> None:
    """A run that continues another has no service's start to go by; a session of before has no key of its own."""
    del worker
    asked = request()
    await service.sessions.start(asked)
    keys = StoredPayloadKeys(database, keyring, runs_workflows=True)
    writing = await keys.writing(asked.session_uuid)
    assert writing.inner is not None
    assert writing.answers is not None
    assert (writing.inner.key_id, writing.answers.key_id) == (f"session-{asked.session_uuid}", today)

    with_ring = request()
    await MaskingClient(temporal, task_queue=task_queue).start(with_ring)
    writing = await StoredPayloadKeys(database, keyring).writing(with_ring.session_uuid)
    assert writing.inner is not None
    assert (writing.inner.key_id, writing.answers) == (f"session-{with_ring.session_uuid}", None)

    few = StoredPayloadKeys(database, keyring, most=1)
    for uuid in (asked.session_uuid, with_ring.session_uuid, asked.session_uuid):
        assert (await few.reading(f"session-{uuid}")).key_id == f"session-{uuid}", "asked for again"

    async with database.transaction() as connection:
        await connection.execute("UPDATE sessions SET answers_under = NULL")
    assert await StoredPayloadKeys(database, keyring).writing(asked.session_uuid) == UNDER_MASTER
    assert await StoredPayloadKeys(database, keyring).writing(str(uuid4())) == UNDER_MASTER


async def test_what_is_started_here_and_opened_elsewhere_is_told_of_under_its_own_key(
    database: Database, keyring: Keyring, task_queue: str, worker: None, service: Service, today: str
) -> None:
    """As where one worker serves the Nexus operation, and another runs the workflow."""
    asked = request()
    uuid, keys = asked.session_uuid, StoredPayloadKeys(database, keyring, runs_workflows=True)
    assert await keys.begin(uuid, today) == today
    assert [key and key.key_id for key in (await keys.writing(uuid))[:2]] == [today, today]
    await keys.look_again(uuid)
    assert (await keys.begin(str(uuid4()), today, bill_in_clear=True)) == "clear"
    await service.sessions.start(asked)
    await keys.look_again(uuid)
    writing = await keys.writing(uuid)
    assert writing.inner is not None
    assert writing.inner.key_id == f"session-{uuid}"
    assert await keys.begin(uuid, "k1") == today, "somebody else's start does not change it"


async def test_the_key_of_a_day_lives_as_long_as_a_session_that_lived_on_it_is_kept(
    system: System, keys_operator: KeyOperator, keyring: Keyring
) -> None:
    now, kept = datetime.now(UTC), timedelta(days=90)
    ago = [(now - timedelta(days=days)).date() for days in (200, 150, 100, 91, 5)]
    async with system.database.transaction() as connection:
        for day in ago:
            await make_ahead(connection, keyring, 1, day)
    session = await create(system)
    await system.sessions.expire(session["session_uuid"])
    await asyncio.wait_for(system.sessions.final_bill(session["session_uuid"]), 30)
    async with system.database.transaction() as connection:
        await connection.execute(
            "UPDATE sessions SET created_at = now() - interval '160 days', settled_at = now() - interval '95 days'"
        )
        await connection.execute(
            "INSERT INTO legal_holds (session_uuid, reason) SELECT session_uuid, 'case' FROM sessions"
        )

    await sweep(system.database, keyring, system.client, kept)
    listed = (await keys_operator.told("ingress", "list"))["ingress_keys"]
    destroyed = [key["key_id"] for key in listed if key["destroyed_at"]]
    assert destroyed == [ingress_key_id(ago[0])], "the session lived on two of the days, and the last two are young"
    assert [key["kept_sessions"] for key in listed] == [0, 1, 1, 0, 0]

    async with system.database.transaction() as connection:
        await connection.execute("DELETE FROM legal_holds")
        await connection.execute("DELETE FROM routes")
    await sweep(system.database, keyring, system.client, kept)
    listed = (await keys_operator.told("ingress", "list"))["ingress_keys"]
    assert [bool(key["destroyed_at"]) for key in listed] == [True, True, True, False, False]


async def test_an_operator_destroys_a_day_unless_a_session_would_be_lost(
    system: System, keys_operator: KeyOperator, keyring: Keyring, tmp_path: Path
) -> None:
    today = datetime.now(UTC).date()
    day = today - timedelta(days=5)
    async with system.database.transaction() as connection:
        await make_ahead(connection, keyring, 1, day)
        await make_ahead(connection, keyring, 1, today)
    exported = ("ingress", "export", str(tmp_path / "service.json"), "--days", "1", "--back", "5")
    assert (await keys_operator.told(*exported))["keys"] == [ingress_key_id(day), ingress_key_id(today)]
    session = await create(system)
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE sessions SET created_at = created_at - interval '6 days'")
    for which, why in (
        (day, "1 sessions that lived on its day are open"),
        (today, "services may still write under it"),
        (day - timedelta(days=1), "there is no such key"),
    ):
        done = await keys_operator.runs("ingress", "destroy", str(which), "--yes")
        assert (done.exit_code, why in done.stderr) == (2, True), done.output
    await system.sessions.expire(session["session_uuid"])
    await asyncio.wait_for(system.sessions.final_bill(session["session_uuid"]), 30)
    assert "add --yes" in (await keys_operator.runs("ingress", "destroy", str(day))).stderr
    assert await keys_operator.told("ingress", "destroy", str(day), "--yes") == {"destroyed": ingress_key_id(day)}
    with pytest.raises(Unreadable, match="was destroyed at"):
        await StoredPayloadKeys(system.database, keyring).reading(ingress_key_id(day))
    assert (await keys_operator.told(*exported))["keys"] == [ingress_key_id(today)]
