"""Why no number is free, and who could reach whom at a past moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.sessions import OpenSession, SessionActivities
from masking.contract import session_workflow_id
from masking.domain.pool.availability import Situation, obstacle
from masking.privacy.keyring import Keyring
from masking.storage.database import Database
from masking.storage.number_questions import sessions_around, situations
from tests.conftest import ACCOUNT
from tests.domain.conversation import FIRST, SECOND, at
from tests.storage.test_routes import asked, open_, turn_back_clock

pytestmark = pytest.mark.anyio

GRACE = timedelta(seconds=60)


async def explained(database: Database, keyring: Keyring, first: str, second: str) -> dict[str, str | None]:
    async with database.transaction() as connection:
        return {
            each.number: obstacle(each, "US") for each in await situations(connection, keyring, ACCOUNT, first, second)
        }


async def test_each_number_names_the_rule_that_forbids_it(database: Database, keyring: Keyring) -> None:
    held = asked(FIRST, "+12025550111")
    number = await open_(database, keyring, held)
    async with database.transaction() as connection:
        await connection.execute("UPDATE numbers SET state = 'draining' WHERE number = '+12025550198'")

    told = await explained(database, keyring, FIRST, SECOND)
    assert number == "+12025550199"
    assert told == {
        "+12025550199": f"the first party meets it in another session until"
        f" {held.expires_at + GRACE:%Y-%m-%d %H:%M:%S} UTC",
        "+12025550198": "it is draining",
        "+12025550197": None,
        "+912269947011": "it is of IN, not of US",
    }
    swapped = await explained(database, keyring, SECOND, FIRST)
    assert str(swapped["+12025550199"]).startswith("the second party meets it")

    await turn_back_clock(database, held, timedelta(seconds=661))
    assert (await explained(database, keyring, FIRST, SECOND))["+12025550199"] is None


async def test_what_is_explained_as_free_is_what_is_chosen(database: Database, keyring: Keyring) -> None:
    for second in ("+12025550111", "+12025550112", SECOND, "+12025550113"):
        free = [number for number, why in (await explained(database, keyring, FIRST, second)).items() if why is None]
        chosen = await open_(database, keyring, asked(FIRST, second))
        assert chosen in free if free else chosen is None


def test_a_resting_number_says_until_when() -> None:
    found = Situation("+12025550199", "US", "available", None, None, at(60), None)
    assert obstacle(found, None) == "it rests until 2026-11-23 14:01:00 UTC"


async def test_the_sessions_around_a_moment_are_those_of_the_number_that_lived_or_cooled_then(
    database: Database, keyring: Keyring
) -> None:
    session = asked()
    number = await open_(database, keyring, session)
    assert number is not None

    async def around(moment: datetime, on: str = number) -> list[str]:
        async with database.transaction() as connection:
            return [found.session_uuid for found in await sessions_around(connection, keyring, on, moment)]

    made, ends = session.created_at, session.expires_at
    assert await around(made) == await around(ends + GRACE) == [session.session_uuid]
    assert await around(made - timedelta(seconds=1)) == []
    assert await around(ends + timedelta(days=1)) == []
    assert await around(made, "+12025550198") == []


async def test_the_operator_is_warned_before_the_pool_runs_out_for_a_pair_and_when_it_has(
    database: Database, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    activities = SessionActivities(database, keyring)
    warned = []
    for second in ("+12025550111", "+12025550112", "+12025550113", "+12025550114"):
        caplog.clear()
        environment, session = ActivityEnvironment(), asked(FIRST, second)
        environment.info = replace(environment.info, workflow_id=session_workflow_id(session.session_uuid))
        await environment.run(activities.open_session, OpenSession(session=session))
        warned.append([record.getMessage().split(" ({")[0] for record in caplog.records])

    assert warned == [
        [],
        [f"the numbers of {ACCOUNT} run out: 1 more could be had for a pair of parties; add numbers"],
        [f"the numbers of {ACCOUNT} run out: 0 more could be had for a pair of parties; add numbers"],
        [f"no number of {ACCOUNT} could be had for a pair of parties; `masking numbers explain` tells why"],
    ]
    assert FIRST not in caplog.text
