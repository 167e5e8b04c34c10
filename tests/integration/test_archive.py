"""The archive: every closed session's evidence in it, each once, whatever happens in between."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.archive import ArchiveActivities, ArchiveBatch, Archived
from masking.audit.archive import Archive
from masking.audit.chosen_archive import open_archive
from masking.contract import ARCHIVE_SCHEDULE
from masking.errors import ArchiveAway
from masking.gateway.metrics import Metrics
from masking.privacy.keyring import Keyring
from masking.storage import archiving as stored
from masking.storage.erasure import Erased, erase
from tests.archives import Folder, Place, closed_port
from tests.integration.conftest import Receiver, System
from tests.integration.reported_calls import create
from tests.integration.test_audit import Operator, closed, operator
from worker import archiving

__all__ = ["operator"]

pytestmark = pytest.mark.anyio


@pytest.fixture
def more_settings(archive_place: Place) -> dict[str, Any]:
    return {"archive": archive_place.written, "archive_after": 0}


@pytest.fixture
async def schedule(temporal: Client) -> AsyncIterator[Any]:
    handle = temporal.get_schedule_handle(ARCHIVE_SCHEDULE)
    yield handle
    await handle.delete()


async def waiting(system: System) -> stored.Unarchived:
    async with system.database.transaction() as connection:
        return await stored.unarchived(connection)


async def nothing_waits(system: System) -> None:
    async with asyncio.timeout(20):
        while (await waiting(system)).waiting:  # noqa: ASYNC110 it is written elsewhere
            await asyncio.sleep(0.05)


def name_of(place: Place, uuid: str) -> str:
    (name,) = (name for name in open_archive(place.written).names() if PurePosixPath(name).stem == uuid)
    return name


async def test_closed_sessions_are_archived_by_a_schedule_each_once_and_all_can_be_verified(
    system: System, receiver: Receiver, operator: Operator, keyring: Keyring, archive_place: Place, schedule: Any
) -> None:
    uuids = {await closed(system, receiver), await closed(system, receiver)}
    await create(system, first_party="12025550105", second_party="12025550106")
    metrics = (await Metrics(system.database).exposed()).decode()
    assert "masking_archive_waiting 2.0" in metrics
    for _ in range(2):
        # Also when it is there already, from an earlier start.
        async with archiving(system.client, system.database, keyring, system.settings):
            await schedule.trigger()
            await nothing_waits(system)
            archived = archive_place.stamps()
    assert set(archived) == uuids
    assert "masking_archive_waiting 0.0" in (await Metrics(system.database).exposed()).decode()

    place = archive_place.written
    operator.environment["MASKING_ARCHIVE"] = place
    told = await operator.told("audit", "verify", "--all")
    assert told == {"packs": 2, "proven": 2, "differs": 0, "not done": 0, "differ": []}
    erased, altered = sorted(uuids)
    async with system.database.transaction() as connection:
        assert isinstance(await erase(connection, erased), Erased)
    told = await operator.told("audit", "verify", "--all", place, code=3)
    assert (told["proven"], told["not done"]) == (1, 1)
    name = name_of(archive_place, altered)
    archive_place.put(name, archive_place.get(name).replace(b'"n":3,', b'"n":4,'))
    done = await operator.runs("audit", "verify", "--all", place)
    assert done.exit_code == 1
    assert f"{place}/{name}: bytes: line 3: history event 2 (workflow task scheduled) was altered" in done.stdout
    assert "2 packs: 0 proven, 1 altered or different, 1 not proven in all" in done.stdout


async def test_what_was_written_and_not_noted_is_found_and_what_cannot_be_archived_holds_up_no_other(
    system: System, receiver: Receiver, keyring: Keyring, archive_place: Place
) -> None:
    activities = ArchiveActivities(
        system.client, system.database, keyring, open_archive(archive_place.written), timedelta(0), "of a test"
    )

    async def batch(most: int = 10) -> Archived:
        return await ActivityEnvironment().run(activities.archive_batch, ArchiveBatch(most=most))

    one, other = await closed(system, receiver), await closed(system, receiver)
    assert await batch(most=1) == Archived(archived=1)
    before = archive_place.stamps()
    assert set(before) == {one}
    async with system.database.transaction() as connection:
        # Killed behind the writing, and in the middle of another.
        await connection.execute("UPDATE sessions SET archived_at = NULL, archived_root = NULL")
    name = name_of(archive_place, one)
    left = left_behind(archive_place, name)
    in_the_way = name.replace(one, other)
    archive_place.put(in_the_way, archive_place.get(name))

    assert await batch() == Archived(archived=1, failed=1)
    assert archive_place.stamps()[one] == before[one], "it is not written again"
    assert left is None or not left.exists()
    found = await waiting(system)
    assert (found.waiting, found.failing) == (1, 1)
    assert await batch() == Archived(), "it is tried later"

    archive_place.remove(in_the_way)
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE sessions SET archive_due_at = now()")
    assert await batch() == Archived(archived=1)
    assert set(archive_place.stamps()) == {one, other}
    assert await batch() == Archived()


def left_behind(place: Place, name: str) -> Path | None:
    """What a process that was killed while it wrote leaves; nothing in object storage."""
    if not isinstance(place, Folder):
        return None
    left = (place.folder / name).with_name(".a-session.abc.unfinished")
    left.write_bytes(b"{")
    os.utime(left, (time.time() - 7200, time.time() - 7200))
    return left


@pytest.mark.parametrize("archive_place", ["folder"], indirect=True)
async def test_an_archive_that_is_away_stops_no_session_and_is_told_once_with_what_to_do(
    system: System, receiver: Receiver, keyring: Keyring, schedule: Any, in_bucket: Place,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed_port()}")
    settings = system.settings.model_copy(update={"archive": in_bucket.written})
    with caplog.at_level(logging.ERROR, "masking.worker"):
        async with archiving(system.client, system.database, keyring, settings):
            await closed(system, receiver)
            async with asyncio.timeout(20):
                while not caplog.messages:  # noqa: ASYNC110 nobody tells
                    await asyncio.sleep(0.05)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "masking.worker"]
    assert line.startswith(
        f"the archive cannot be used: {in_bucket.written}: it cannot be reached; check the bucket, AWS_ENDPOINT_URL,"
    )
    activities = ArchiveActivities(
        system.client, system.database, keyring, open_archive(in_bucket.written), timedelta(0), "of a test"
    )
    with pytest.raises(ArchiveAway):
        await ActivityEnvironment().run(activities.archive_batch, ArchiveBatch(most=1))
    assert "masking_archive_waiting 1.0" in (await Metrics(system.database).exposed()).decode()
    assert not in_bucket.stamps()


@pytest.mark.parametrize("archive_place", ["folder"], indirect=True)
async def test_a_session_whose_callbacks_are_still_tried_waits_but_not_for_ever(
    system: System, receiver: Receiver
) -> None:
    uuid = await closed(system, receiver)

    async def is_due(after: timedelta) -> bool:
        async with system.database.transaction() as connection:
            return [each.session_uuid for each in await stored.due(connection, after, 10)] == [uuid]

    assert await is_due(timedelta(0))
    assert not await is_due(timedelta(hours=1)), "it was closed a moment ago"
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE callbacks SET state = 'pending', due_at = now() + interval '1 hour'"
                                 " WHERE callback_id = %s", (f"{uuid}:session:1",))  # fmt: skip
    assert not await is_due(timedelta(0))
    async with system.database.transaction() as connection:
        await connection.execute("UPDATE sessions SET settled_at = settled_at - interval '13 hours'")
    assert await is_due(timedelta(hours=1))


async def test_a_batch_that_is_stopped_leaves_nothing_behind_that_keeps_the_next_from_going_on(
    system: System, receiver: Receiver, keyring: Keyring, archive_place: Place
) -> None:
    class Slow:
        """Is stopped while it writes."""

        def __init__(self, archive: Archive) -> None:
            self._archive = archive

        def prepare(self) -> None:
            self._archive.prepare()

        def keep(self, session_uuid: str, settled_at: datetime, lines: Iterable[bytes]) -> str:
            def slowly() -> Iterator[bytes]:
                for line in lines:
                    writing.set()
                    stopped.wait(10)
                    yield line

            try:
                return self._archive.keep(session_uuid, settled_at, slowly())
            finally:
                written.set()

    archive = open_archive(archive_place.written)
    writing, stopped, written = threading.Event(), threading.Event(), threading.Event()
    uuid = await closed(system, receiver)
    of = (system.client, system.database, keyring)
    slow = ArchiveActivities(*of, cast(Archive, Slow(archive)), timedelta(0), commit="")
    batch = asyncio.create_task(ActivityEnvironment().run(slow.archive_batch, ArchiveBatch(most=10)))
    assert await asyncio.to_thread(writing.wait, 10)
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch
    assert archive_place.stamps() == {}
    assert (await waiting(system)).waiting == 1

    # The next begins while the thread of the one before still writes.
    others = ArchiveActivities(*of, archive, timedelta(0), commit="")
    assert await ActivityEnvironment().run(others.archive_batch, ArchiveBatch(most=10)) == Archived(archived=1)
    first = archive_place.stamps()
    stopped.set()
    assert await asyncio.to_thread(written.wait, 10)
    assert archive_place.stamps() == first == {uuid: first[uuid]}
    if isinstance(archive_place, Folder):
        assert not list(archive_place.folder.rglob(".*.unfinished"))
