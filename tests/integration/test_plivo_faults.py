"""A Plivo that fails, stalls, cuts connections and tells things twice, late or never: no session twice, no bill wrong.

Sessions of every kind: with PINs that were given and made, single parties that another one joins before or after the
first call, calls to the first party that it takes or does not, recordings.

`PLIVO_SESSIONS=500` plays so many; `PLIVO_SEED` another run.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aiohttp import web
from temporalio.common import RetryPolicy

from masking.carriers import rest
from masking.carriers.plivo.callbacks import session_path
from masking.client import DEFAULT_TIMEOUT, OutcomeUnknown, SessionAlreadyExpired, SessionError
from masking.domain.bill.charges import Bill
from masking.domain.terms import Change, PinTerms
from masking.ports import serving
from masking.privacy.keyring import Keyring
from masking.storage import carrier_turns
from tests.carriers.plivo.stub import Made, PlivoStub
from tests.domain.conversation import request
from tests.integration.conftest import System
from tests.integration.stubbed_plivo import AUTH_ID, TOKEN, settings_for, stub_port
from workflows import counterpart

__all__ = ["stub_port"]

pytestmark = [pytest.mark.anyio, pytest.mark.long]

SESSIONS = int(os.environ.get("PLIVO_SESSIONS", "8"))
SEED = int(os.environ.get("PLIVO_SEED", "7"))
AT_ONCE = 20
MENDED_AFTER_S = 1.0


@pytest.fixture
def more_settings(stub_port: int) -> dict[str, Any]:
    return settings_for(stub_port) | {"carrier_rest": 1}


@pytest.fixture
def answered_within() -> timedelta:
    """As ours: an outcome that is not known in time is one of what happens here."""
    return DEFAULT_TIMEOUT


@pytest.fixture
async def stub(stub_port: int) -> AsyncIterator[PlivoStub]:
    stub = PlivoStub(SEED, AUTH_ID, TOKEN)
    async with serving(web.AppRunner(stub.app(), access_log=None, shutdown_timeout=0.1), stub_port):
        yield stub


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the system starts: a stall is one that outlasts this, and no look is put off for minutes."""
    monkeypatch.setattr(rest, "TIMEOUT_S", 1.0)
    often = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=4))
    monkeypatch.setattr(counterpart, "PATIENT_RETRIES", often)


@pytest.mark.timeout(110 + SESSIONS * 4)
async def test_whatever_plivo_does_no_session_is_made_twice_and_no_bill_is_wrong(
    impatient: None, stub: PlivoStub, system: System, keyring: Keyring
) -> None:
    room = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(timeout=30) as http:

        async def one(number: int) -> None:
            async with room:
                await Play(stub, system, keyring, http, number).play()

        async with mending(system):
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


@asynccontextmanager
async def mending(system: System) -> AsyncIterator[None]:
    """An operator who has credentials that Plivo does not take taken again, as `masking carriers check` does."""

    async def mend() -> None:
        while True:
            await asyncio.sleep(MENDED_AFTER_S)
            async with system.database.transaction() as connection:
                for stop in await carrier_turns.stops(connection):
                    await carrier_turns.resume(connection, carrier_turns.Account(stop.account, stop.credentials))

    operator = asyncio.create_task(mend())
    yield
    operator.cancel()


PROMPT = "https://customer.example/pin.mp3"
GIVEN = PinTerms(first_party="1234", second_party="987654321", prompt_play=PROMPT, retry=2)
MADE = PinTerms(generate=True, generate_length=6, prompt_play=PROMPT, incorrect_play=PROMPT, force=True)
SINGLE: dict[str, object] = {"second_party": "", "single_party": True}
KINDS: tuple[dict[str, object], ...] = (
    {"record": True},
    {"pin": GIVEN, "record": True, "unknown_caller_play": PROMPT},
    {"pin": MADE, "virtual_number_cooloff_period": 60},
    {**SINGLE, "record": True},
    {**SINGLE, "pin": GIVEN.model_copy(update={"second_party": ""})},
    {"initiate_call_to_first_party": True, "record": True, "record_file_format": "mp3"},
    {"initiate_call_to_first_party": True, "pin": GIVEN, "first_party_play_url": PROMPT},
    {},
)


def ids(interaction: dict[str, Any]) -> dict[str, str]:
    """What a conversation is made of, by Plivo's ids."""
    return {name: url.rsplit("/", 1)[1] for name, url in interaction.items() if name.endswith("_resource_url")}


class Play:
    """One session, from its create to its bill."""

    def __init__(self, stub: PlivoStub, system: System, keyring: Keyring, http: httpx.AsyncClient, number: int) -> None:
        self.stub, self.system, self.http = stub, system, http
        base = request(callbacks=False, record=False)
        self.second_party, kind = f"+1202557{number:04}", KINDS[number % len(KINDS)]
        terms = base.terms.model_copy(
            update={"first_party": f"+1202556{number:04}", "second_party": self.second_party, **kind}
        )
        self.asked = base.model_copy(update={"session_uuid": str(uuid4()), "carrier": "plivo", "terms": terms})
        self.url = f"{system.settings.base_url}{session_path(keyring, self.asked.session_uuid)}"

    async def play(self) -> None:
        if not await self._opened():
            assert (await self._bill()).calls.call_count == 0
            assert all(made.ended for made in self.stub.of(self.url))
            return
        (made,) = (each for each in self.stub.of(self.url) if not each.ended)
        await self._has_its_pins(made)
        self.stub.carry(made)
        if made.single:
            await self._join(made)
        self.stub.carry(made)
        told = self.stub.disturbed(made)
        early = told[: len(told) * 3 // 4]
        await self.stub.tell(self.http, made, [each for each in early if each["EventName"] != "SessionTimeout"])
        await self._extend()
        await self._expire(made)
        final = await self._bill()
        assert final.calls.amount == sum((talk.amount for talk in made.truth.talks), Decimal(0))
        assert final.calls.call_count == sum(len(talk.legs) for talk in made.truth.talks)
        assert all(each.ended for each in self.stub.of(self.url))
        await self._shows_what_was(made)
        # What comes after the bill changes nothing about it.
        await self.stub.tell(self.http, made, told)

    async def _resource(self) -> dict[str, Any]:
        answer = await self.system.http.get(f"{self.system.api}/{self.asked.session_uuid}/")
        resource: dict[str, Any] = answer.json()["response"]
        return resource

    async def _has_its_pins(self, made: Made) -> None:
        shown = await self._resource()
        for pin in ("first_party_pin", "second_party_pin"):
            assert shown[pin] == made.arguments.get(pin)

    async def _join(self, made: Made) -> None:
        """The missing party is named, once what Plivo was told of that is known to have been done or not."""
        while made.single:
            try:
                change = Change(second_party=self.second_party)
                await self.system.sessions.modify(self.asked.session_uuid, change)
            except OutcomeUnknown:
                continue
            except SessionError:
                # Its credentials are not taken.
                await asyncio.sleep(MENDED_AFTER_S)

    async def _shows_what_was(self, made: Made) -> None:
        """Each conversation, with its legs and its recording, and nothing besides."""
        shown = (await self._resource())["interaction"] or []
        expected = made.truth.resource()["interaction"] or []
        assert [ids(each) for each in shown] == [ids(each) for each in expected]

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
        except SessionError:
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
            except SessionAlreadyExpired:
                return
            except SessionError:
                # Its credentials are not taken.
                await asyncio.sleep(MENDED_AFTER_S)
                continue
            return

    async def _bill(self) -> Bill:
        return await asyncio.wait_for(self.system.sessions.final_bill(self.asked.session_uuid), 240)
