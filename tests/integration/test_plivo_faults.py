"""A Plivo that fails, stalls, cuts connections and tells things twice, late or never: no session twice, no bill wrong.

`PLIVO_SESSIONS=500` plays so many; `PLIVO_SEED` another run.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiohttp import web
from pydantic import SecretStr

from masking.carriers import rest
from masking.carriers.plivo.callbacks import session_path
from masking.client import OutcomeUnknown, SessionAlreadyExpired, SessionError
from masking.domain.session import Bill
from masking.privacy.keyring import Keyring
from tests.carriers.plivo.stub import Made, PlivoStub
from tests.domain.conversation import request
from tests.integration.conftest import System, free_port

pytestmark = pytest.mark.anyio

SESSIONS = int(os.environ.get("PLIVO_SESSIONS", "8"))
SEED = int(os.environ.get("PLIVO_SEED", "7"))
AT_ONCE = 20
AUTH_ID, TOKEN = "MAPLIVOPLIVOPLIVO000", "what-plivo-signs-with"


@pytest.fixture
def stub_port() -> int:
    return free_port()


@pytest.fixture
def more_settings(stub_port: int) -> dict[str, Any]:
    return {
        "carrier": "plivo",
        "plivo_api_url": f"http://127.0.0.1:{stub_port}",
        "plivo_auth_id": AUTH_ID,
        "plivo_auth_token": SecretStr(TOKEN),
    }


@pytest.fixture
async def stub(stub_port: int) -> AsyncIterator[PlivoStub]:
    stub = PlivoStub(SEED, AUTH_ID, TOKEN)
    runner = web.AppRunner(stub.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", stub_port).start()
    yield stub
    await runner.cleanup()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the system starts: a stall is one that outlasts this."""
    monkeypatch.setattr(rest, "TIMEOUT_S", 1.0)


@pytest.mark.timeout(110 + SESSIONS * 2)
async def test_whatever_plivo_does_no_session_is_made_twice_and_no_bill_is_wrong(
    impatient: None, stub: PlivoStub, system: System, keyring: Keyring
) -> None:
    room = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(timeout=30) as http:

        async def one(number: int) -> None:
            async with room:
                await Play(stub, system, keyring, http, number).play()

        await asyncio.gather(*(one(number) for number in range(SESSIONS)))
        async with system.database.transaction() as connection:
            waiting = "SELECT count(*) FROM inbox WHERE forwarded_at IS NULL"
            while (await (await connection.execute(waiting)).fetchone()) != (0,):  # noqa: ASYNC110 it is PostgreSQL's
                await asyncio.sleep(0.1)
            corrections = await (await connection.execute("SELECT count(*) FROM corrections")).fetchone()
            ledger = await (
                await connection.execute("SELECT sum(amount) FROM ledger_entries WHERE kind = 'charge'")
            ).fetchone()
    assert corrections == (0,)
    counted = [made for made in stub.sessions.values() if made.truth.talks]
    assert ledger is not None
    assert (ledger[0] or 0) == sum((talk.amount for made in counted for talk in made.truth.talks), Decimal(0))
    assert {fault.split(" ", 1)[1] for fault in stub.faults} or SESSIONS < 5


class Play:
    """One session, from its create to its bill."""

    def __init__(self, stub: PlivoStub, system: System, keyring: Keyring, http: httpx.AsyncClient, number: int) -> None:
        self.stub, self.system, self.http = stub, system, http
        base = request(callbacks=False, record=False)
        terms = base.terms.model_copy(
            update={"first_party": f"+1202556{number:04}", "second_party": f"+1202557{number:04}"}
        )
        self.asked = base.model_copy(update={"session_uuid": str(uuid4()), "carrier": "plivo", "terms": terms})
        self.url = f"{system.settings.base_url}{session_path(keyring, self.asked.session_uuid)}"

    async def play(self) -> None:
        if not await self._opened():
            assert (await self._bill()).calls.call_count == 0
            assert all(made.ended for made in self.stub.of(self.url))
            return
        (made,) = (each for each in self.stub.of(self.url) if not each.ended)
        self.stub.carry(made)
        told = self.stub.disturbed(made)
        early = told[: len(told) * 3 // 4]
        await self.stub.tell(self.http, made, [each for each in early if each["EventName"] != "SessionTimeout"])
        await self._extend()
        await self._expire(made)
        final = await self._bill()
        assert final.calls.amount == sum((talk.amount for talk in made.truth.talks), Decimal(0))
        assert final.calls.call_count == 2 * len(made.truth.talks)
        assert all(each.ended for each in self.stub.of(self.url))
        # What comes after the bill changes nothing about it.
        await self.stub.tell(self.http, made, told)

    async def _opened(self) -> bool:
        while True:
            try:
                await self.system.sessions.start(self.asked)
            except OutcomeUnknown:
                snapshot = await self._bill_if_refused()
                if snapshot is not None:
                    return False
                continue
            except SessionAlreadyExpired:
                return False
            except SessionError:
                return False
            return True

    async def _bill_if_refused(self) -> Bill | None:
        try:
            return await asyncio.wait_for(self.system.sessions.final_bill(self.asked.session_uuid), 1)
        except (TimeoutError, SessionError):
            return None

    async def _extend(self) -> None:
        try:
            await self.system.sessions.extend(self.asked.session_uuid, 3000)
        except OutcomeUnknown:
            return

    async def _expire(self, made: Made) -> None:
        if self.stub.random.random() < 0.2:
            # By hand, in Plivo's console; its callback is not lost.
            self.stub.end(made)
            (timeout,) = (each for each in made.truth.callbacks() if each["EventName"] == "SessionTimeout")
            await self.stub.tell(self.http, made, [timeout])
            return
        while True:
            try:
                await self.system.sessions.expire(self.asked.session_uuid)
            except OutcomeUnknown:
                continue
            except SessionError:
                return
            return

    async def _bill(self) -> Bill:
        return await asyncio.wait_for(self.system.sessions.final_bill(self.asked.session_uuid), 240)
