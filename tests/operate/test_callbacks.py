"""`masking callbacks`, as an operator uses it on a real database."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.delivery.sender import Patience
from masking.domain.session import Session
from masking.operate import looking
from masking.privacy.keyring import Keyring
from masking.storage import batches, callback_records
from masking.storage.callbacks import claim
from masking.storage.database import Database
from masking.storage.looks import looks
from tests.conftest import KEYS
from tests.delivery.test_sender import Customer, Queue, sending, until

pytestmark = pytest.mark.anyio

ONE_TRY = Patience(timedelta(0), timedelta(seconds=1))


class Operator:
    """Runs the command against the database of the test."""

    def __init__(self, database_url: str) -> None:
        self.environment = {"DATABASE_URL": database_url, "MASKING_KEYS": KEYS, "MASKING_OPERATOR": "alice"}

    async def runs(self, *arguments: str) -> Result:
        runner = CliRunner()
        return await asyncio.to_thread(runner.invoke, app, ["callbacks", *arguments], env=self.environment)

    async def told(self, *arguments: str) -> Any:
        done = await self.runs(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


@pytest.fixture
def operator(migrated_url: str) -> Operator:
    return Operator(migrated_url)


@pytest.fixture
def queue(database: Database, keyring: Keyring) -> Queue:
    return Queue(database, keyring)


def ids(session: Session, *sequences: int) -> list[str]:
    return [f"{session.session_uuid}:session:{n}" for n in sequences]


async def given_up(database: Database, keyring: Keyring, queue: Queue, customer: Customer, *sequences: int) -> Session:
    """A session whose callbacks its customer did not take."""
    session = await queue.session()
    await queue.put(session, customer.url(), *sequences)
    async with sending(database, keyring, ONE_TRY):
        async with asyncio.timeout(30):
            while {row[1] for row in await queue.states()} != {"dead"}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    return session


async def test_what_was_given_up_is_listed_shown_and_replayed(
    database: Database, keyring: Keyring, queue: Queue, operator: Operator
) -> None:
    customer = Customer()
    session = await given_up(database, keyring, queue, customer, 1, 2)

    listed = (await operator.told("list"))["callbacks"]
    assert [each["callback_id"] for each in listed] == ids(session, 1, 2)
    assert {(each["state"], each["attempts"], each["last_outcome"]) for each in listed} == {
        ("dead", 1, "no connection")
    }
    assert (await operator.told("list", "--state", "pending"))["callbacks"] == []
    shown = await operator.told("show", ids(session, 1)[0])
    assert shown["event"] == {
        "name": "SessionTimeout", "method": "POST", "endpoint": f"http://127.0.0.1:{customer.port}",
    }  # fmt: skip

    async with customer.listening(), sending(database, keyring, ONE_TRY):
        assert await operator.told("replay", "--dead") == {"replayed": 2}
        await until(lambda: customer.taken == ["1", "2"])
    assert (await operator.told("list"))["callbacks"] == []
    delivered = (await operator.told("list", "--state", "delivered"))["callbacks"]
    assert [(each["sequence"], each["attempts"], each["due_at"]) for each in delivered] == [(1, 1, None), (2, 1, None)]


async def test_more_than_one_statement_may_change_are_replayed_some_at_a_time(
    database: Database, keyring: Keyring, queue: Queue, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await given_up(database, keyring, queue, Customer(), 1, 2, 3, 4, 5)
    monkeypatch.setattr(batches, "AT_ONCE", 2)
    async with database.transaction() as connection:
        first = await callback_records.replay_some(connection, callback_records.Chosen(state="dead"))
        waiting = await callback_records.find(connection, callback_records.Chosen(state="pending"), 9)
    assert (first.how_many, [each.sequence for each in waiting]) == (2, [1, 2])
    assert await operator.told("replay", "--dead") == {"replayed": 3}
    assert await operator.told("replay", "--session", session.session_uuid) == {"replayed": 5}
    assert await operator.told("replay", "--session", session.session_uuid, "--from", "4") == {"replayed": 2}


async def test_everything_of_a_session_from_a_sequence_number_on_is_sent_again_with_its_ids(
    database: Database, keyring: Keyring, queue: Queue, operator: Operator
) -> None:
    customer = Customer()
    async with customer.listening():
        session, other = await queue.session(), await queue.session()
        async with sending(database, keyring, ONE_TRY):
            await queue.put(session, customer.url(), 1, 2, 3, 4)
            await queue.put(other, customer.url(), 3)
            await until(lambda: len(customer.taken) == 5)
        customer.taken.clear()
        assert await operator.told("replay", "--session", session.session_uuid, "--from", "3") == {"replayed": 2}
        async with sending(database, keyring, ONE_TRY):
            await until(lambda: len(customer.taken) == 2)
    assert customer.taken == ["3", "4"]


async def test_a_replayed_callback_is_tried_as_long_as_a_new_one(
    database: Database, keyring: Keyring, queue: Queue, operator: Operator
) -> None:
    session = await given_up(database, keyring, queue, Customer(), 1)
    async with database.transaction() as connection:
        await connection.execute("UPDATE callbacks SET created_at = now() - interval '3 days'")
    assert await operator.told("replay", *ids(session, 1)) == {"replayed": 1}
    async with database.transaction() as connection:
        (claimed,) = await claim(connection, keyring, 1, timedelta(seconds=10))
    assert claimed.due[0].age < timedelta(minutes=1)
    assert claimed.due[0].attempts == 0


async def test_ids_that_there_are_not_are_told_and_the_others_are_sent_again(
    database: Database, keyring: Keyring, queue: Queue, operator: Operator
) -> None:
    session = await given_up(database, keyring, queue, Customer(), 1)
    done = await operator.runs("replay", *ids(session, 1, 2))
    assert done.exit_code == 1
    assert done.stdout == "1 callbacks will be sent again.\n"
    assert "1 of these ids are unknown" in done.stderr


async def test_each_try_is_shown_and_what_was_answered_only_when_asked_for(
    database: Database, keyring: Keyring, queue: Queue, operator: Operator
) -> None:
    customer = Customer()
    customer.statuses = [500]
    customer.says = "no such ride: 12025550101"
    async with customer.listening():
        session = await given_up(database, keyring, queue, customer, 1)
    (callback,) = ids(session, 1)
    (told,) = (await operator.told("show", callback))["tries"]
    assert (told["outcome"], told["status"], told["answer"]) == ("HTTP 500", 500, None)
    assert 0 <= told["duration_ms"] < 60_000
    assert await looked(database) == []
    (told,) = (await operator.told("show", callback, "--answers"))["tries"]
    assert told["answer"] == customer.says
    assert await looked(database) == [
        ("alice", "answers to a callback", session.session_uuid, 1, f"callback {callback}")
    ]
    for arguments, shown in ((["show", callback], False), (["show", callback, "--answers"], True)):
        done = await operator.runs(*arguments)
        assert "UTC  HTTP 500, " in done.stdout
        assert (customer.says in done.stdout) == shown
    async with database.transaction() as connection:
        plain = await connection.execute(
            "SELECT FROM callback_attempts WHERE position(%s IN sealed_answer) > 0", (b"1202",)
        )
        assert await plain.fetchone() is None


async def looked(database: Database) -> list[tuple[object, ...]]:
    async with database.transaction() as connection:
        return [each[1:] for each in await looks(connection, limit=10)]


async def test_answers_that_nobody_can_be_noted_for_are_not_shown(
    database: Database, keyring: Keyring, queue: Queue, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = Customer()
    customer.statuses = [500]
    customer.says = "no such ride: 12025550101"
    async with customer.listening():
        session = await given_up(database, keyring, queue, customer, 1)

    async def fails(*_: object, **__: object) -> None:
        raise psycopg.OperationalError

    monkeypatch.setattr(looking, "note_look", fails)
    done = await operator.runs("show", *ids(session, 1), "--answers")
    assert done.exit_code == 2
    assert "nothing is shown, since it cannot be written down who looked" in done.stderr
    assert customer.says not in done.output


async def test_an_endpoint_that_keeps_failing_is_listed_until_it_takes_one(
    database: Database, keyring: Keyring, queue: Queue, operator: Operator
) -> None:
    assert (await operator.runs("endpoints")).stdout == "0 failing.\n"
    customer = Customer()
    session = await given_up(database, keyring, queue, customer, 1, 2, 3)
    (told,) = (await operator.told("endpoints"))["endpoints"]
    assert (told["owner_id"], told["failures"], told["last_outcome"]) == (session.account_id, 3, "no connection")
    assert told["endpoint"] == f"http://127.0.0.1:{customer.port}"
    assert f"http://127.0.0.1:{customer.port}  3 failures in a row" in (await operator.runs("endpoints")).stdout

    async with customer.listening(), sending(database, keyring, ONE_TRY):
        assert await operator.told("replay", *ids(session, 1)) == {"replayed": 1}
        await until(lambda: customer.taken == ["1"])
    assert await operator.told("endpoints") == {"endpoints": [], "more": False}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replay"], "say which"),
        (["replay", "--kind", "recording"], "say which"),
        (["replay", "--dead", "--from", "2"], "add --session UUID"),
        (["show", "nobody:session:1"], "there is no callback with this id"),
    ],
)
async def test_what_cannot_be_done_is_told_with_what_to_do(
    database: Database, operator: Operator, arguments: list[str], words: str
) -> None:
    done = await operator.runs(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr
