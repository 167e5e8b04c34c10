"""One create, one session: whatever is sent again, and whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from masking.client import MaskingClient, OutcomeUnknown
from masking.contract import WORKFLOW_TYPE, session_workflow_id
from masking.domain.snapshot import SessionSnapshot
from masking.domain.terms import SessionRequest
from masking.privacy.keyring import Keyring
from masking.storage.creates import UnansweredCreates, forget
from masking.storage.database import Database
from masking.storage.session_keys import NewKey
from tests.conftest import ACCOUNT
from tests.integration.conftest import System
from tests.integration.test_sessions_api import PARTIES, create, error_of
from worker import working

pytestmark = pytest.mark.anyio


async def sessions_made(system: System) -> int:
    response = await system.http.get(f"{system.api}/")
    count: int = response.json()["response"]["meta"]["total_count"]
    return count


async def with_key(system: System, key: str, **arguments: Any) -> httpx.Response:
    return await system.http.post(f"{system.api}/", json=PARTIES | arguments, headers={"Idempotency-Key": key})


Forgetful = Callable[[int], None]


@pytest.fixture
def forgets_answers(monkeypatch: pytest.MonkeyPatch) -> Forgetful:
    """Let the next starts of sessions succeed without anybody hearing of it, as when Temporal answers too late."""

    def forget(times: int) -> None:
        start = MaskingClient.start
        left = [times]

        async def started(client: MaskingClient, request: SessionRequest) -> SessionSnapshot:
            answer = await start(client, request)
            if left[0]:
                left[0] -= 1
                raise OutcomeUnknown("no answer came in time")
            return answer

        monkeypatch.setattr(MaskingClient, "start", started)

    return forget


async def test_the_same_key_and_body_give_the_same_session(system: System) -> None:
    first = await with_key(system, "ride-7")
    again = await with_key(system, "ride-7")
    other = await with_key(system, "ride-8")

    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 201)
    assert first.json()["session_uuid"] == again.json()["session_uuid"] != other.json()["session_uuid"]
    assert await sessions_made(system) == 2


async def test_a_key_that_holds_a_number_tells_it_to_nobody_who_tries_all_there_are(system: System) -> None:
    first = await with_key(system, "+12025550101")

    async with system.database.transaction() as connection:
        row = await (await connection.execute("SELECT key_hash FROM creates")).fetchone()
    assert row is not None
    stored = {bytes.fromhex(hashlib.new(name, said.encode()).hexdigest()) for name in ("sha1", "sha256", "sha512")
              for said in ("+12025550101", f"{ACCOUNT}:+12025550101")}  # fmt: skip
    assert row[0] not in stored

    # As it was stored before it was hashed with a key.
    former = hashlib.sha256(f"{ACCOUNT}:+12025550101".encode()).digest()
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE creates SET key_hash = %s", (former,))
    answers = await asyncio.gather(*(with_key(system, "+12025550101") for _ in range(4)))
    assert {answer.json()["session_uuid"] for answer in answers} == {first.json()["session_uuid"]}
    assert await sessions_made(system) == 1


async def test_the_same_key_sent_many_times_at_once_gives_one_session(system: System) -> None:
    answers = await asyncio.gather(*(with_key(system, "ride-7") for _ in range(8)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["session_uuid"] for answer in answers}) == 1
    assert await sessions_made(system) == 1


async def test_a_key_with_another_body_is_refused(system: System) -> None:
    await with_key(system, "ride-7")
    other = await with_key(system, "ride-7", record=True)

    assert error_of(other) == (422, "This Idempotency-Key was used with another request body. Use a new key.")
    assert error_of(await with_key(system, "k" * 256)) == (400, "Idempotency-Key should have 1 to 255 characters.")


async def test_a_key_gives_its_session_also_after_the_session_ended_and_for_a_day(system: System) -> None:
    first = (await with_key(system, "ride-7")).json()["session_uuid"]
    await system.http.delete(f"{system.api}/{first}/")
    await system.sessions.final_bill(first)

    again = await with_key(system, "ride-7")
    assert again.status_code == 201
    assert (again.json()["session_uuid"], again.json()["session"]["status"]) == (first, "expired")

    async with system.database.transaction() as connection:
        await connection.execute("UPDATE creates SET created_at = created_at - %s", (timedelta(hours=25),))
    assert (await with_key(system, "ride-7")).json()["session_uuid"] != first


async def test_a_key_may_try_again_after_a_refusal(system: System) -> None:
    refused = await with_key(system, "ride-7", first_party="+4930901820")
    assert error_of(refused) == (400, "Number pool exhausted or not available.")
    async with system.database.transaction() as connection:
        await connection.execute(
            "INSERT INTO numbers (number, account_id, country) VALUES ('+4930901829', %s, 'DE')", (ACCOUNT,)
        )

    assert (await with_key(system, "ride-7", first_party="+4930901820")).status_code == 201


@pytest.mark.parametrize("key", [None, "ride-7"])
@pytest.mark.parametrize("update_lost", [False, True])
async def test_a_create_that_is_refused_after_its_503_is_refused_or_tried_anew_when_it_comes_again(
    system: System, keyring: Keyring, key: str | None, update_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Idempotency-Key": key} if key else {}
    german = PARTIES | {"first_party": "+4930901820"}

    async def send() -> httpx.Response:
        return await system.http.post(f"{system.api}/", json=german, headers=headers)

    async with no_worker(system, keyring, monkeypatch, update_lost=update_lost):
        waited = [await send(), await send()]
    assert [answer.status_code for answer in waited] == [503, 503]
    assert error_of(await send()) == (400, "Number pool exhausted or not available.")

    async with no_worker(system, keyring, monkeypatch, update_lost=update_lost):
        assert (await send()).status_code == 503
    async with system.database.transaction() as connection:
        await connection.execute(
            "INSERT INTO numbers (number, account_id, country) VALUES ('+4930901829', %s, 'DE')", (ACCOUNT,)
        )
    if not update_lost:
        assert error_of(await send()) == (400, "Number pool exhausted or not available."), "what that try came to"
    assert (await send()).status_code == 201
    assert (await send()).status_code == (201 if key else 400), "the number is taken; only a key says the same again"
    assert await sessions_made(system) == 1


@asynccontextmanager
async def no_worker(
    system: System, keyring: Keyring, monkeypatch: pytest.MonkeyPatch, *, update_lost: bool
) -> AsyncIterator[None]:
    """No worker takes what is asked for meanwhile, and nobody waits long. At the end one does all of it.

    Args:
        update_lost: whether Temporal forgets, as it may, that somebody waits for the session to open.
    """
    queue, begun, start = f"masking-{uuid4()}", set[str](), MaskingClient.start

    async def started(client: MaskingClient, request: SessionRequest) -> SessionSnapshot:
        begun.add(request.session_uuid)
        if update_lost:
            with suppress(WorkflowAlreadyStartedError):
                workflow_id = session_workflow_id(request.session_uuid)
                await system.client.start_workflow(WORKFLOW_TYPE, request, id=workflow_id, task_queue=queue)
            raise OutcomeUnknown("no answer came in time")
        while True:
            with suppress(OutcomeUnknown):
                return await start(client, request)
            with suppress(RPCError):
                # It has begun at least: on a busy machine it may not have within the time that nobody waits longer.
                await system.client.get_workflow_handle(session_workflow_id(request.session_uuid)).describe()
                raise OutcomeUnknown("no answer came in time")

    with monkeypatch.context() as patched:
        hasty = MaskingClient(system.client, task_queue=queue, timeout=timedelta(seconds=0.5))
        patched.setattr(system.sessions, "__dict__", vars(hasty))
        patched.setattr(MaskingClient, "start", started)
        yield
    async with working(system.client, system.database, keyring, system.settings, queue):
        for session_uuid in begun:
            await system.sessions.final_bill(session_uuid)


async def test_two_deliberate_creates_are_two_sessions_also_at_the_same_moment(system: System) -> None:
    one_by_one = [await create(system), await create(system)]
    assert one_by_one[0].json()["session_uuid"] != one_by_one[1].json()["session_uuid"]

    other = {"first_party": "+12025550131", "second_party": "+12025550132"}
    at_once = await asyncio.gather(create(system, **other), create(system, **other), create(system, **other))
    assert len({answer.json()["session_uuid"] for answer in at_once}) == 3
    assert await sessions_made(system) == 5


async def test_a_create_sent_again_after_a_5xx_gives_the_session_that_was_made(
    system: System, forgets_answers: Forgetful
) -> None:
    forgets_answers(2)
    answers = [await create(system) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503, 503, 201]
    assert answers[0].headers["Retry-After"] == "1"
    assert await sessions_made(system) == 1
    assert (await create(system)).json()["session_uuid"] != answers[2].json()["session_uuid"]


async def test_a_create_whose_caller_gave_up_waiting_gives_its_session_when_it_comes_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, made = MaskingClient.start, asyncio.Event()

    async def slow(client: MaskingClient, request: SessionRequest) -> SessionSnapshot:
        answer = await start(client, request)
        await asyncio.sleep(0 if made.is_set() else 1)
        made.set()
        return answer

    monkeypatch.setattr(MaskingClient, "start", slow)
    with pytest.raises(httpx.ReadTimeout):
        await system.http.post(f"{system.api}/", json=PARTIES, timeout=0.8)
    await made.wait()
    await no_locks_held(system.database)
    assert (await create(system)).status_code == 201

    assert await sessions_made(system) == 1


async def test_a_create_that_is_sent_again_while_the_first_is_under_way_still_gives_its_session(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller's own time-out was shorter than what Temporal took."""
    start, asked, go_on = MaskingClient.start, asyncio.Queue[str](), asyncio.Event()

    async def slow(client: MaskingClient, request: SessionRequest) -> SessionSnapshot:
        asked.put_nowait(str(request.session_uuid))
        await go_on.wait()
        return await start(client, request)

    monkeypatch.setattr(MaskingClient, "start", slow)
    impatient = asyncio.create_task(create(system))
    first = await asked.get()
    impatient.cancel()
    await no_locks_held(system.database)
    again = asyncio.create_task(create(system))
    second = await asked.get()
    deliberate = asyncio.create_task(create(system))
    third = await asked.get()
    go_on.set()

    assert first == second == (await again).json()["session_uuid"]
    assert third == (await deliberate).json()["session_uuid"] != first
    assert await sessions_made(system) == 2


