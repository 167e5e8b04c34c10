"""PostgreSQL is set back to an earlier moment, or Temporal is, and the other is not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ResetReapplyExcludeType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus

from masking.contract import session_workflow_id
from masking.operate import restoring, resuming
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from masking.storage.creates import UnansweredCreates
from masking.storage.database import Database
from tests.integration.conftest import Receiver, System, namespace_of_its_own, served
from tests.integration.past import Past, past
from tests.integration.reported_calls import create, rest_of_call, ring_at
from tests.integration.telephone import all_delivered, heard
from tests.integration.test_resume import Ended, Operator, begun, forwarded
from worker import working

__all__ = ["past"]

pytestmark = pytest.mark.anyio

A, B, C = "12025550101", "12025550102", "12025550103"


class Restorer(Operator):
    """Has PostgreSQL and Temporal agree again."""

    async def restores(self, *sessions: str, code: int = 0) -> Any:
        return await self.told("sessions", "restore", *sessions, "--yes", code=code)


@pytest.fixture
def operator(
    migrated_url: str, temporal: Client, task_queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Restorer:
    monkeypatch.setattr(resuming, "TASK_QUEUE", task_queue)
    monkeypatch.setattr(restoring, "LOOK_AGAIN_S", 0.3)
    return Restorer(migrated_url, temporal, tmp_path)


async def reached(system: System, session: dict[str, Any], caller: str) -> str | None:
    """With whom a caller talks on a session's number."""
    call_uuid = str(uuid4())
    document = await ring_at(system, session["virtual_number"], caller, call_uuid)
    dial = document.find("Dial")
    if dial is None:
        return None
    await rest_of_call(system, document, call_uuid)
    return dial.findtext("Number")


async def shown(system: System, session: dict[str, Any]) -> dict[str, Any]:
    answer = await system.http.get(f"{system.api}/{session['session_uuid']}/")
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()["response"]
    return told


async def written(system: System, session: dict[str, Any], version: int) -> None:
    """Wait until this version of it is in the database."""
    async with asyncio.timeout(60):
        while True:
            async with system.database.transaction() as connection:
                found = await connection.execute(
                    "SELECT version >= %s FROM sessions WHERE session_uuid = %s", (version, session["session_uuid"])
                )
                if await found.fetchone() == (True,):
                    return
            await asyncio.sleep(0.05)


async def status(system: System, session: dict[str, Any]) -> WorkflowExecutionStatus | None:
    handle = system.client.get_workflow_handle(session_workflow_id(session["session_uuid"]))
    return (await handle.describe()).status


async def test_a_session_that_was_answered_and_is_gone_gets_its_row_its_routes_and_its_key_again(
    system: System, receiver: Receiver, past: Past, operator: Restorer
) -> None:
    await past.note()
    session = await create(system, callback_url=receiver.url)
    uuid = session["session_uuid"]
    await past.comes_back()
    assert await reached(system, session, A) is None

    would = await operator.told("sessions", "restore", uuid, "--dry-run")
    assert would["would_restore"] == {uuid: "the database has no row of it"}
    assert (await system.http.get(f"{system.api}/{uuid}/")).status_code == 404
    done = await operator.restores(uuid)
    assert list(done["restored"]) == [uuid]
    assert (await shown(system, session))["status"] == "active"
    assert [await reached(system, session, each) for each in (A, B)] == [B, A]
    other = await create(system, first_party=A, second_party=C)
    assert other["virtual_number"] != session["virtual_number"]
    assert (await operator.restores(uuid)) == {"restored": {}, "ended": {}, "agree": 1, "failed": {}}
    misspelt = str(uuid4())
    assert (await operator.restores(misspelt, code=1))["failed"] == {
        misspelt: "the database does not know it, and no workflow of it runs"
    }
    await system.sessions.expire(uuid)
    await asyncio.wait_for(system.sessions.final_bill(uuid), 60)
    assert await reached(system, session, A) is None
    assert set((await operator.verified(uuid)).values()) == {"proven"}


