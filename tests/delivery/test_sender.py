"""Callbacks reach customers who fail in every way, at least once each and in order while all goes well."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from socket import AF_INET
from typing import Any

import psycopg
import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from masking.delivery.endpoints import AT_ONCE, AT_ONCE_OF_ACCOUNT
from masking.delivery.guard import NOT_PUBLIC, AddressGuard
from masking.delivery.names import Names
from masking.delivery.request import customers_http
from masking.delivery.sender import SESSIONS_AT_ONCE, CallbackSender, Patience
from masking.domain.callbacks import Callback
from masking.domain.lifecycle import opened
from masking.domain.session import Session
from masking.ports import serving
from masking.privacy.keyring import Keyring
from masking.storage import callbacks
from masking.storage.accounts import create_account
from masking.storage.callback_records import CallbackRecord, Chosen, find
from masking.storage.database import Database
from masking.storage.sessions import record_session
from tests.conftest import ACCOUNT
from tests.integration.conftest import free_port
from tests.storage.test_routes import asked, open_

pytestmark = pytest.mark.anyio

HERE = AddressGuard([ip_network("127.0.0.0/8")])
PATIENCE = Patience(give_up_after=timedelta(hours=24), longest_pause=timedelta(seconds=1))


class Customer:
    """An endpoint that answers as it is told, and remembers."""

    def __init__(self) -> None:
        self.port = free_port()
        self.taken: list[str] = []
        self.statuses: list[int] = []
        self.by_path: defaultdict[str, list[str]] = defaultdict(list)
        self.ids: list[str] = []
        self.says = ""
        self.slow_s = 0.0
        self.stall = False
        self.released = asyncio.Event()

    def url(self, path: str = "events") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        self.taken.append(str(form["SequenceNumber"]))
        self.ids.append(request.headers["X-Masking-Callback-Id"])
        self.by_path[request.path].append(str(form["SequenceNumber"]))
        await asyncio.sleep(self.slow_s)
        if self.stall:
            await self.released.wait()
        if request.path == "/endless":
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(1000):
                await response.write(b"x" * 65_536)
            return response
        if request.path == "/elsewhere":
            return web.Response(status=302, headers={"Location": self.url()})
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200, text=self.says)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Customer]:
        app = web.Application()
        app.router.add_route("*", "/{path}", self.answer)
        async with serving(web.AppRunner(app, access_log=None, shutdown_timeout=0.1), self.port):
            try:
                yield self
            finally:
                self.released.set()


@pytest.fixture
async def customer() -> AsyncIterator[Customer]:
    async with Customer().listening() as customer:
        yield customer


@asynccontextmanager
async def sending(
    database: Database,
    keyring: Keyring,
    patience: Patience = PATIENCE,
    guard: AddressGuard = HERE,
    *,
    read_timeout: float = 1.0,
) -> AsyncIterator[CallbackSender]:
    async with customers_http(connect_timeout=0.5, read_timeout=read_timeout, guard=guard) as http:
        sender = CallbackSender(database, keyring, http, patience)
        async with sender.running():
            yield sender


class Queue:
    """Sessions that have something to tell."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self.database, self.keyring = database, keyring
        self.parties = 0

    async def session(self) -> Session:
        self.parties += 2
        session = asked(f"+1202555{100 + self.parties:04}", f"+1202555{101 + self.parties:04}")
        number = await open_(self.database, self.keyring, session)
        assert number is not None
        return opened(session, number).session

    async def put(self, session: Session, url: str, *sequences: int) -> None:
        queued = [
            Callback(
                callback_id=f"{session.session_uuid}:session:{n}", kind="session", sequence=n, name="SessionTimeout",
                at=datetime.now(UTC), url=url, method="POST", params={"SequenceNumber": str(n)},
            )
            for n in sequences
        ]  # fmt: skip
        async with self.database.transaction() as connection:
            await record_session(connection, self.keyring, session, queued)

    async def belongs_to(self, session: Session, account_id: str, subaccount_id: str | None = None) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(
                "UPDATE sessions SET account_id = %s, subaccount_id = %s WHERE session_uuid = %s",
                (account_id, subaccount_id, session.session_uuid),
            )

    async def claims_end(self) -> None:
        """The time is over of whoever has callbacks in hand."""
        async with self.database.transaction() as connection:
            await connection.execute("UPDATE callback_claims SET until = now()")

    async def records(self, callback_id: str) -> list[CallbackRecord]:
        async with self.database.transaction() as connection:
            return await find(connection, Chosen(callback_ids=[callback_id]), 1)

    async def states(self) -> list[tuple[object, ...]]:
        async with self.database.transaction() as connection:
            rows = await connection.execute("SELECT sequence, state, attempts, last_outcome FROM callbacks ORDER BY 1")
            return await rows.fetchall()


