"""A worker whose database goes on from an earlier moment has what it wrote there written again, and nothing else."""

from __future__ import annotations

from typing import Any, cast

import psycopg
import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.sessions import ChangeParties, OpenSession, RecordSession, SessionActivities
from masking import set_back
from masking.domain.lifecycle import opened, remarked
from masking.domain.session import Session
from masking.last_written import LastWritten
from masking.privacy.keyring import Keyring
from masking.set_back import SetBackWatch
from masking.storage.database import Database
from tests.domain.conversation import SECOND
from tests.storage.test_routes import asked

pytestmark = pytest.mark.anyio


class Asked:
    """Temporal, which is asked to have sessions written again."""

    def __init__(self) -> None:
        self.workflows: list[str] = []
        self.gone: set[str] = set()

    def get_workflow_handle(self, workflow_id: str) -> Asked:
        self.workflows.append(workflow_id)
        return self

    async def execute_update(self, *_: object, **__: object) -> None:
        if self.workflows[-1] in self.gone:
            raise RPCError("workflow execution already completed", RPCStatusCode.NOT_FOUND, b"")


@pytest.fixture
def timelines(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the database says, look after look."""
    said: list[Any] = []

    async def timeline(_: object) -> str:
        told = said.pop(0)
        if isinstance(told, Exception):
            raise told
        return str(told)

    monkeypatch.setattr(set_back, "timeline", timeline)
    return said


async def a_session(activities: SessionActivities, second: str = SECOND) -> Session:
    session = asked(second=second)
    known = await activities.open_session(OpenSession(session=session))
    assert known.virtual_number is not None
    return opened(session, known.virtual_number, known.pins).session


async def test_on_another_timeline_what_is_gone_or_older_is_written_again_and_nothing_else(
    database: Database, keyring: Keyring, timelines: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    written, asks = LastWritten(), Asked()
    activities = SessionActivities(database, keyring, written=written)
    watch = SetBackWatch(database, cast(Client, asks), written)
    gone, older, same = [await a_session(activities, second=f"+1202555011{n}") for n in range(3)]
    older = remarked(older, "something happened").session
    await activities.record_session(RecordSession(session=older))
    timelines += ["1", "1", psycopg.OperationalError("away"), "2", "2"]
    for _ in range(2):
        await watch._look()
    async with database.transaction() as connection:
        await connection.execute("DELETE FROM routes WHERE session_uuid = %s", (gone.session_uuid,))
        await connection.execute("DELETE FROM sessions WHERE session_uuid = %s", (gone.session_uuid,))
        await connection.execute("UPDATE sessions SET version = 1 WHERE session_uuid = %s", (older.session_uuid,))
    asks.gone.add(f"session-{older.session_uuid}")
    for _ in range(3):
        await watch._look()
    assert sorted(asks.workflows) == sorted(f"session-{each.session_uuid}" for each in (gone, older))
    assert same.session_uuid not in caplog.text
    assert "1 of them could not be" in caplog.text
    assert not timelines


async def test_a_database_that_does_not_say_is_asked_once(
    database: Database, timelines: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    watch = SetBackWatch(database, cast(Client, Asked()), LastWritten())
    timelines += [psycopg.errors.FeatureNotSupported("not here")]
    for _ in range(2):
        await watch._look()
    assert not caplog.records


def test_so_many_sessions_are_known_and_the_newest_version_of_each() -> None:
    written = LastWritten(most=2)
    for session, version in (("a", 1), ("b", 5), ("b", 4), ("a", 2), ("c", 1)):
        written.note(session, version)
    assert written.versions == {"a": 2, "c": 1}


async def test_a_row_that_is_gone_is_written_again_with_its_routes_and_a_state_it_never_had_is_not_lost(
    database: Database, keyring: Keyring
) -> None:
    activities = SessionActivities(database, keyring)
    session = await a_session(activities)
    async with database.transaction() as connection:
        await connection.execute("DELETE FROM routes")
        await connection.execute("DELETE FROM sessions")
    session = remarked(session, "something happened").session
    assert (await activities.record_session(RecordSession(session=session))).holds_routes
    async with database.transaction() as connection:
        found = await connection.execute(
            "SELECT version, (SELECT count(*) FROM routes r WHERE r.session_uuid = s.session_uuid) FROM sessions s"
        )
        assert await found.fetchall() == [(session.version, 2)]


async def test_routes_of_other_parties_than_the_state_has_are_put_right_by_the_next_write(
    database: Database, keyring: Keyring
) -> None:
    """A change of parties takes its routes before it is recorded; a database may be set back between the two."""
    activities = SessionActivities(database, keyring)
    session = await a_session(activities)
    other = session.terms.model_copy(update={"second_party": "+12025550155"})
    assert (await activities.change_parties(ChangeParties(session=session, terms=other))).holds_routes
    session = remarked(session, "something happened").session
    assert (await activities.record_session(RecordSession(session=session))).holds_routes
    async with database.transaction() as connection:
        found = await connection.execute(
            "SELECT count(*) FILTER (WHERE released), count(*) FILTER (WHERE NOT released) FROM routes"
        )
        assert await found.fetchall() == [(1, 2)]
