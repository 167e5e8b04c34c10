"""What has been kept long enough is erased by the workers, and nothing else."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from masking.contract import session_workflow_id
from masking.erasure import erasing, retention
from masking.erasure.retention import Swept, retaining, sweep
from masking.gateway.metrics import Metrics
from masking.privacy.certificates import is_genuine, public_key
from masking.privacy.keyring import Keyring
from masking.storage.database import Database
from masking.storage.erasure import alone, certify, hold
from tests.integration.conftest import System
from tests.integration.reported_calls import create

pytestmark = pytest.mark.anyio

KEPT = timedelta(days=90)
_numbers = itertools.count(1100)


async def settled(system: System, ended: timedelta) -> str:
    """A session whose bill was closed that long ago."""
    n = next(_numbers)
    made = await create(system, first_party=f"1202555{n:04d}", second_party=f"1202556{n:04d}")
    uuid: str = made["session_uuid"]
    await system.sessions.expire(uuid)
    await asyncio.wait_for(system.sessions.final_bill(uuid), 30)
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE sessions SET settled_at = now() - %s WHERE session_uuid = %s", (ended, uuid))
        await connection.execute(
            "UPDATE routes SET expires_at = now() - %s, held_until = now() - %s WHERE session_uuid = %s",
            (ended, ended, uuid),
        )
    return uuid


async def erased(database: Database) -> dict[str, object]:
    """Those that were erased, and their certificates."""
    async with database.transaction() as connection:
        rows = await connection.execute("SELECT session_uuid, certificate FROM erasures")
        return {str(uuid): certificate for uuid, certificate in await rows.fetchall()}


async def figures(database: Database) -> dict[str, float]:
    told = (await Metrics(database, KEPT).exposed()).decode()
    names = ("masking_retention_waiting", "masking_erasures_unfinished", "masking_erased_last_day")
    return {name: float(line.split()[1]) for name in names for line in told.splitlines() if line.startswith(f"{name} ")}


async def test_what_was_kept_long_enough_is_erased_and_what_must_stay_stays(
    system: System, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 1)
    old, older = await settled(system, KEPT + timedelta(hours=1)), await settled(system, KEPT + timedelta(days=9))
    young, held = await settled(system, KEPT - timedelta(hours=1)), await settled(system, KEPT * 2)
    keeping = await settled(system, KEPT * 2)
    live = (await create(system))["session_uuid"]
    async with system.database.transaction() as connection:
        assert await hold(connection, held, "case 12 of the court")
        await connection.execute(
            "UPDATE routes SET held_until = now() + interval '1 hour' WHERE session_uuid = %s", (keeping,)
        )
    assert (await figures(system.database))["masking_retention_waiting"] == 3

    assert await sweep(system.database, keyring, system.client, KEPT) == Swept(erased=2, left=0)

    certificates = await erased(system.database)
    assert set(certificates) == {old, older}
    for uuid, certificate in certificates.items():
        assert isinstance(certificate, dict)
        assert is_genuine(certificate, public_key(keyring))
        assert certificate["temporal_executions_deleted"] == 1
        assert (await system.http.get(f"{system.api}/{uuid}/")).status_code == 404
        with pytest.raises(RPCError, match="not found"):
            await system.client.get_workflow_handle(session_workflow_id(uuid)).fetch_history()
    for uuid in (young, held, keeping, live):
        assert (await system.http.get(f"{system.api}/{uuid}/")).status_code == 200
    assert await figures(system.database) == {
        "masking_retention_waiting": 1, "masking_erasures_unfinished": 0, "masking_erased_last_day": 2,
    }  # fmt: skip
    assert await sweep(system.database, keyring, system.client, KEPT) == Swept()


async def test_what_temporal_did_not_delete_is_finished_by_a_later_sweep(
    system: System, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = await settled(system, KEPT * 2)

    async def away(client: Client, session_uuid: str) -> set[str]:
        raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")

    with monkeypatch.context() as outage:
        outage.setattr(erasing, "delete_executions", away)
        assert await sweep(system.database, keyring, system.client, KEPT) == Swept(erased=0, left=1)
    assert await erased(system.database) == {uuid: None}
    assert (await figures(system.database))["masking_erasures_unfinished"] == 1

    assert await sweep(system.database, keyring, system.client, KEPT) == Swept(erased=1, left=0)
    assert (await erased(system.database))[uuid] is not None


async def test_of_many_workers_one_erases_and_another_goes_on_when_it_is_gone(
    system: System, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOK_EVERY_S", 0.1)
    uuid = await settled(system, KEPT * 2)
    async with AsyncExitStack() as stack:
        async with system.database.transaction() as other:
            assert await alone(other)
            await stack.enter_async_context(retaining(system.database, keyring, system.client, KEPT))
            assert await sweep(system.database, keyring, system.client, KEPT) is None
            await asyncio.sleep(0.5)
            assert await erased(system.database) == {}
        async with asyncio.timeout(20):
            while not (await erased(system.database)).get(uuid):  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def test_without_the_setting_sessions_are_kept_for_ever(
    system: System, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unwanted(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(retention, "sweep", unwanted)
    async with retaining(system.database, keyring, system.client, None):
        await asyncio.sleep(0.05)
    assert (await Metrics(system.database).exposed()).decode().count("masking_retention_waiting 0.0") == 1


async def test_of_two_certificates_the_first_is_kept(system: System, keyring: Keyring) -> None:
    uuid = await settled(system, KEPT * 2)
    await sweep(system.database, keyring, system.client, KEPT)
    first = (await erased(system.database))[uuid]
    async with system.database.transaction() as connection:
        assert await certify(connection, uuid, {"certificate": "another"}) == first
    assert await erased(system.database) == {uuid: first}
