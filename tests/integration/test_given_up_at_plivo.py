"""A session that was given up although Plivo, and our books, have it by then: nothing of it stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from activities.plivo import PlivoActivities
from masking.client import DEFAULT_TIMEOUT
from masking.domain.counterpart.told import ToldSession
from masking.domain.session import Session
from masking.ports import serving
from masking.privacy.keyring import Keyring
from masking.storage import inbox
from masking.storage.overdue import open_sessions
from masking.storage.session_keys import read_payload_key
from masking.storage.sessions import session_cipher
from tests.carriers.plivo.stub import PlivoStub
from tests.domain.conversation import answered_call, call
from tests.integration.conftest import System
from tests.integration.stubbed_plivo import AUTH_ID, TOKEN, settings_for, stub_port
from workflows.counterpart import CounterpartOrders

__all__ = ["stub_port"]

pytestmark = pytest.mark.anyio


@pytest.fixture
def more_settings(stub_port: int) -> dict[str, Any]:
    return settings_for(stub_port)


@pytest.fixture
def answered_within() -> timedelta:
    """As ours: who waits longer learns that it was given up."""
    return DEFAULT_TIMEOUT


@pytest.fixture
async def stub(stub_port: int) -> AsyncIterator[PlivoStub]:
    stub = PlivoStub(7, AUTH_ID, TOKEN, faulty=0.0, refusing=0.0)
    async with serving(web.AppRunner(stub.app(), access_log=None, shutdown_timeout=0.1), stub_port):
        yield stub


@pytest.fixture
def vanishing(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """The worker vanishes as soon as the session is written, and nobody tries again in time.

    What is made in vain is expired once the event is set.
    """
    real, abandon, goes_on = PlivoActivities._written, PlivoActivities._made, asyncio.Event()

    async def written(self: PlivoActivities, session: Session, told: ToldSession) -> bool:
        assert await real(self, session, told)
        await asyncio.sleep(60)
        return True

    async def made(self: PlivoActivities, session: Session, *, patient: bool = False) -> tuple[ToldSession, ...]:
        await goes_on.wait()
        return await abandon(self, session, patient=patient)

    monkeypatch.setattr(PlivoActivities, "_written", written)
    defaults = CounterpartOrders._ask_carrier.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "until", timedelta(seconds=4))
    monkeypatch.setattr(PlivoActivities, "_made", made)
    return goes_on


async def given_up(system: System) -> str:
    """The id of a session whose caller was told that there is none."""
    parties = {"first_party": "12025550101", "second_party": "12025550102"}
    assert (await system.http.post(f"{system.api}/", json=parties)).status_code == 503
    async with system.database.transaction() as connection:
        rows = await connection.execute("SELECT session_uuid FROM creates")
        ((uuid,),) = await rows.fetchall()
    return str(uuid)


async def test_nothing_stays_of_a_session_that_was_written_and_then_given_up(
    vanishing: asyncio.Event, stub: PlivoStub, system: System, keyring: Keyring
) -> None:
    uuid = await given_up(system)
    vanishing.set()
    bill = await asyncio.wait_for(system.sessions.final_bill(uuid), 20)
    assert "carrier" in bill.refusal
    assert [made.ended for made in stub.sessions.values()] == [True]
    async with system.database.transaction() as connection:
        assert (await open_sessions(connection, timedelta())).open == 0
        assert await (await connection.execute("SELECT count(*) FROM routes")).fetchone() == (0,)
        assert await read_payload_key(connection, keyring, uuid) is not None, "its history can still be read"


async def test_what_was_told_of_one_meanwhile_is_kept(
    vanishing: asyncio.Event, stub: PlivoStub, system: System, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    uuid = await given_up(system)
    async with system.database.transaction() as connection:
        cipher = await session_cipher(connection, keyring, uuid)
        assert cipher is not None
        await inbox.post(connection, uuid, cipher, answered_call(call())[0])
    vanishing.set()
    await asyncio.wait_for(system.sessions.final_bill(uuid), 20)
    assert f"masking sessions resume {uuid}" in caplog.text
    async with system.database.transaction() as connection:
        assert (await open_sessions(connection, timedelta())).open == 1
        assert len(await inbox.put_in(connection, keyring, uuid)) == 1
