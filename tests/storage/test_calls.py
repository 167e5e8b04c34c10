"""Calls as the gateway notes them: one at a time, and whom a single party may call back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from masking.domain.decisions import call_of
from masking.domain.routing import CallPolicy, Guesses, decide
from masking.domain.session import Session
from masking.domain.terms import PinTerms
from masking.privacy.keyring import Keyring
from masking.storage.call_routes import FoundRoute, find_first_party, find_route, find_route_by_pin
from masking.storage.calls import claim_first_call, note_call
from masking.storage.database import Connection, Database
from tests.domain.conversation import FIRST, SECOND, STRANGER
from tests.storage.test_routes import asked, open_

pytestmark = pytest.mark.anyio

Find = Callable[[Connection, Keyring, Session, str], Awaitable[FoundRoute | None]]


async def by_number(connection: Connection, keyring: Keyring, session: Session, number: str) -> FoundRoute | None:
    return await find_route(connection, keyring, number, SECOND, "two")


async def by_pin(connection: Connection, keyring: Keyring, session: Session, number: str) -> FoundRoute | None:
    return await find_route_by_pin(connection, keyring, number, "1111", STRANGER, "two")


async def placed(connection: Connection, keyring: Keyring, session: Session, number: str) -> FoundRoute | None:
    return await find_first_party(connection, keyring, session.session_uuid, "two")


@pytest.mark.parametrize("find", [by_number, by_pin, placed])
async def test_a_call_that_waited_for_another_of_its_session_finds_it_busy(
    database: Database, keyring: Keyring, find: Find
) -> None:
    pin = PinTerms(first_party="1111", second_party="2222", prompt_play="https://x.example/pin.mp3")
    session = asked(pin=pin)
    number = await open_(database, keyring, session) or ""

    async def second_call() -> FoundRoute | None:
        async with database.transaction() as connection:
            return await find(connection, keyring, session, number)

    async with database.transaction() as connection:
        one = await find_route(connection, keyring, number, FIRST, "one")
        assert one is not None
        assert not one.route.busy
        waiting = asyncio.create_task(second_call())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        decision = decide(number, one.route, Guesses(), one.now, CallPolicy())
        await note_call(connection, one, call_of("one", one.route, decision), decision)
    two = await waiting

    assert two is not None
    assert two.route.busy


async def test_the_first_party_is_called_once_and_never_after_the_end(database: Database, keyring: Keyring) -> None:
    live, over = asked(), asked("+12025550111", "+12025550112")
    numbers = {session.session_uuid: await open_(database, keyring, session) for session in (live, over)}
    async with database.transaction() as connection:
        await connection.execute("UPDATE sessions SET expires_at = now() WHERE session_uuid = %s", [over.session_uuid])
        claims = [
            await claim_first_call(connection, s.session_uuid, numbers[s.session_uuid] or "")
            for s in (live, live, over)
        ]

    assert claims == [True, False, False]
