"""`masking sessions resume`: a session whose workflow was lost goes on, and ends as if nothing had been."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowFailureError

from masking.client import CallEvent, IdempotencyConflict, NewSession, SessionEvent, SessionRefused
from masking.client.starting import Starter
from masking.contract import session_workflow_id
from masking.domain.session import Session
from masking.domain.snapshot import SessionSnapshot
from masking.operate import resuming
from masking.operate.resuming import RESUMED, RUNS, Resumer
from masking.privacy.keyring import Keyring
from masking.privacy.party_hash import party_hash
from masking.settings import Settings
from masking.storage.accounts import Principal
from masking.storage.creates import UnansweredCreates
from masking.storage.database import Database
from masking.storage.ledger import ledger_of
from masking.storage.payload_keys import StoredPayloadKeys
from masking.storage.sessions import read_session
from masking.temporal import masking_plugin, with_keys
from tests.conftest import ACCOUNT
from tests.integration.conftest import Receiver, System, another_namespace, served
from tests.integration.reported_calls import create, rest_of_call, ring_at
from tests.integration.telephone import all_delivered, heard
from tests.integration.test_audit import Operator as AuditOperator
from tests.integration.test_audit import states
from tests.integration.test_payload_keys import Service, keys_operator, service, today
from worker import working

__all__ = ["keys_operator", "service", "today"]

pytestmark = pytest.mark.anyio


class Operator(AuditOperator):
    """Has sessions go on, and their evidence verified."""

    def __init__(self, database_url: str, temporal: Client, folder: Path) -> None:
        super().__init__(database_url, temporal, folder)
        self.folder = folder
        self.environment["COLUMNS"] = "200"

    async def resumes(self, *arguments: str, code: int = 0) -> Any:
        return await self.told("sessions", "resume", *arguments, "--yes", code=code)

    async def verified(self, uuid: str, code: int = 0, *, elsewhere: bool = False) -> dict[str, str]:
        """What the checks of a session's pack come to; the same where nothing of the system is at hand."""
        file = self.folder / f"{uuid}.evidence"
        await self.told("audit", "export", uuid, "-o", str(file))
        online = await self.told("audit", "verify", str(file), code=code)
        if elsewhere:
            key = self.folder / "key"
            key.write_text((await self.runs("audit", "key", uuid)).stdout)
            known = ("--offline", "--key", str(key), "--signer", online["public_key"])
            assert states(await self.told("audit", "verify", str(file), *known, code=code)) == states(online)
        return states(online)