async def test_one_whose_number_went_to_another_pair_meanwhile_ends_and_its_customer_is_told(
    system: System, receiver: Receiver, past: Past, operator: Restorer
) -> None:
    await past.note()
    session = await create(system, callback_url=receiver.url)
    uuid = session["session_uuid"]
    await past.comes_back()
    other = await create(system, first_party=A, second_party=C)
    assert other["virtual_number"] == session["virtual_number"], "what is to be kept short by restoring at once"

    done = await operator.restores(uuid)
    assert "tell its customer" in done["ended"][uuid]
    await heard(receiver, "SessionTimeout")
    assert (await shown(system, session))["status"] == "expired"
    assert [await reached(system, other, each) for each in (A, B, C)] == [C, None, A]
    assert (await asyncio.wait_for(system.sessions.final_bill(uuid), 60)).calls.call_count == 0


async def test_one_that_is_gone_writes_itself_down_again_with_whatever_happens_next(
    system: System, receiver: Receiver, past: Past
) -> None:
    await past.note()
    session = await create(system, callback_url=receiver.url)
    await past.comes_back()
    await system.sessions.extend(session["session_uuid"], 7200)
    assert (await shown(system, session))["status"] == "active"
    assert [await reached(system, session, each) for each in (A, B)] == [B, A]


@pytest.mark.parametrize("restores", [True, False], ids=["an operator restores it", "it is written next"])
async def test_who_was_replaced_reaches_nobody_and_who_came_is_reached(
    system: System, past: Past, operator: Restorer, restores: bool
) -> None:
    session = await create(system, create_session_with_single_party=True)
    uuid = session["session_uuid"]
    await past.note()
    assert (await system.http.post(f"{system.api}/{uuid}/", json={"second_party": C})).status_code == 200
    await past.comes_back()
    if restores:
        assert (await operator.restores(uuid))["restored"] == {
            uuid: "the database has an older state of it; it is written down again"
        }
    else:
        assert await reached(system, session, B) == A, "whom the customer had replaced"
        extended = await system.http.post(f"{system.api}/{uuid}/", json={"session_expiry": 7200})
        assert extended.status_code == 200
    assert [await reached(system, session, each) for each in (A, B, C)] == [C, None, A]


async def test_one_that_was_ended_and_whose_bill_is_lost_is_not_begun_again_and_gets_the_same_bill(
    system: System, receiver: Receiver, past: Past, operator: Restorer, database: Database
) -> None:
    session, call_uuid, document = await begun(system, receiver)
    uuid = session["session_uuid"]
    await heard(receiver, "SessionFirstPartyAnswer")
    await past.note()
    await rest_of_call(system, document, call_uuid)
    await heard(receiver, "SessionRecordingCompleted")
    await system.sessions.expire(uuid)
    before = await Ended.of(system, receiver, uuid)
    await past.comes_back()
    assert (await shown(system, session))["status"] != "expired"
    seen = len(receiver.requests)
    async with database.transaction() as connection:
        # Those who had callbacks in hand at that moment are waited for, for 90 s.
        await connection.execute("DELETE FROM callback_claims")
        # What was taken and not yet marked so at that moment is sent once more, besides what is lacked.
        await connection.execute("UPDATE callbacks SET state = 'pending'")

    resumed = await operator.resumes(uuid)
    assert resumed["resumed"][uuid].startswith("its workflow has ended, and its bill is not stored: it is now")
    assert (await shown(system, session))["status"] == "expired"
    assert await reached(system, session, A) is None
    assert await status(system, session) is WorkflowExecutionStatus.COMPLETED
    lacked = int(resumed["resumed"][uuid].split("with ")[1].split()[0])
    await all_delivered(system, uuid)
    assert len(receiver.requests) > seen + lacked
    told: dict[tuple[str, str], dict[str, str]] = {}
    for each in receiver.requests:
        key = (each["EventName"], each["SequenceNumber"])
        assert told.setdefault(key, each) == each, "the same callback again, and no other of its number"
    receiver.requests = list(told.values())
    after = await Ended.of(system, receiver, uuid)
    assert (after.bill, after.entries) == (before.bill, before.entries)
    assert (await operator.resumes(uuid, code=1))["failed"] == {uuid: "its bill is closed: it has ended"}


