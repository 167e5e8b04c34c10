"""`masking audit` and `masking sessions`: a real session's evidence, exported, verified, read, and erased."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client
from typer.testing import CliRunner, Result

from masking.audit.signing import Signer
from masking.cli import app
from masking.client import NumberPoolExhausted
from masking.domain.events import Hangup
from masking.privacy.keyring import Keyring
from masking.storage import inbox
from masking.storage.corrections import corrections_of
from masking.storage.erasure import Erased, erase
from masking.storage.sessions import session_cipher
from tests.conftest import KEYS
from tests.domain.conversation import answered_call, call, request
from tests.integration.conftest import Receiver, System
from tests.integration.reported_calls import FIRST, SECOND, create
from tests.integration.test_erasure import settled

pytestmark = pytest.mark.anyio


class Operator:
    """Runs commands against the database and the Temporal server of the test, or where there is neither."""

    def __init__(self, database_url: str, temporal: Client, folder: Path) -> None:
        address = temporal.service_client.config.target_host
        self.environment = {
            "DATABASE_URL": database_url,
            "MASKING_KEYS": KEYS,
            "TEMPORAL_ADDRESS": address,
            "MASKING_ARCHIVE": str(folder / "archive"),
        }
        self.elsewhere = {"MASKING_DATA": str(folder / "nothing"), "DATABASE_URL": "", "MASKING_KEYS": ""}

    async def runs(self, *arguments: str | Path, elsewhere: bool = False) -> Result:
        environment = self.elsewhere if elsewhere else self.environment
        return await asyncio.to_thread(CliRunner().invoke, app, [str(each) for each in arguments], env=environment)

    async def told(self, *arguments: str | Path, code: int = 0, elsewhere: bool = False) -> Any:
        done = await self.runs(*arguments, "--json", elsewhere=elsewhere)
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)


@pytest.fixture
def operator(migrated_url: str, temporal: Client, tmp_path: Path) -> Operator:
    return Operator(migrated_url, temporal, tmp_path)


async def closed(system: System, receiver: Receiver) -> str:
    """A session with one recorded call whose bill is closed, and whose parties are let go."""
    uuid = await settled(system, receiver)
    async with system.database.transaction() as connection:
        # What lets them go made every session older, which an audit would find.
        await connection.execute(
            "UPDATE sessions s SET settled_at = t.settled_at FROM settlements t WHERE t.session_uuid = s.session_uuid"
        )
    return uuid


def states(report: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["state"] for check in report["checks"]}


def differing(report: dict[str, Any]) -> dict[str, list[str]]:
    return {check["name"]: check["findings"] for check in report["checks"] if check["state"] == "differs"}


async def test_a_session_s_evidence_is_proven_told_and_unreadable_once_it_is_erased(
    system: System, receiver: Receiver, operator: Operator, keyring: Keyring, tmp_path: Path
) -> None:
    uuid = await closed(system, receiver)
    pack, key, signer = tmp_path / "it.evidence", tmp_path / "it.key", Signer(keyring).public_key
    exported = await operator.told("audit", "export", uuid, "-o", pack)
    assert (exported["header"]["session_uuid"], exported["header"]["public_key"]) == (uuid, signer)
    content = pack.read_bytes()
    for secret in (FIRST, SECOND, receiver.url, "12025550199"):
        assert secret.encode() not in content
    assert pack.stat().st_mode & 0o077 == 0

    # With this system's keys, and by a stranger who has nothing but the file and a key
    report = await operator.told("audit", "verify", pack)
    assert (report["outcome"], set(states(report).values())) == ("proven", {"proven"})
    assert "All of it is proven." in (await operator.runs("audit", "verify", pack)).stdout
    key.write_text((await operator.runs("audit", "key", uuid)).stdout)
    assert (await operator.told("audit", "verify", pack, "--key", key, "--signer", signer, elsewhere=True))[
        "outcome"
    ] == "proven"
    alone = await operator.told("audit", "verify", pack, "--offline", code=3, elsewhere=True)
    assert [name for name, state in states(alone).items() if state == "proven"] == ["bytes", "signature"]
    unnamed = await operator.told("audit", "verify", pack, "--key", key, code=3, elsewhere=True)
    assert {name for name, state in states(unnamed).items() if state == "not done"} == {"signer"}
    altered = tmp_path / "altered.evidence"
    altered.write_bytes(content.replace(b'"eventId":"7"', b'"eventId":"8"'))
    assert differing(await operator.told("audit", "verify", altered, code=1))["bytes"][0].startswith("line 8: history")

    # What it tells
    story, shown = await operator.told("sessions", "show", uuid), await operator.told("audit", "show", pack)
    assert shown == story
    happened = [entry["what"] for entry in story["entries"] if entry["what"] != "callback"]
    assert happened == ["created", "called", "rang", "answered", "left", "left", "recorded", "expired", "settled"]
    called = next(entry for entry in story["entries"] if entry["what"] == "called")
    assert (called["party"], called["number"], called["saw"]) == ("second", "+1 202 ••• ••02", story["virtual_number"])
    assert story["totals"]["legs"] == 2
    names = [entry["told"].split(",")[0] for entry in story["entries"] if entry["what"] == "callback"]
    assert {"SessionFirstPartyAnswer", "SessionRecordingCompleted", "SessionTimeout"} <= set(names)
    for command in (("sessions", "show", uuid), ("audit", "show", pack), ("audit", "show", pack, "--json")):
        assert "2025550" not in (await operator.runs(*command)).stdout
    words = (await operator.runs("sessions", "show", uuid, "--numbers")).stdout
    assert all(f"+{number}" in words for number in (FIRST, SECOND))

    # Erased: bytes and signature still stand, what it held is gone
    async with system.database.transaction() as connection:
        assert isinstance(await erase(connection, uuid), Erased)
    report = await operator.told("audit", "verify", pack, code=3)
    assert {name for name, state in states(report).items() if state == "proven"} == {"bytes", "signature", "signer"}
    assert "its key is destroyed" in report["checks"][3]["findings"][0]
    assert (await operator.runs("audit", "show", pack)).exit_code == 2
    for command in (("audit", "export", uuid), ("audit", "key", uuid)):
        assert (await operator.runs(*command)).exit_code == 2
    left = await operator.told("sessions", "show", uuid)
    assert (left["first_party"], left["totals"]) == ("", story["totals"])
    assert {"created", "expired", "settled", "erased"} <= {entry["what"] for entry in left["entries"]}
    assert "2025550" not in json.dumps(left)


async def test_money_that_is_stored_wrongly_is_told_to_the_digit(
    system: System, receiver: Receiver, operator: Operator, tmp_path: Path
) -> None:
    uuid, pack = await closed(system, receiver), tmp_path / "it.evidence"
    async with system.database.transaction() as connection:
        await connection.execute(
            "UPDATE settlements SET total_session_amount = 0.0255, total_call_count = 3 WHERE session_uuid = %s",
            (uuid,),
        )
        await connection.execute("UPDATE sessions SET virtual_number = '+12025550198', total_call_amount = 9"
                                 " WHERE session_uuid = %s", (uuid,))  # fmt: skip
        await connection.execute("DELETE FROM calls WHERE session_uuid = %s", (uuid,))
        await connection.execute("DELETE FROM callbacks WHERE callback_id = %s", (f"{uuid}:session:2",))
    await operator.told("audit", "export", uuid, "-o", pack)
    report = await operator.told("audit", "verify", pack, code=1)
    found = differing(report)
    assert found["ledger"] == [
        "the bill's total_call_count says 3, the events give 2",
        "the bill's total_session_amount says 0.0255, the events give 0.03400",
    ]
    assert found["state"] == [
        "the virtual number says +1 202 ••• ••98, the events give +1 202 ••• ••99",
        "the session's row, total_call_amount, says 9, the events give 0.03400",
    ]
    (call,) = found["decisions"]
    assert call.endswith("says nothing, the events give a connected call")
    assert found["callbacks"] == [f"callback {uuid}:session:2 says nothing, the events give a callback"]
    assert set(found) == {"ledger", "state", "decisions", "callbacks"}


async def test_what_late_events_add_to_a_bill_is_recomputed_too(
    system: System, receiver: Receiver, operator: Operator, keyring: Keyring, tmp_path: Path
) -> None:
    uuid, pack = await closed(system, receiver), tmp_path / "it.evidence"
    of = call("late", recorded=False)
    events = [each for each in answered_call(of, talks=130) if isinstance(each, Hangup)]
    async with system.database.transaction() as connection:
        cipher = await session_cipher(connection, keyring, uuid)
        assert cipher is not None
        for event in events:
            await inbox.post(connection, uuid, cipher, event)
    async with asyncio.timeout(20):
        while True:
            async with system.database.transaction() as connection:
                if len(await corrections_of(connection, uuid)) == len(events):
                    break
            await asyncio.sleep(0.1)

    exported = ("audit", "export", uuid, "-o", pack)
    await operator.told(*exported)
    assert (await operator.told("audit", "verify", pack))["outcome"] == "proven"
    story = await operator.told("audit", "show", pack)
    assert story["totals"]["corrected"] == "0.05100", "two legs of three minutes"
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE corrections SET amount = 0.1 WHERE event_id = %s", (events[0].event_id,))
        await connection.execute("DELETE FROM corrections WHERE event_id = %s", (events[1].event_id,))
    await operator.told(*exported)
    assert differing(await operator.told("audit", "verify", pack, code=1)) == {
        "ledger": [
            f"correction {events[0].event_id}.amount says 0.1, the events give 0.02550",
            f"correction {events[1].event_id} says nothing, the events give 0.02550",
        ]
    }


async def test_what_there_can_be_no_sealed_pack_of_is_told(
    system: System, receiver: Receiver, operator: Operator, tmp_path: Path
) -> None:
    live = (await create(system, first_party="12025550105", second_party="12025550106"))["session_uuid"]
    refused = await operator.runs("audit", "export", live)
    assert (refused.exit_code, "it lives" in refused.stderr) == (2, True)
    nobody = await operator.runs("audit", "export", str(uuid4()))
    assert (nobody.exit_code, "Temporal has no history of it" in nobody.stderr) == (2, True)
    assert (await operator.runs("sessions", "show", str(uuid4()))).exit_code == 2
    assert "active" in (await operator.runs("sessions", "show", live)).stdout

    uuid, pack = await closed(system, receiver), tmp_path / "it.open.evidence"
    opened = await operator.runs("audit", "export", uuid, "-o", pack, "--open")
    assert "this pack stands in the clear" in opened.stderr
    assert FIRST.encode() in pack.read_bytes()
    assert (await operator.told("audit", "verify", pack))["outcome"] == "proven"

    # No number of this country can be had.
    terms = request().terms.model_copy(update={"first_party": "+33612345678"})
    asked = request().model_copy(update={"terms": terms, "session_uuid": str(uuid4())})
    with pytest.raises(NumberPoolExhausted):
        await system.sessions.start(asked)
    sealed = await operator.runs("audit", "export", asked.session_uuid, "-o", pack)
    assert (sealed.exit_code, "--open writes a pack in the clear" in sealed.stderr) == (2, True)
    await operator.told("audit", "export", asked.session_uuid, "-o", pack, "--open")
    assert (await operator.told("audit", "verify", pack))["outcome"] == "proven"
    told = await operator.told("audit", "show", pack)
    assert [entry["what"] for entry in told["entries"]] == ["created", "refused"]
