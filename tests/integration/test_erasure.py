"""`masking privacy`: what was erased cannot be read any more, anywhere; what must stay, stays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.contract import session_workflow_id
from masking.erasure import erasing
from masking.operate import privacy
from masking.privacy.certificates import is_genuine, public_key
from masking.privacy.keyring import Keyring
from masking.storage.database import Database
from masking.storage.ledger import ledger_of
from tests.conftest import KEYS, LOOKUP_KEY
from tests.integration.conftest import Receiver, System
from tests.integration.reported_calls import FIRST, SECOND, create, whole_call
from tests.integration.telephone import all_delivered, heard
from tests.integration.test_sessions_api import error_of

pytestmark = pytest.mark.anyio


class Operator:
    """Runs the command against the database and the Temporal server of the test."""

    def __init__(self, database_url: str, temporal: Client) -> None:
        address = temporal.service_client.config.target_host
        self.environment = {"DATABASE_URL": database_url, "MASKING_KEYS": KEYS, "TEMPORAL_ADDRESS": address}

    async def runs(self, *arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ["privacy", *arguments], env=self.environment)

    async def erases(self, *arguments: str, code: int = 0) -> dict[str, list[dict[str, Any]]]:
        done = await self.runs("erase", *arguments, "--yes", "--json")
        assert done.exit_code == code, done.output
        told: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
        return told


@pytest.fixture
def operator(migrated_url: str, temporal: Client) -> Operator:
    return Operator(migrated_url, temporal)


async def turned_back(database: Database, by: timedelta) -> None:
    """Nobody is kept from reaching others by a session any more."""
    async with database.transaction() as connection:
        await connection.execute("UPDATE routes SET expires_at = expires_at - %(by)s, held_until = held_until - %(by)s",
                                 {"by": by})  # fmt: skip
        await connection.execute("UPDATE sessions SET settled_at = settled_at - %s", (by,))


async def settled(system: System, receiver: Receiver, **arguments: Any) -> str:
    """A session with one recorded call, whose bill is closed, long ago."""
    session = await create(
        system, record=True, callback_url=receiver.url, recording_callback_url=receiver.url, **arguments
    )
    uuid: str = session["session_uuid"]
    await whole_call(system, session, str(uuid4()))
    await heard(receiver, "SessionRecordingCompleted")
    await system.sessions.expire(uuid)
    await asyncio.wait_for(system.sessions.final_bill(uuid), 30)
    await all_delivered(system, uuid)
    await turned_back(system.database, timedelta(days=2))
    receiver.requests.clear()
    return uuid


def rows_with(url: str, table_filter: Callable[[str], bool], needle: bytes) -> list[str]:
    """The tables that hold these bytes in any row."""
    found = []
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            if table_filter(table):
                row = connection.execute(
                    f"SELECT 1 FROM {table} t WHERE position(%s IN t::text) > 0 LIMIT 1", (needle.hex(),)
                ).fetchone()  # fmt: skip
                found += [table] if row else []
    return found


async def test_nothing_of_an_erased_session_can_be_read_and_its_bill_stays(
    system: System, receiver: Receiver, operator: Operator, keyring: Keyring, migrated_url: str, tmp_path: Path
) -> None:
    other, uuid = await settled(system, receiver, first_party="12025550103"), await settled(system, receiver)
    hashed = keyring.lookup_hash("caller", f"+{FIRST}")
    assert rows_with(migrated_url, lambda _: True, hashed), "the search would find it"
    async with system.database.transaction() as connection:
        secrets = "SELECT wrapped_key, sealed_session FROM sessions WHERE session_uuid = %s"
        sealed = await (await connection.execute(secrets, (uuid,))).fetchone()
        bill = await (
            await connection.execute("SELECT t::text FROM settlements t WHERE session_uuid = %s", (uuid,))
        ).fetchone()
        posted = await ledger_of(connection, uuid)
    assert sealed is not None
    assert {entry.kind for entry in posted} == {"charge"}

    told = await operator.erases(uuid)
    (certificate,) = told["erased"]
    assert told["left"] == []
    assert (certificate["session_uuid"], certificate["temporal_executions_deleted"]) == (uuid, 1)

    # In PostgreSQL
    assert rows_with(migrated_url, lambda table: table != "pin_failures", hashed) == []
    for secret in sealed:
        assert isinstance(secret, bytes)
        assert rows_with(migrated_url, lambda _: True, secret[:40]) == []
    async with system.database.transaction() as connection:
        assert (
            bill
            == await (
                await connection.execute("SELECT t::text FROM settlements t WHERE session_uuid = %s", (uuid,))
            ).fetchone()
        )
        kept = await (
            await connection.execute(
                "SELECT expires_at - created_at > '0', total_call_count FROM sessions WHERE session_uuid = %s", (uuid,)
            )
        ).fetchone()
        assert kept == (True, 2)
        assert await ledger_of(connection, uuid) == posted
    # In Temporal
    with pytest.raises(RPCError, match="not found"):
        await system.client.get_workflow_handle(session_workflow_id(uuid)).fetch_history()
    await system.client.get_workflow_handle(session_workflow_id(other)).fetch_history()
    # By the API
    assert error_of(await system.http.get(f"{system.api}/{uuid}/")) == (404, "not found")
    listed = (await system.http.get(f"{system.api}/")).json()["response"]
    assert ([each["session_uuid"] for each in listed["objects"]], listed["meta"]["total_count"]) == ([other], 1)
    assert (await system.http.get(f"{system.api}/{other}/")).status_code == 200
    callback = await system.http.get(f"{system.api.removesuffix('Session')}Callback/{uuid}:session:1/")
    assert (callback.json()["response"]["params"], callback.json()["response"]["url"]) == (None, None)

    # The certificate
    assert is_genuine(certificate, public_key(keyring))
    assert not is_genuine({**certificate, "session_uuid": other}, public_key(keyring))
    assert not is_genuine(certificate, public_key(Keyring({"k1": b"1" * 32}, "k1", b"9" * 32)))
    assert public_key(Keyring({"k7": b"7" * 32}, "k7", LOOKUP_KEY)) == public_key(keyring), "master keys may rotate"
    file = tmp_path / "certificate.json"
    file.write_text(json.dumps(certificate))
    assert f"Genuine: {uuid} was erased at" in (await operator.runs("verify", str(file))).stdout
    file.write_text(json.dumps({**certificate, "erased_at": "2020-01-01"}))
    assert (await operator.runs("verify", str(file))).exit_code == 1
    assert (await operator.erases(uuid))["erased"] == [certificate], "asked for again, it is the same"


async def test_what_lives_holds_its_parties_or_is_under_a_legal_hold_is_left_with_the_reason(
    system: System, receiver: Receiver, operator: Operator
) -> None:
    live = (await create(system, first_party="12025550105", second_party="12025550106"))["session_uuid"]
    held = await settled(system, receiver)
    assert (await operator.runs("hold", held, "--reason", "case 12 of the court")).exit_code == 0
    cooling = (await create(system, first_party="12025550107", second_party="12025550108"))["session_uuid"]
    await system.sessions.expire(cooling)
    await asyncio.wait_for(system.sessions.final_bill(cooling), 30)

    nobody = str(uuid4())
    told = await operator.erases(live, held, cooling, nobody, code=1)
    assert told["erased"] == []
    reasons = {each["session_uuid"]: each["reason"] for each in told["left"]}
    assert reasons[live].startswith("it lives, or its bill is not closed yet")
    assert reasons[held] == "it is under a legal hold: case 12 of the court"
    assert reasons[cooling].startswith("its parties are still kept from reaching others by it, until ")
    assert reasons[nobody] == "there is no such session"
    for uuid in (live, held, cooling):
        assert (await system.http.get(f"{system.api}/{uuid}/")).status_code == 200

    assert held in (await operator.runs("holds")).stdout
    assert (await operator.runs("release", held)).exit_code == 0
    assert (await operator.runs("release", held)).exit_code == 2
    assert len((await operator.erases(held))["erased"]) == 1
    assert (await operator.runs("hold", held, "--reason", "too late")).exit_code == 2


async def test_all_sessions_of_a_number_or_of_an_age_are_erased(
    system: System, receiver: Receiver, operator: Operator
) -> None:
    with_first, with_other = await settled(system, receiver), await settled(system, receiver, first_party="12025550103")
    shown = await operator.runs("erase", "--party", f"+{FIRST}", "--dry-run", "--json")
    assert json.loads(shown.stdout) == {"would_erase": [with_first], "left": []}
    asked = await operator.runs("erase", "--party", f"+{FIRST}")
    assert asked.exit_code == 2
    assert "this erases 1 sessions for good: add --yes" in asked.stderr
    assert [each["session_uuid"] for each in (await operator.erases("--party", f"+{FIRST}"))["erased"]] == [with_first]
    assert (await operator.erases("--older-than", "90d")) == {"erased": [], "left": []}
    of_second = await operator.erases("--older-than", "1d", "--party", f"+{SECOND}")
    assert [each["session_uuid"] for each in of_second["erased"]] == [with_other]


async def refuses(client: Client, session_uuid: str) -> set[str]:
    raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")


async def test_when_temporal_does_not_delete_it_the_key_is_gone_all_the_same_and_it_is_tried_again(
    system: System, receiver: Receiver, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = await settled(system, receiver)
    with monkeypatch.context() as away:
        away.setattr(erasing, "delete_executions", refuses)
        told = await operator.erases(uuid, code=1)
    assert told["erased"] == []
    assert "its key is destroyed, but Temporal has not deleted its copies" in told["left"][0]["reason"]
    assert error_of(await system.http.get(f"{system.api}/{uuid}/")) == (404, "not found")
    (certificate,) = (await operator.erases(uuid))["erased"]
    assert certificate["temporal_executions_deleted"] == 1


async def test_what_was_begun_and_has_no_certificate_is_found_again_and_finished(
    system: System, receiver: Receiver, operator: Operator
) -> None:
    """By its party it cannot be found any more: nothing of that is left."""
    uuid = await settled(system, receiver)
    reachable = operator.environment["TEMPORAL_ADDRESS"]
    operator.environment["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
    told = await operator.erases("--party", f"+{FIRST}", code=1)
    assert told["erased"] == []
    assert "its key is destroyed" in told["left"][0]["reason"]
    assert "no Temporal server answers" in told["left"][0]["reason"]
    operator.environment["TEMPORAL_ADDRESS"] = reachable
    assert (await operator.erases("--party", f"+{FIRST}")) == {"erased": [], "left": []}
    (certificate,) = (await operator.erases("--unfinished"))["erased"]
    assert (certificate["session_uuid"], certificate["temporal_executions_deleted"]) == (uuid, 1)
    assert (await operator.erases("--unfinished")) == {"erased": [], "left": []}


async def test_what_was_erased_before_a_command_is_stopped_is_certified_and_told(
    system: System, receiver: Receiver, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await settled(system, receiver), await settled(system, receiver, first_party="12025550103")
    erase_all, batches = erasing.erase_all, list[list[str]]()

    async def stopped(database: Any, keyring: Any, uuids: list[str], temporal: Any, done: Any) -> list[erasing.Outcome]:
        batches.append(list(uuids))
        if len(batches) > 1:
            raise KeyboardInterrupt
        return await erase_all(database, keyring, uuids, temporal, done)

    monkeypatch.setattr(erasing, "erase_all", stopped)
    monkeypatch.setattr(privacy, "BATCH", 1)
    done = await operator.runs("erase", first, second, "--yes")
    assert (done.exit_code, [json.loads(line)["session_uuid"] for line in done.stdout.splitlines()]) == (130, [first])
    assert done.stderr.splitlines()[-1] == (
        "masking: stopped; `masking privacy erase --unfinished` finishes what was begun"
    )
    batches.clear()
    done = await operator.runs("erase", first, second, "--yes", "--json")
    assert [each["session_uuid"] for each in json.loads(done.stdout)["erased"]] == [first]


async def test_a_dry_run_tells_what_would_be_left_and_why(
    system: System, receiver: Receiver, operator: Operator
) -> None:
    fit, held, nobody = await settled(system, receiver), await settled(system, receiver), str(uuid4())
    assert (await operator.runs("hold", held, "--reason", "case 12")).exit_code == 0
    done = await operator.runs("erase", fit, held, nobody, "--dry-run")
    assert (done.exit_code, done.stdout.splitlines()) == (1, [fit, "1 sessions."])
    assert done.stderr.splitlines() == [
        f"masking: {held} would not be erased: it is under a legal hold: case 12",
        f"masking: {nobody} would not be erased: there is no such session",
    ]
    told = await operator.runs("erase", fit, held.upper(), "--dry-run", "--json")
    assert json.loads(told.stdout) == {
        "would_erase": [fit],
        "left": [{"session_uuid": held, "reason": "it is under a legal hold: case 12"}],
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["erase"], "say which"),
        (["erase", "x", "--older-than", "90d"], "ids of sessions go without"),
        (["erase", "x", "--unfinished"], "--unfinished goes alone"),
        (["erase", "--older-than", "soon"], "a whole number of days or hours"),
        (["erase", "--party", "12"], "--party is not a valid phone number"),
        (["hold", "x", "--reason", "of +12025550101"], "without a phone number"),
        (["hold", "x", "--reason", " "], "must say why"),
        (["hold", "x", "--reason", "because"], "there is no session with this id"),
    ],
)
async def test_what_cannot_be_done_is_told_with_what_to_do(
    database: Database, operator: Operator, arguments: list[str], words: str
) -> None:
    done = await operator.runs(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert "2025550101" not in done.stderr
