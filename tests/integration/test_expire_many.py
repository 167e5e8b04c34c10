"""`masking sessions expire`: many sessions by a list query, on the real server."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.client import MaskingClient, NewSession, OutcomeUnknown, SessionSnapshot, Status
from masking.operate.expire import expire_all, list_query
from masking.operate.many import FAILED
from tests.conftest import ACCOUNT, KEYS
from tests.integration.conftest import System
from tests.integration.reported_calls import create

pytestmark = pytest.mark.anyio

FIRST = "+12025554801"
"""Nobody else's: other tests leave sessions running on the same server."""


class Operator:
    def __init__(self, system: System) -> None:
        target = system.client.service_client.config.target_host
        self.environment = {"TEMPORAL_ADDRESS": target, "MASKING_KEYS": KEYS}

    async def runs(self, *arguments: str) -> Result:
        return await asyncio.to_thread(
            CliRunner().invoke, app, ["sessions", "expire", *arguments], env=self.environment
        )

    async def told(self, *arguments: str) -> Any:
        done = await self.runs(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


async def opened(system: System, n: int) -> list[str]:
    """Sessions of the test's account, all with one first party."""
    wanted = [
        NewSession(account_id=ACCOUNT, first_party=FIRST, second_party=f"+1202555{2000 + each}") for each in range(n)
    ]
    return sorted([(await system.sessions.start(each)).session_uuid for each in wanted])


async def listed(system: System, query: str, count: int) -> None:
    async with asyncio.timeout(30):
        while (await system.client.count_workflows(query)).count != count:  # noqa: ASYNC110 lists lag
            await asyncio.sleep(0.05)


async def test_an_operator_sees_which_and_ends_them_and_nothing_else(system: System) -> None:
    operator, uuids = Operator(system), await opened(system, 3)
    spared = (
        await system.sessions.start(
            NewSession(account_id=ACCOUNT, first_party="+12025552777", second_party="+12025552778")
        )
    ).session_uuid
    by_party = await _query_of(operator)
    await listed(system, by_party, 3)

    would = await operator.told("--party", FIRST, "--dry-run")
    asked = await operator.runs("--party", FIRST)
    assert sorted(would["would_expire"]) == uuids
    assert FIRST.removeprefix("+") not in would["query"]
    assert asked.exit_code == 2
    assert "add --yes" in asked.output

    ended = await operator.told("--party", FIRST, "--yes", "--at-once", "2", "--reason", "an incident")
    assert sorted(ended["expired"]) == uuids
    assert ended["failed"] == {}
    for uuid in uuids:
        assert (await system.sessions.snapshot(uuid)).status is Status.EXPIRED
    assert (await system.sessions.snapshot(spared)).status is Status.ACTIVE

    again = await operator.told(*uuids, "--yes")
    assert sorted(again["over_already"]) == uuids
    words = await operator.runs(spared, "--yes")
    assert words.exit_code == 0
    assert "1 expired, 0 were over already, 0 failed." in words.stdout


async def _query_of(operator: Operator) -> str:
    told = await operator.told("--party", FIRST, "--dry-run")
    query: str = told["query"]
    return query


async def test_what_cannot_be_is_one_line_and_exit_code_2(system: System) -> None:
    operator = Operator(system)
    for arguments, rule in (
        ((), "say which"),
        (("--query", "Nonsense ~ 1"), "does not take this query"),
        (("--account", "' OR 1=1"), "auth id"),
        (("--party", "12"), "not a valid phone number"),
        (("not-a-session",), "form of a UUID"),
        (("--account", ACCOUNT, str(uuid4())), "go without"),
        (("--account", ACCOUNT, "--reason", "for +12025550101"), "without a phone number"),
    ):
        done = await operator.runs(*arguments)
        assert done.exit_code == 2, done.output
        assert rule in done.output


async def test_one_that_is_unknown_fails_and_the_others_are_ended(system: System) -> None:
    (uuid,), nobody = await opened(system, 1), str(uuid4())
    done = await Operator(system).runs(uuid, nobody, "--yes", "--json")

    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert told["expired"] == [uuid]
    assert "no session with this id" in told["failed"][nobody]


async def test_one_that_cannot_be_read_fails_and_the_others_are_ended(system: System, migrated_url: str) -> None:
    operator = Operator(system)
    operator.environment["DATABASE_URL"] = migrated_url
    made = [(await create(system))["session_uuid"], (await create(system, first_party="12025554803"))["session_uuid"]]
    altered, fine = sorted(made)
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE sessions SET wrapped_key = '\\x00' WHERE session_uuid = %s", (altered,))
    done = await operator.runs(altered, fine, "--yes", "--json", "--at-once", "1")

    assert done.exit_code == 1, done.output
    told = json.loads(done.stdout)
    assert told["expired"] == [fine]
    assert "a ciphertext was altered" in told["failed"][altered]


async def test_a_dry_run_names_an_id_that_is_unknown(system: System, migrated_url: str) -> None:
    operator, (uuid,), nobody = Operator(system), await opened(system, 1), str(uuid4())
    operator.environment["DATABASE_URL"] = migrated_url
    done = await operator.runs(uuid.upper(), nobody, "--dry-run")
    assert (done.exit_code, done.stdout.splitlines()) == (1, [uuid, "1 sessions."])
    assert done.stderr == f"masking: {nobody} was not found: there is no session with this id\n"


async def test_an_account_that_does_not_exist_is_no_account_without_sessions(system: System, migrated_url: str) -> None:
    operator = Operator(system)
    operator.environment["DATABASE_URL"] = migrated_url
    done = await operator.runs("--account", "MANOSUCHACCOUNT00000", "--yes")
    assert (done.exit_code, "there is no account with this auth id" in done.stderr) == (2, True)


async def test_no_more_than_so_many_are_ended_at_a_time_and_each_is_tried_again_with_one_id() -> None:
    class Slow(MaskingClient):
        """Answers nobody's first try."""

        def __init__(self) -> None:
            self.now, self.most, self.ids = 0, 0, list[tuple[str, str | None]]()

        async def expire(self, session_uuid: str, *, update_id: str | None = None, reason: str = "") -> SessionSnapshot:
            self.now += 1
            self.most = max(self.most, self.now)
            self.ids.append((session_uuid, update_id))
            await asyncio.sleep(0.001)
            self.now -= 1
            raise OutcomeUnknown("no answer")

    slow, uuids, told = Slow(), [str(n) for n in range(9)], list[str]()
    outcomes = await expire_all(slow, uuids, "", 3, lambda outcome: told.append(outcome.session_uuid))

    assert slow.most == 3
    assert [each.session_uuid for each in outcomes] == uuids
    assert {each.state for each in outcomes} == {FAILED}
    assert sorted(uuid for uuid, _ in slow.ids) == sorted(uuids * 3)
    assert len({update_id for _, update_id in slow.ids}) == 1
    assert sorted(told) == uuids


def test_the_query_is_about_running_sessions_only() -> None:
    assert list_query("MaskingStatus = 'active' OR MaskingStatus = 'expired'", None, None) == (
        "WorkflowType = 'MaskingSession' AND ExecutionStatus = 'Running'"
        " AND (MaskingStatus = 'active' OR MaskingStatus = 'expired')"
    )