@pytest.mark.parametrize("wrote_since", [False, True], ids=["nothing came since", "it was written since"])
async def test_callbacks_that_were_queued_and_are_gone_are_sent(
    system: System, receiver: Receiver, past: Past, operator: Restorer, wrote_since: bool
) -> None:
    receiver.failures = 1_000
    session = await create(system, callback_url=receiver.url)
    uuid, call_uuid = session["session_uuid"], str(uuid4())
    await past.note()
    await rest_of_call(system, await ring_at(system, session["virtual_number"], B, call_uuid), call_uuid)
    await forwarded(system, uuid, 5)
    await written(system, session, 6)
    await past.comes_back()
    receiver.failures = 0
    if wrote_since:
        await system.sessions.expire(uuid)
        await asyncio.wait_for(system.sessions.final_bill(uuid), 60)
        await heard(receiver, "SessionTimeout")

    done = await operator.restores(uuid)
    assert list(done["restored"]) == [uuid]
    assert "callbacks that it lacked" in done["restored"][uuid]
    if not wrote_since:
        await system.sessions.expire(uuid)
    await all_delivered(system, uuid)
    # What was under way at that moment may have come twice.
    told = {(each["SequenceNumber"], each["EventName"]) for each in receiver.requests}
    assert sorted(sequence for sequence, _ in told) == list("1234567")


async def reset(system: System, session: dict[str, Any]) -> None:
    """Set a workflow back to its first task, as a backup of Temporal's does."""
    handle = system.client.get_workflow_handle(session_workflow_id(session["session_uuid"]))
    events = (await handle.fetch_history()).events
    first = next(each for each in events if each.HasField("workflow_task_completed_event_attributes"))
    await system.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=system.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=(await handle.describe()).run_id),
            workflow_task_finish_event_id=first.event_id,
            request_id=str(uuid4()),
            reset_reapply_exclude_types=[
                ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,
                ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
            ],
        )
    )


async def test_a_workflow_that_is_older_than_what_is_stored_is_begun_anew(
    system: System, receiver: Receiver, operator: Restorer
) -> None:
    session, call_uuid, document = await begun(system, receiver)
    uuid = session["session_uuid"]
    await rest_of_call(system, document, call_uuid)
    await heard(receiver, "SessionRecordingCompleted")
    await written(system, session, 7)
    await reset(system, session)

    done = await operator.restores(uuid)
    assert done["restored"][uuid].startswith("its workflow is older than what is stored")
    await system.sessions.expire(uuid)
    assert (await asyncio.wait_for(system.sessions.final_bill(uuid), 60)).calls.call_count == 2


async def test_a_bill_has_what_a_workflow_of_before_was_told_in_the_time_that_it_lost(
    system: System, receiver: Receiver
) -> None:
    """Also where nobody restores it, and it has caught up with what is stored."""
    session = await create(system, callback_url=receiver.url)
    assert await reached(system, session, B) == A
    await written(system, session, 6)
    await reset(system, session)
    for _ in range(2):
        assert await reached(system, session, B) == A
    await written(system, session, 11)
    await system.sessions.expire(session["session_uuid"])
    bill = await asyncio.wait_for(system.sessions.final_bill(session["session_uuid"]), 60)
    assert bill.calls.call_count == 6
    async with system.database.transaction() as connection:
        found = await connection.execute("SELECT total_call_count, total_call_amount FROM settlements")
        assert await found.fetchall() == [(6, bill.calls.amount)]