async def test_another_body_or_a_later_minute_is_no_resend(system: System, forgets_answers: Forgetful) -> None:
    forgets_answers(1)
    assert (await create(system)).status_code == 503
    assert (await create(system, record=True)).status_code == 201
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE creates SET created_at = created_at - %s", (timedelta(seconds=61),))
    assert (await create(system)).status_code == 201

    assert await sessions_made(system) == 3


async def test_a_gateway_that_dies_during_a_create_leaves_it_to_the_next(
    database: Database, migrated_url: str, keyring: Keyring
) -> None:
    """What `kill -9` does to the gateway's connections is what closing the one with the locks does here."""
    made = str(uuid4())
    dying = UnansweredCreates(database, migrated_url)
    claim = dying.claimed(ACCOUNT, b"body", made, NewKey.of(made, keyring))
    assert (await claim.__aenter__()).session_uuid == made

    async with UnansweredCreates(database, migrated_url) as other:
        fresh = [(uuid, NewKey.of(uuid, keyring)) for uuid in (str(uuid4()), str(uuid4()))]
        async with other.claimed(ACCOUNT, b"body", *fresh[0]) as meanwhile:
            assert meanwhile.session_uuid != made, "while the first is under way, the second is a deliberate one"
        await dying.__aexit__()
        await no_locks_held(database)
        async with other.claimed(ACCOUNT, b"body", *fresh[1]) as again:
            assert again.session_uuid == made
    await claim.__aexit__(None, None, None)