@pytest.fixture
def operator(
    migrated_url: str, temporal: Client, task_queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Operator:
    monkeypatch.setattr(resuming, "TASK_QUEUE", task_queue)
    return Operator(migrated_url, temporal, tmp_path)


async def terminated(client: Client, uuid: str) -> None:
    await client.get_workflow_handle(session_workflow_id(uuid)).terminate("by the test")


async def stored(system: System, keyring: Keyring, uuid: str) -> Session:
    async with system.database.transaction() as connection:
        found = await read_session(connection, keyring, Principal(ACCOUNT, None), uuid)
    assert found is not None
    return found


async def taken(stream: AsyncGenerator[SessionEvent, None]) -> list[SessionEvent]:
    return [event async for event in stream]


class Ended:
    """What came of a session, with what differs between any two of them made the same."""

    def __init__(self, bill: Any, callbacks: list[dict[str, str]], entries: list[Any]) -> None:
        self.bill, self.callbacks, self.entries = bill, callbacks, entries

    @classmethod
    async def of(cls, system: System, receiver: Receiver, uuid: str) -> Ended:
        bill = await asyncio.wait_for(system.sessions.final_bill(uuid), 60)
        await heard(receiver, "SessionTimeout")
        await all_delivered(system, uuid)
        async with system.database.transaction() as connection:
            posted = await ledger_of(connection, uuid)
        entries = [{**entry.model_dump(), **_none("session_uuid", "posted_at", "occurred_at", "cause", "leg_uuid")}
                   for entry in posted]  # fmt: skip
        told = [each for each in receiver.requests if each["SessionUUID"] == uuid]
        varying = ("SessionUUID", "VirtualNumber", "EventTimestamp", "RecordingUUID", "RecordingURL",
                   "RecordingResourceURL", "RecordingStartTime")  # fmt: skip
        # The two kinds are sent side by side.
        told.sort(key=lambda each: ("Recording" in each["EventName"], int(each["SequenceNumber"])))
        callbacks = [{key: value for key, value in each.items() if key not in varying} for each in told]
        totals = bill.model_dump(exclude={"session_uuid", "duration", "last_interaction_time", "settled_at"})
        for kind in (True, False):
            numbers = [int(each["SequenceNumber"]) for each in told if ("Recording" in each["EventName"]) is kind]
            assert sorted(numbers) == list(range(1, len(numbers) + 1)), "each once, none missing"
        return cls(totals, callbacks, sorted(entries, key=str))


def _none(*names: str) -> dict[str, None]:
    return dict.fromkeys(names)


async def begun(system: System, receiver: Receiver) -> tuple[dict[str, Any], str, Any]:
    """A session in the middle of a recorded call."""
    return await begun_by(system, receiver, "12025550101", "12025550102")


async def begun_by(system: System, receiver: Receiver, first: str, second: str) -> tuple[dict[str, Any], str, Any]:
    callbacks = {"callback_url": receiver.url, "recording_callback_url": receiver.url}
    session = await create(system, record=True, first_party=first, second_party=second, **callbacks)
    call_uuid = str(uuid4())
    return session, call_uuid, await ring_at(system, session["virtual_number"], second, call_uuid)


_undisturbed: list[Ended] = []


async def undisturbed(system: System, receiver: Receiver) -> Ended:
    """What comes of such a session; always the same, so that it is found out once."""
    if not _undisturbed:
        session, call_uuid, document = await begun(system, receiver)
        uuid = session["session_uuid"]
        await rest_of_call(system, document, call_uuid)
        await heard(receiver, "SessionRecordingCompleted")
        await system.sessions.expire(uuid)
        _undisturbed.append(await Ended.of(system, receiver, uuid))
        receiver.requests.clear()
        async with system.database.transaction() as connection:
            await connection.execute("DELETE FROM routes")
    return _undisturbed[0]


async def test_one_that_is_terminated_in_mid_call_ends_as_if_it_had_not_been(
    system: System, receiver: Receiver, operator: Operator, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    expected = await undisturbed(system, receiver)
    session, call_uuid, document = await begun(system, receiver)
    uuid = session["session_uuid"]
    await heard(receiver, "SessionFirstPartyAnswer")
    await terminated(system.client, uuid)
    waiting = asyncio.create_task(system.sessions.final_bill(uuid))
    with pytest.raises(SessionRefused):
        await waiting
    await rest_of_call(system, document, call_uuid)
    async with asyncio.timeout(60):
        while f"masking sessions resume {uuid}" not in caplog.text:  # noqa: ASYNC110 the forwarder's log
            await asyncio.sleep(0.05)

    before = await stored(system, keyring, uuid)
    would = await operator.told("sessions", "resume", "--dry-run")
    assert would["would_resume"] == {uuid: "its workflow was terminated"}
    assert await stored(system, keyring, uuid) == before
    done = await operator.runs("sessions", "resume", uuid)
    assert done.exit_code == 2
    assert "add --yes" in done.output

    resumed = await operator.resumes()
    assert set(resumed["resumed"]) == {uuid}
    listening = asyncio.create_task(taken(system.sessions.events(uuid)))
    assert resumed["failed"] == {}
    await heard(receiver, "SessionRecordingCompleted")
    ended = await system.http.delete(f"{system.api}/{uuid}/")
    assert ended.status_code == 200
    assert (await Ended.of(system, receiver, uuid)).__dict__ == expected.__dict__
    assert "resumed from its stored state" in await system.sessions.story(uuid)
    events = await asyncio.wait_for(listening, 60)
    kinds = [each.kind for each in events]
    assert (kinds[0], kinds[-2:]) == ("opened", ["expired", "settled"])
    calls = [each.event_id for each in events if isinstance(each, CallEvent)]
    assert len(calls) == len(set(calls)) == len(kinds) - 3 == 7, "also what only the lost run was told, and each once"
    shown = await operator.told("sessions", "show", uuid)
    assert [each["what"] for each in shown["entries"]].count("resumed") == 1

    assert set((await operator.verified(uuid, elsewhere=True)).values()) == {"proven"}
    again = await operator.resumes(uuid, code=1)
    assert again["failed"] == {uuid: "its bill is closed: it has ended"}


async def forwarded(system: System, uuid: str, count: int) -> None:
    async with asyncio.timeout(60):
        while True:
            async with system.database.transaction() as connection:
                found = await connection.execute(
                    "SELECT count(*) FILTER (WHERE forwarded_at IS NOT NULL) FROM inbox WHERE session_uuid = %s",
                    (uuid,),
                )
                if await found.fetchone() == (count,):
                    return
            await asyncio.sleep(0.05)


async def test_what_reached_the_lost_run_and_was_never_written_comes_again_and_two_operators_resume_it_once(
    database: Database,
    keyring: Keyring,
    temporal: Client,
    creates: UnansweredCreates,
    settings: Settings,
    task_queue: str,
    receiver: Receiver,
    operator: Operator,
) -> None:
    async with served(database, keyring, temporal, creates, settings, task_queue) as system:
        async with working(temporal, database, keyring, settings, task_queue):
            expected = await undisturbed(system, receiver)
            session, call_uuid, document = await begun(system, receiver)
            uuid = session["session_uuid"]
            await heard(receiver, "SessionFirstPartyAnswer")
        # No worker: what is signalled now stands in the history, and nowhere else.
        await rest_of_call(system, document, call_uuid)
        await forwarded(system, uuid, 7)
        before = await stored(system, keyring, uuid)
        assert [each.live for each in before.interactions.values()] == [True]
        await terminated(temporal, uuid)

        both = await asyncio.gather(*(resumer(system, keyring, task_queue).resume(uuid) for _ in range(2)))
        assert sorted(each.state for each in both) == [RESUMED, RUNS]
        assert {each.reason for each in both if each.state == RESUMED} == {
            "its workflow was terminated, and is told 5 events"
        }
        assert (await resumer(system, keyring, task_queue).resume(uuid)).state == RUNS
        async with working(temporal, database, keyring, settings, task_queue):
            await heard(receiver, "SessionRecordingCompleted")
            await system.sessions.expire(uuid)
            assert (await Ended.of(system, receiver, uuid)).__dict__ == expected.__dict__
    assert set((await operator.verified(uuid)).values()) == {"proven"}


def resumer(system: System, keyring: Keyring, queue: str, *, temporal_lost: bool = False) -> Resumer:
    starter = Starter(system.client, queue, timedelta(seconds=10), lookup=True, party_hash=party_hash(keyring))
    return Resumer(system.database, keyring, system.client, starter, temporal_lost=temporal_lost)


async def test_one_that_is_terminated_while_it_drains_settles_without_being_asked_again(
    system: System, receiver: Receiver, operator: Operator
) -> None:
    expected = await undisturbed(system, receiver)
    session, call_uuid, document = await begun(system, receiver)
    uuid = session["session_uuid"]
    await heard(receiver, "SessionFirstPartyAnswer")
    await system.sessions.expire(uuid)
    await heard(receiver, "SessionTimeout")
    await terminated(system.client, uuid)
    await rest_of_call(system, document, call_uuid)

    # Its time is up, and was told; the same as ever but for the order.
    await operator.resumes(uuid)
    ended = await Ended.of(system, receiver, uuid)
    assert (ended.bill, ended.entries) == (expected.bill, expected.entries)
    assert sorted(each["EventName"] for each in ended.callbacks) == sorted(
        each["EventName"] for each in expected.callbacks
    )
    assert set((await operator.verified(uuid)).values()) == {"proven"}


async def test_where_temporal_is_lost_as_a_whole_it_is_said_and_then_sessions_go_on_and_packs_say_so(
    database: Database,
    keyring: Keyring,
    temporal: Client,
    creates: UnansweredCreates,
    settings: Settings,
    task_queue: str,
    receiver: Receiver,
    operator: Operator,
) -> None:
    """A new namespace knows as little as a new server."""
    async with (
        working(temporal, database, keyring, settings, task_queue),
        served(database, keyring, temporal, creates, settings, task_queue) as system,
    ):
        expected = await undisturbed(system, receiver)
        session, call_uuid, document = await begun(system, receiver)
        overdue, _, _ = await begun_by(system, receiver, "12025550103", "12025550104")
        uuid, late = session["session_uuid"], overdue["session_uuid"]
        await heard(receiver, "SessionFirstPartyAnswer", times=2)
    async with database.transaction() as connection:
        # Its time passes while nobody is there.
        await connection.execute("UPDATE calls SET ended_at = now() WHERE session_uuid = %s", (late,))

    new = await another_namespace(temporal, f"lost-{uuid4()}", plugins=[masking_plugin(keyring)])
    operator.environment["TEMPORAL_NAMESPACE"] = new.namespace
    async with (
        working(new, database, keyring, settings, task_queue),
        served(database, keyring, new, creates, settings, task_queue) as system,
    ):
        done = await operator.runs("sessions", "resume", "--yes")
        assert done.exit_code == 1
        assert "0 resumed, 0 run, 2 are not known to Temporal, 0 failed." in done.stdout
        assert "wrong TEMPORAL_ADDRESS" in done.stderr
        assert "--temporal-lost" in done.stderr
        would = await operator.told("sessions", "resume", "--temporal-lost", "--dry-run", "--account", ACCOUNT)
        assert set(would["would_resume"]) == {uuid, late}
        await rest_of_call(system, document, call_uuid)
        resumed = await operator.resumes("--temporal-lost")
        assert set(resumed["resumed"]) == {uuid, late}
        await heard(receiver, "SessionRecordingCompleted")
        await system.sessions.expire(uuid)
        assert (await Ended.of(system, receiver, uuid)).__dict__ == expected.__dict__

    # The namespace was none that is lost: a run that goes on there can do no harm, and ends.
    ended = await stored(system, keyring, uuid)
    async with working(temporal, database, keyring, settings, task_queue):
        lost = with_keys(temporal, keyring, StoredPayloadKeys(database, keyring)).get_workflow_handle(
            session_workflow_id(uuid)
        )
        await lost.cancel()
        with pytest.raises(WorkflowFailureError) as failure:
            await lost.result()
    assert "resumed in another run" in str(failure.value.cause.__cause__)
    assert await stored(system, keyring, uuid) == ended

    checks = await operator.verified(uuid, code=3, elsewhere=True)
    assert {name for name, state in checks.items() if state == "proven"} == {"bytes", "signature", "signer", "replay"}
    assert set(checks.values()) == {"proven", "not done"}


async def test_whoever_started_it_under_a_key_of_its_own_follows_it_and_starts_it_no_second_time(
    system: System, operator: Operator, service: Service
) -> None:
    key = f"ride-{uuid4()}"
    asked = NewSession(
        account_id=ACCOUNT, first_party="+12025550111", second_party="+12025550112", idempotency_key=key, geomatch=False
    )
    opened = await service.sessions.start(asked)
    uuid = opened.session_uuid
    call_uuid = str(uuid4())
    document = await ring_at(system, opened.virtual_number.removeprefix("+"), "12025550112", call_uuid)
    following = asyncio.create_task(taken(service.sessions.events(uuid)))
    await reached(service, uuid, lambda now: now.interaction_count == 1)
    until = (await service.sessions.extend(uuid, 5400, update_id="once")).expires_at
    await terminated(system.client, uuid)
    with pytest.raises(SessionRefused, match="its operator can have it go on"):
        await following
    assert list((await operator.resumes(uuid))["resumed"]) == [uuid]

    assert (await service.sessions.start(asked)).virtual_number == opened.virtual_number
    with pytest.raises(IdempotencyConflict):
        await service.sessions.start(asked.model_copy(update={"session_expiry": 600}))
    await rest_of_call(system, document, call_uuid)
    # The carrier is answered before the session is told; an update may overtake what it has told.
    await reached(service, uuid, lambda now: now.bill.calls.call_count == 2)
    assert (await service.sessions.extend(uuid, 5400, update_id="once")).expires_at == until, "it has happened"
    assert (await service.sessions.extend(uuid, 7200)).expires_at > until
    await service.sessions.expire(uuid)
    bill = await asyncio.wait_for(service.sessions.final_bill(uuid), 60)
    assert bill.calls.call_count == 2
    told = await asyncio.wait_for(taken(service.sessions.events(uuid)), 60)
    assert [each.kind for each in told] == [
        *("opened", "call", "call", "changed"),
        *("call", "call", "call", "changed", "changed", "expired", "settled"),
    ]
    assert (await service.sessions.start(asked)).bill == bill
    assert set((await operator.verified(uuid)).values()) == {"proven"}


async def reached(service: Service, uuid: str, state: Callable[[SessionSnapshot], bool]) -> None:
    async with asyncio.timeout(30):
        while not state(await service.sessions.snapshot(uuid)):  # noqa: ASYNC110 nothing announces it
            await asyncio.sleep(0.02)


async def test_one_that_was_reset_goes_on_and_its_evidence_says_what_is_missing(
    system: System, receiver: Receiver, operator: Operator
) -> None:
    session, call_uuid, document = await begun(system, receiver)
    uuid = session["session_uuid"]
    await heard(receiver, "SessionFirstPartyAnswer")
    handle = system.client.get_workflow_handle(session_workflow_id(uuid))
    history = await handle.fetch_history()
    first = next(each for each in history.events if each.HasField("workflow_task_completed_event_attributes"))
    execution = WorkflowExecution(workflow_id=handle.id, run_id=(await handle.describe()).run_id)
    await system.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=system.client.namespace,
            workflow_execution=execution,
            workflow_task_finish_event_id=first.event_id,
            request_id=str(uuid4()),
        )
    )
    assert (await operator.resumes(uuid))["running"] == [uuid]
    await terminated(system.client, uuid)
    assert list((await operator.resumes(uuid))["resumed"]) == [uuid]
    await rest_of_call(system, document, call_uuid)
    await heard(receiver, "SessionRecordingCompleted")
    await system.sessions.expire(uuid)
    assert (await asyncio.wait_for(system.sessions.final_bill(uuid), 60)).calls.call_count == 2

    checks = await operator.verified(uuid, code=3)
    assert {name for name, state in checks.items() if state == "proven"} == {"bytes", "signature", "signer", "replay"}
    assert "differs" not in checks.values()