async def test_a_workflow_that_runs_again_after_its_bill_was_closed_is_ended(
    system: System, receiver: Receiver, operator: Restorer
) -> None:
    session = await create(system, callback_url=receiver.url)
    uuid = session["session_uuid"]
    await system.sessions.expire(uuid)
    await asyncio.wait_for(system.sessions.final_bill(uuid), 60)
    await reset(system, session)
    assert await status(system, session) is WorkflowExecutionStatus.RUNNING

    assert "its bill is closed" in (await operator.restores(uuid))["restored"][uuid]
    assert await status(system, session) is WorkflowExecutionStatus.TERMINATED
    assert (await operator.restores(uuid))["agree"] == 1


async def test_one_whose_key_no_worker_has_any_more_is_told_of(
    database: Database,
    keyring: Keyring,
    temporal: Client,
    creates: UnansweredCreates,
    settings: Settings,
    task_queue: str,
    past: Past,
    operator: Restorer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(restoring, "ANSWERED_WITHIN", restoring.ANSWERED_WITHIN / 5)
    async with served(database, keyring, temporal, creates, settings, task_queue) as system:
        async with working(temporal, database, keyring, settings, task_queue):
            await past.note()
            session = await create(system)
        uuid = session["session_uuid"]
        await past.comes_back()
        async with working(temporal, database, keyring, settings, task_queue):
            done = await operator.restores(uuid, code=1)
    assert "its key was lost with its row" in done["failed"][uuid]
    await temporal.get_workflow_handle(session_workflow_id(uuid)).terminate("by the test")


async def test_without_ids_all_that_run_are_looked_at_and_people_are_told(
    database: Database,
    keyring: Keyring,
    temporal: Client,
    creates: UnansweredCreates,
    settings: Settings,
    task_queue: str,
    past: Past,
    operator: Restorer,
) -> None:
    own = await namespace_of_its_own(temporal, keyring)
    operator.environment["TEMPORAL_NAMESPACE"] = own.namespace
    async with (
        working(own, database, keyring, settings, task_queue),
        served(database, keyring, own, creates, settings, task_queue) as system,
    ):
        kept = await create(system)
        await past.note()
        extended = await system.sessions.extend(kept["session_uuid"], 7200)
        lost = await create(system, first_party="12025550111", second_party="12025550112")
        await past.comes_back()
        ids = sorted(each["session_uuid"] for each in (kept, lost))

        async with asyncio.timeout(60):
            while len((await operator.told("sessions", "restore", "--dry-run"))["would_restore"]) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        would = await operator.runs("sessions", "restore", "--dry-run")
        assert "2 would be restored, 0 agree, 0 failed." in would.stdout
        assert f"{lost['session_uuid']} would be restored: the database has no row of it" in would.stdout
        unsaid = await operator.runs("sessions", "restore")
        assert unsaid.exit_code == 2
        assert "add --yes" in unsaid.output
        done = await operator.runs("sessions", "restore", "--yes")
        assert done.exit_code == 0
        assert [line.split()[0] for line in sorted(done.stdout.splitlines()) if "was restored" in line] == ids
        assert "2 restored, 0 ended, 0 agree, 0 failed." in done.stdout
        async with database.transaction() as connection:
            found = await connection.execute("SELECT max(expires_at) FROM sessions")
            assert await found.fetchone() == (extended.expires_at,)


async def test_one_that_was_ended_in_mid_call_forwards_no_call_again_and_gets_the_rest_of_that_one(
    system: System, receiver: Receiver, past: Past, operator: Restorer
) -> None:
    session, call_uuid, document = await begun(system, receiver)
    uuid = session["session_uuid"]
    await heard(receiver, "SessionFirstPartyAnswer")
    await past.note()
    await system.sessions.expire(uuid)
    await past.comes_back()
    assert (await shown(system, session))["status"] != "expired"

    assert list((await operator.restores(uuid))["restored"]) == [uuid]
    assert (await shown(system, session))["status"] == "expired"
    assert await reached(system, session, A) is None
    await rest_of_call(system, document, call_uuid)
    assert (await asyncio.wait_for(system.sessions.final_bill(uuid), 60)).calls.call_count == 2
    assert set((await operator.verified(uuid)).values()) == {"proven"}