@pytest.fixture
def queue(database: Database, keyring: Keyring) -> Queue:
    return Queue(database, keyring)


async def until_noted(queue: Queue) -> None:
    """Return once a first try has been noted."""
    async with asyncio.timeout(60):
        while (await queue.states())[0][2] == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_callbacks_of_a_session_arrive_in_order(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer
) -> None:
    session = await queue.session()
    async with sending(database, keyring) as sender:
        for first in range(1, 50, 5):
            await queue.put(session, customer.url(), *range(first, first + 5))
            sender.wake()
        await until(lambda: len(customer.taken) == 50)
    assert customer.taken == [str(n) for n in range(1, 51)]
    assert {state for _, state, _, _ in await queue.states()} == {"delivered"}


async def test_what_is_not_taken_is_tried_again_and_later_ones_may_overtake(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer
) -> None:
    customer.statuses = [500]
    session = await queue.session()
    await queue.put(session, customer.url(), 1, 2)
    async with sending(database, keyring):
        await until(lambda: len(customer.taken) == 3)
    assert customer.taken == ["1", "2", "1"]
    assert await queue.states() == [(1, "delivered", 2, "HTTP 200"), (2, "delivered", 1, "HTTP 200")]


@pytest.mark.parametrize(
    ("path", "outcome"), [("elsewhere", "HTTP 302"), ("endless", "HTTP 200")], ids=["redirect", "endless answer"]
)
async def test_only_the_status_of_the_first_answer_counts(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer, path: str, outcome: str
) -> None:
    session = await queue.session()
    await queue.put(session, customer.url(path), 1)
    async with sending(database, keyring, Patience(timedelta(0), timedelta(seconds=1))):
        await until(lambda: len(customer.taken) == 1)
        async with asyncio.timeout(30):
            while not (await queue.states())[0][2]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    ((_, state, _, told),) = await queue.states()
    assert (state, told) == ("delivered" if "200" in outcome else "dead", outcome)


async def test_a_dead_and_a_stalling_endpoint_delay_nobody_elses_callbacks(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer
) -> None:
    nobody = free_port()
    async with Customer().listening() as stalling:
        stalling.stall = True
        for n in range(12):
            await queue.put(await queue.session(), f"http://127.0.0.1:{nobody}/", n + 100)
            await queue.put(await queue.session(), stalling.url(), n + 200)
        # Whoever waited for one that stalls would wait for longer than this test does.
        async with sending(database, keyring, read_timeout=40) as sender:
            await until(lambda: len(stalling.taken) == AT_ONCE)
            for n in range(12):
                await queue.put(await queue.session(), customer.url(), n)
            sender.wake()
            await until(lambda: len(customer.taken) == 12, 20)
            pending = {sequence for sequence, state, _, _ in await queue.states() if state == "pending"}
            assert pending >= {*range(100, 112), *range(200, 212)}
            stalling.released.set()


LOOPBACK = ("127.0.0.1", "localhost", "0x7f.1", "0x7f000001")


