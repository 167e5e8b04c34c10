"""Recordings are fetched once, encrypted, whole or not at all, and deleted where they should be, whatever fails."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from masking.carriers.voice.calls_api import CallsApi
from masking.gateway.metrics import Metrics
from masking.privacy.keyring import Keyring, Unreadable
from masking.recordings.keeper import RecordingKeeper, keeping
from masking.recordings.sealed import opened
from masking.recordings.store import RecordingStore, open_store
from masking.storage import erasure, recordings
from masking.storage.accounts import AccountError, create_account, list_accounts, set_deletion
from masking.storage.database import Database
from tests.archives import Place
from tests.conftest import ACCOUNT
from tests.recordings.conftest import AUDIO, Carrier, Sessions

pytestmark = pytest.mark.anyio


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "recordings"


@pytest.fixture
def store(place: Path) -> RecordingStore:
    return open_store(str(place))


@pytest.fixture
def keeper(database: Database, keyring: Keyring, orders: CallsApi, store: RecordingStore) -> RecordingKeeper:
    return RecordingKeeper(database, keyring, orders, store)


def files(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file()]


async def audio_of(database: Database, keyring: Keyring, store: RecordingStore, name: str) -> bytes | None:
    async with database.transaction() as connection:
        kept = await recordings.find_kept(connection, keyring, name)
    if kept is None:
        return None
    audio = b"".join(opened(kept.cipher, name, store.read(kept.name)))
    assert len(audio) == kept.size
    return audio


async def figures(database: Database) -> dict[str, float]:
    lines = (await Metrics(database).exposed()).decode().splitlines()
    found = (
        line.removeprefix("masking_recordings_").split() for line in lines if line.startswith("masking_recordings")
    )
    return {name: float(value) for name, value in found}


async def test_a_recording_is_fetched_under_its_sessions_key_and_stays_at_the_carrier(
    sessions: Sessions,
    keeper: RecordingKeeper,
    database: Database,
    keyring: Keyring,
    store: RecordingStore,
    place: Path,
) -> None:
    await sessions.recorded("r1")
    assert (await figures(database))["waiting"] == 1
    assert await keeper.look() == 1
    assert await keeper.look() == 0
    assert await sessions.states() == {"r1": ("kept", True)}
    assert await audio_of(database, keyring, store, "r1") == AUDIO
    (file,) = files(place)
    assert AUDIO[:32] not in file.read_bytes()
    assert "r1" not in file.name
    assert sessions.carrier.deleted == []
    assert await figures(database) == {"waiting": 0, "oldest_seconds": 0, "to_delete": 0, "lost": 0}


async def test_in_object_storage_too(
    sessions: Sessions, orders: CallsApi, database: Database, keyring: Keyring, in_bucket: Place
) -> None:
    store = open_store(in_bucket.written)
    uuid = await sessions.recorded("r1")
    await RecordingKeeper(database, keyring, orders, store).look()
    assert await audio_of(database, keyring, store, "r1") == AUDIO
    name = recordings.file_name(uuid, "r1")
    assert AUDIO[:32] not in in_bucket.get(name)
    for _ in range(2):
        store.remove(name)
    with pytest.raises(Exception, match="it is empty or not there"):
        list(store.read(name))


@pytest.mark.parametrize("fault", ["500", "404", "429", "cut"])
async def test_what_the_carrier_does_not_hand_over_whole_is_not_kept_and_fetched_again(
    sessions: Sessions,
    keeper: RecordingKeeper,
    database: Database,
    keyring: Keyring,
    store: RecordingStore,
    place: Path,
    fault: str,
) -> None:
    await sessions.recorded("r1", to_delete=True)
    sessions.carrier.faults = [fault]
    await keeper.look()
    assert await sessions.states() == {"r1": ("waiting", True)}
    assert files(place) == []
    assert sessions.carrier.deleted == []
    assert await keeper.look() == 0, "not before its pause is over"

    await sessions.due_now()
    await keeper.look()
    assert await sessions.states() == {"r1": ("kept", False)}
    assert await audio_of(database, keyring, store, "r1") == AUDIO
    assert sessions.carrier.deleted == ["r1"]


@pytest.mark.parametrize("fault", ["500", "cut"])
async def test_a_deletion_that_failed_or_whose_answer_was_lost_is_repeated(
    sessions: Sessions, keeper: RecordingKeeper, database: Database, fault: str
) -> None:
    await sessions.recorded("r1", to_delete=True)
    sessions.carrier.deletions = [fault]
    await keeper.look()
    assert await sessions.states() == {"r1": ("kept", True)}
    assert (await figures(database))["to_delete"] == 1
    await sessions.due_now()
    await keeper.look()
    assert await sessions.states() == {"r1": ("kept", False)}
    assert sessions.carrier.deleted == ["r1"]
    assert sessions.carrier.served["r1.mp3"] == 1, "it is not fetched again for that"


async def test_a_worker_that_is_stopped_in_the_middle_leaves_the_rest_to_others_at_once(
    sessions: Sessions, keeper: RecordingKeeper, database: Database, keyring: Keyring, store: RecordingStore
) -> None:
    await sessions.recorded("r1", to_delete=True)
    sessions.carrier.faults = ["stall"]
    async with keeping(keeper):
        async with asyncio.timeout(30):
            while not sessions.carrier.served:  # noqa: ASYNC110 it is across HTTP
                await asyncio.sleep(0.01)
    assert await sessions.states() == {"r1": ("waiting", True)}
    assert await keeper.look() == 1
    assert await audio_of(database, keyring, store, "r1") == AUDIO
    assert sessions.carrier.deleted == ["r1"]


async def test_a_worker_that_died_between_fetching_and_deleting_left_the_deletion(
    sessions: Sessions, keeper: RecordingKeeper, database: Database, monkeypatch: pytest.MonkeyPatch, orders: CallsApi
) -> None:
    await sessions.recorded("r1", to_delete=True)

    class Killed(BaseException):
        pass

    async def die(_: str) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(orders, "delete_recording", die)
        with pytest.raises(Killed):
            await keeper.look()
    assert await sessions.states() == {"r1": ("kept", True)}
    assert await keeper.look() == 0, "not before the dead one's lease is over"
    await sessions.due_now()
    await keeper.look()
    assert await sessions.states() == {"r1": ("kept", False)}
    assert (sessions.carrier.deleted, sessions.carrier.served["r1.mp3"]) == (["r1"], 1)


async def test_several_workers_share_the_work(
    sessions: Sessions, database: Database, keyring: Keyring, orders: CallsApi, store: RecordingStore
) -> None:
    names = [f"r{n}" for n in range(12)]
    await sessions.recorded(*names, to_delete=True)
    keepers = [RecordingKeeper(database, keyring, orders, store) for _ in range(3)]
    assert sum(await asyncio.gather(*(keeper.look() for keeper in keepers))) == len(names), "each has been in one hand"
    assert set((await sessions.states()).values()) == {("kept", False)}
    assert sessions.carrier.served == {f"{name}.mp3": 1 for name in names}
    assert sorted(sessions.carrier.deleted) == sorted(names)


async def test_what_cannot_be_fetched_for_days_is_lost_and_said_so(
    sessions: Sessions, keeper: RecordingKeeper, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await sessions.recorded("r1")
    sessions.carrier.faults = ["404"] * 2
    await keeper.look()
    async with database.transaction() as connection:
        await connection.execute("UPDATE recordings SET due_at = now(), noted_at = now() - interval '4 days'")
    with caplog.at_level(logging.ERROR):
        await keeper.look()
    assert await sessions.states() == {"r1": ("lost", True)}
    assert "does not have this recording any more" in caplog.text
    assert (await figures(database))["lost"] == 1


async def test_an_erased_sessions_audio_is_unreadable_at_once_and_then_removed_everywhere(
    sessions: Sessions,
    keeper: RecordingKeeper,
    database: Database,
    keyring: Keyring,
    store: RecordingStore,
    place: Path,
) -> None:
    uuid = await sessions.recorded("kept")
    await keeper.look()
    (file,) = files(place)
    async with database.transaction() as connection:
        kept = await recordings.find_kept(connection, keyring, "kept")
        assert kept is not None
        await connection.execute("UPDATE sessions SET settled_at = now() WHERE session_uuid = %s", (uuid,))
        await connection.execute("UPDATE routes SET expires_at = now(), held_until = now()")
    async with database.transaction() as connection:
        assert not isinstance(await erasure.erase(connection, uuid), str)
        assert await recordings.find_kept(connection, keyring, "kept") is None
        rows = await connection.execute("SELECT s.wrapped_key, r.sealed_source FROM recordings r JOIN sessions s USING"
                                        " (session_uuid)")  # fmt: skip
        assert await rows.fetchall() == [(b"", b"")]
    assert file.exists(), "unreadable, since its key is gone"
    with pytest.raises(Unreadable):
        list(opened(type(kept.cipher)(uuid, b"x" * 32), "kept", store.read(kept.name)))

    await keeper.look()
    assert files(place) == []
    assert sessions.carrier.deleted == ["kept"]
    assert await sessions.states() == {}


async def test_a_fetch_that_an_erasure_overtakes_keeps_nothing(
    sessions: Sessions, keeper: RecordingKeeper, database: Database, place: Path, carrier: Carrier
) -> None:
    uuid = await sessions.recorded("r1")
    carrier.faults = ["stall"]
    looking = asyncio.create_task(keeper.look())
    async with asyncio.timeout(30):
        while not carrier.served:  # noqa: ASYNC110 it is across HTTP
            await asyncio.sleep(0.01)
    async with database.transaction() as connection:
        await connection.execute("UPDATE sessions SET settled_at = now() WHERE session_uuid = %s", (uuid,))
        await connection.execute("UPDATE routes SET expires_at = now(), held_until = now()")
    async with database.transaction() as connection:
        assert not isinstance(await erasure.erase(connection, uuid), str)
    assert await keeper.look() == 1, "another worker removes what there is, while the first one still fetches"
    assert await sessions.states() == {}
    carrier.released.set()
    await looking
    assert files(place) == []


@pytest.mark.parametrize(("settings_say", "account_says"), [(False, True), (True, False), (False, None), (True, None)])
async def test_an_account_says_whether_its_recordings_are_deleted_at_the_carrier(
    sessions: Sessions, keeper: RecordingKeeper, database: Database, settings_say: bool, account_says: bool | None
) -> None:
    await sessions.recorded("before", to_delete=settings_say)
    async with database.transaction() as connection:
        await set_deletion(connection, ACCOUNT, account_says)
    await sessions.recorded("after", to_delete=settings_say)
    await keeper.look()
    deleted = {"before": settings_say, "after": settings_say if account_says is None else account_says}
    assert await sessions.states() == {name: ("kept", not gone) for name, gone in deleted.items()}
    assert set(sessions.carrier.deleted) == {name for name, gone in deleted.items() if gone}


async def test_a_subaccount_says_so_for_itself_and_has_else_what_its_main_account_says(
    sessions: Sessions, keyring: Keyring, keeper: RecordingKeeper, database: Database
) -> None:
    async with database.transaction() as connection:
        sub, other = [(await create_account(connection, keyring, parent_id=ACCOUNT)).auth_id for _ in range(2)]
        await set_deletion(connection, ACCOUNT, True)
        await set_deletion(connection, sub, False)
        said = {account.auth_id: account.delete_recordings for account in await list_accounts(connection)}
    assert (said[ACCOUNT], said[sub], said[other]) == (True, False, None)
    for owner in (sub, other):
        # Nothing is written of a session's owner after its beginning.
        uuid = await sessions.recorded()
        async with database.transaction() as connection:
            await connection.execute("UPDATE sessions SET subaccount_id = %s WHERE session_uuid = %s", (owner, uuid))
        await sessions.noted(uuid, owner)
    await keeper.look()
    assert await sessions.states() == {sub: ("kept", True), other: ("kept", False)}

    async with database.transaction() as connection:
        with pytest.raises(AccountError, match="no account"):
            await set_deletion(connection, "MANOSUCHACCOUNT00000", True)