async def test_a_create_that_is_answered_while_the_next_one_looks_is_left_alone(
    database: Database, migrated_url: str, keyring: Keyring
) -> None:
    """Two deliberate creates with one body, at two gateways: the first ends between the second's look and its lock."""
    made, fresh = str(uuid4()), str(uuid4())
    async with AsyncExitStack() as first, UnansweredCreates(database, migrated_url) as one:
        await first.enter_async_context(one.claimed(ACCOUNT, b"body", made, NewKey.of(made, keyring)))

        class Looking(UnansweredCreates):
            async def _lock(self, session_uuid: str) -> bool:
                if session_uuid == made:
                    async with database.transaction() as connection:
                        await forget(connection, made)
                    await first.aclose()
                return await super()._lock(session_uuid)

        async with (
            Looking(database, migrated_url) as two,
            two.claimed(ACCOUNT, b"body", fresh, NewKey.of(fresh, keyring)) as given,
        ):
            assert given.session_uuid == fresh, "the caller of the first has its answer: this is another session"


async def test_a_create_that_nobody_sends_again_is_forgotten_after_a_day(
    database: Database, migrated_url: str, keyring: Keyring
) -> None:
    """As many are left as an hour without Temporal leaves, where no caller uses keys."""
    first, second = str(uuid4()), str(uuid4())
    async with UnansweredCreates(database, migrated_url) as creates:
        async with creates.claimed(ACCOUNT, b"one", first, NewKey.of(first, keyring)):
            pass
        async with database.transaction() as connection:
            await connection.execute("UPDATE creates SET created_at = created_at - interval '25 hours'")
        async with creates.claimed(ACCOUNT, b"two", second, NewKey.of(second, keyring)):
            pass

    async with database.transaction() as connection:
        left = await (await connection.execute("SELECT session_uuid FROM creates")).fetchall()
    assert left == [(second,)]


async def no_locks_held(database: Database) -> None:
    """PostgreSQL frees the locks of a closed connection when it notices the end, a moment later."""
    held = (
        "SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    )
    async with asyncio.timeout(20), database.transaction() as connection:
        while await (await connection.execute(held)).fetchone() is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_create_after_postgresql_was_restarted_is_no_503(system: System) -> None:
    assert (await system.http.post(f"{system.api}/", json=PARTIES)).status_code == 201
    async with system.database.transaction() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND query LIKE 'SELECT pg_advisory_unlock%'"
        )
    await asyncio.sleep(0.2)
    assert (await system.http.post(f"{system.api}/", json=PARTIES)).status_code == 201