async def test_an_account_with_slow_endpoints_and_subaccounts_delays_nobody_elses_callbacks(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer
) -> None:
    async with database.transaction() as connection:
        subaccounts = [(await create_account(connection, keyring, parent_id=ACCOUNT)).auth_id for _ in range(2)]
        other = (await create_account(connection, keyring)).auth_id
    async with Customer().listening() as slow:
        slow.slow_s = 0.8
        for n in range(SESSIONS_AT_ONCE + 8):
            session = await queue.session()
            await queue.belongs_to(session, ACCOUNT, subaccounts[n % 2])
            url = slow.url().replace("127.0.0.1", LOOPBACK[n // 2 % len(LOOPBACK)])
            await queue.put(session, url, *range(1, 20))
        async with sending(database, keyring) as sender:
            await until(lambda: len(slow.taken) >= AT_ONCE_OF_ACCOUNT)
            await asyncio.sleep(0.3)
            session = await queue.session()
            await queue.belongs_to(session, other)
            await queue.put(session, customer.url(), 1)
            sender.wake()
            # To make room, one of those sessions takes 15 s.
            await until(lambda: len(customer.taken) == 1, 8)


async def test_names_that_are_never_answered_for_delay_nobody_who_asks_for_others(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with name servers that take questions and say nothing."""
    ask, released, asked_for = socket.getaddrinfo, threading.Event(), list[str]()

    def slow(host: str, *args: Any, **more: Any) -> Any:
        if str(host).endswith(".example"):
            asked_for.append(host)
            released.wait(60)
        return ask(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    for n in range(AT_ONCE_OF_ACCOUNT):
        await queue.put(await queue.session(), f"http://{n}.customer.example/", n + 100)
    try:
        async with database.transaction() as connection:
            other = (await create_account(connection, keyring)).auth_id
        async with sending(database, keyring) as sender:
            await until(lambda: len(asked_for) >= 6)
            # Whatever else in the process asks for a name: the carrier's client, PostgreSQL's.
            async with asyncio.timeout(30):
                await asyncio.get_running_loop().getaddrinfo("localhost", customer.port)
            session = await queue.session()
            await queue.belongs_to(session, other)
            await queue.put(session, customer.url().replace("127.0.0.1", "localhost"), 1)
            sender.wake()
            await until(lambda: len(customer.taken) == 1, 30)
            released.set()
    finally:
        released.set()


async def test_what_was_given_up_is_listed_as_dead(
    database: Database, keyring: Keyring, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    session = await queue.session()
    await queue.put(session, f"http://127.0.0.1:{free_port()}/secret-path", 1)
    async with sending(database, keyring, Patience(timedelta(0), timedelta(seconds=1))):
        await until(lambda: "listed as dead" in caplog.text)
    assert await queue.states() == [(1, "dead", 1, "no connection")]
    assert "secret-path" not in caplog.text


@pytest.mark.parametrize(
    ("host", "told"),
    [
        *((host, NOT_PUBLIC) for host in ("127.0.0.1", "localhost", "0x7f000001", "[::ffff:127.0.0.1]", "[::1]")),
        *((host, "not an address") for host in ("2130706433", "0")),
    ],
)
async def test_no_notation_leads_a_callback_into_our_own_network(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer, host: str, told: str
) -> None:
    session = await queue.session()
    await queue.put(session, f"http://{host}:{customer.port}/events", 1)
    async with sending(database, keyring, guard=AddressGuard()):
        await until_noted(queue)
    # Perhaps it was tried again by now.
    assert [(sequence, state, outcome) for sequence, state, _, outcome in await queue.states()] == [
        (1, "pending", told)
    ]
    assert customer.taken == []


async def test_of_several_addresses_of_a_name_only_public_ones_are_connected_to(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that means a public address when it is looked at and another when it is connected to (DNS rebinding)."""
    asked: list[str] = []

    async def rebinding(self: Names, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        asked.append(host)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=AF_INET, proto=0, flags=0)
            for address in ("127.0.0.1", "169.254.169.254", "10.0.0.1")
        ]

    monkeypatch.setattr(Names, "resolve", rebinding)
    session = await queue.session()
    await queue.put(session, f"http://customer.example:{customer.port}/events", 1)
    async with sending(database, keyring, guard=AddressGuard()):
        await until_noted(queue)
    assert set(asked) == {"customer.example"}
    assert [(sequence, state, outcome) for sequence, state, _, outcome in await queue.states()] == [
        (1, "pending", NOT_PUBLIC)
    ]
    assert customer.taken == []


async def test_what_a_dead_sender_had_in_hand_is_taken_over_and_meanwhile_nobody_overtakes_it(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer
) -> None:
    session = await queue.session()
    await queue.put(session, customer.url(), 1)
    async with database.transaction() as connection:
        (claimed,) = await callbacks.claim(connection, keyring, 10, timedelta(hours=1))
    assert [due.callback_id for due in claimed.due] == [f"{session.session_uuid}:session:1"]
    await queue.put(session, customer.url(), 2)
    async with sending(database, keyring):
        await asyncio.sleep(1)
        assert customer.taken == []
        await queue.claims_end()
        await until(lambda: len(customer.taken) == 2)
    assert customer.taken == ["1", "2"]


async def test_a_delivery_that_could_not_be_written_down_is_made_again_with_the_same_id(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker leaves that is killed between both."""
    session = await queue.session()
    await queue.put(session, customer.url(), 1)
    with monkeypatch.context() as killed:
        killed.setattr("masking.delivery.notes.Notebook.note", dies)
        async with sending(database, keyring):
            await until(lambda: len(customer.taken) == 1)
    assert await queue.states() == [(1, "pending", 0, "")]
    await queue.claims_end()
    async with sending(database, keyring):
        await until(lambda: len(customer.taken) == 2)
    assert customer.ids == [f"{session.session_uuid}:session:1"] * 2
    assert await queue.states() == [(1, "delivered", 1, "HTTP 200")]


async def dies(*_: object) -> None:
    raise psycopg.OperationalError


async def test_while_all_goes_well_nothing_overtakes_however_busy_the_endpoint_is(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer
) -> None:
    """More sessions at once than requests may be under way to the endpoint; each is told more while it waits."""
    sessions = [await queue.session() for _ in range(2 * AT_ONCE + 1)]
    customer.slow_s = 0.05
    async with sending(database, keyring) as sender:
        for first in range(1, 7, 2):
            for number, session in enumerate(sessions):
                await queue.put(session, customer.url(f"session-{number}"), first, first + 1)
            sender.wake()
            await asyncio.sleep(0.3)
        await until(lambda: len(customer.taken) == 6 * len(sessions), 30)
    assert {tuple(told) for told in customer.by_path.values()} == {("1", "2", "3", "4", "5", "6")}
    assert len(customer.by_path) == len(sessions)


async def test_two_senders_send_each_callback_once(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer
) -> None:
    for n in range(20):
        await queue.put(await queue.session(), customer.url(), 2 * n, 2 * n + 1)
    async with sending(database, keyring), sending(database, keyring):
        await until(lambda: len(customer.taken) >= 40)
        await asyncio.sleep(0.7)
    assert sorted(map(int, customer.taken)) == list(range(40))


async def test_a_first_try_follows_at_once(
    database: Database, keyring: Keyring, queue: Queue, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masking.delivery.sender.LOOK_EVERY_S", 3600.0)
    session = await queue.session()
    async with sending(database, keyring) as sender:
        await asyncio.sleep(1)
        for n in range(1, 6):
            await queue.put(session, customer.url(), n)
            sender.wake()
        await until(lambda: len(customer.taken) == 5)
