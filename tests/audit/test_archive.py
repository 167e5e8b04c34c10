"""An archive behaves in one way, whether it is a folder or object storage."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore
from temporalio.testing import ActivityEnvironment
from typer.testing import CliRunner

import activities.archive
from activities.archive import ArchiveActivities, ArchiveBatch
from masking.audit.archive import name_of
from masking.audit.chosen_archive import open_archive
from masking.audit.object_archive import ObjectArchive
from masking.cli import app
from masking.errors import ArchiveAway, MaskingError
from masking.objects.place import Bucket, place_of
from masking.settings import Settings
from tests.archives import KEY_ID, SECRET, Place, closed_port
from tests.audit.packed import SIGNER, recorded

pytestmark = pytest.mark.anyio

CLOSED = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)


async def test_a_pack_is_written_once_and_the_second_write_finds_the_first(archive_place: Place) -> None:
    it, archive = await recorded("quiet-r2"), open_archive(archive_place.written)
    archive.prepare()
    name = name_of(it.uuid, CLOSED.astimezone())
    assert name == f"2026-11-23/{it.uuid}.evidence"
    root = archive.keep(it.uuid, CLOSED, [it.content()])
    before = archive_place.stamps()
    later = it.content(exported_at=CLOSED + timedelta(hours=1))
    assert open_archive(archive_place.written).keep(it.uuid, CLOSED, [later]) == root
    assert archive_place.stamps() == before
    assert archive_place.get(name) == it.content()
    assert list(archive.names()) == [name]
    assert archive.session_of(name) == it.uuid
    pack = archive.read(name)
    assert (pack.faults, pack.seal and pack.seal.root) == ([], root)


async def test_of_many_that_write_at_once_one_stays(archive_place: Place) -> None:
    it, archive = await recorded("quiet-r2"), open_archive(archive_place.written)
    contents = [it.content(exported_at=CLOSED + timedelta(minutes=n)) for n in range(6)]
    with ThreadPoolExecutor(len(contents)) as pool:
        roots = set(pool.map(lambda content: archive.keep(it.uuid, CLOSED, [content]), contents))
    assert len(roots) == 1
    assert archive_place.get(name_of(it.uuid, CLOSED)) in contents


async def test_what_is_there_and_broken_is_reported_and_stays(archive_place: Place) -> None:
    it, archive = await recorded("quiet-r2"), open_archive(archive_place.written)
    whole, name = it.content(), name_of(it.uuid, CLOSED)
    for broken in (whole[:-100], whole.replace(b'"n":5,', b'"n":6,'), it.content(session_uuid="another's"), b""):
        archive_place.put(name, broken)
        with pytest.raises(MaskingError, match="is no whole pack of this session: move it away") as told:
            archive.keep(it.uuid, CLOSED, [whole])
        assert archive.where(name) in str(told.value)
        assert archive_place.get(name) == broken
    assert archive.session_of(name) is None
    archive_place.remove(name)
    assert archive.session_of(name) is None
    with pytest.raises(MaskingError, match="cannot read"):
        archive.read(name)
    assert archive.keep(it.uuid, CLOSED, [whole])


async def test_all_of_an_archive_is_verified(archive_place: Place, tmp_path: Path) -> None:
    content = (await recorded("quiet-r2")).content()
    for n in range(3):
        archive_place.put(f"2026-11-2{n}/{n}.evidence", content)
    archive_place.put("2026-11-21/1.evidence", content.replace(b'"n":5,', b'"n":6,'))
    archive_place.put("2026-11-21/readme.txt", b"not a pack")
    done = await command(tmp_path, "verify", "--all", archive_place.written, "--offline", "--signer", SIGNER.public_key)
    assert done.exit_code == 1, done.output
    where = open_archive(archive_place.written).where("2026-11-21/1.evidence")
    assert f"{where}: bytes: line 5: history event 4" in done.stdout
    assert "3 packs: 0 proven, 1 altered or different, 2 not proven in all" in done.stdout
    told = await command(tmp_path, "verify", "--all", archive_place.written, "--offline", "--json")
    assert [each["file"] for each in json.loads(told.stdout)["differ"]] == [where]


def test_a_bucket_is_listed_beyond_a_page(in_bucket: Place) -> None:
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    bucket = cast(Bucket, place_of(in_bucket.written))
    for n in range(1005):
        backend.put_object(bucket.name, f"{bucket.prefix}/2026-11-23/{n}.evidence", b"")
    assert len(set(open_archive(in_bucket.written).names())) == 1005


async def command(folder: Path, *arguments: str) -> Any:
    nowhere = {"MASKING_DATA": str(folder / "none"), "DATABASE_URL": "", "MASKING_KEYS": "", "MASKING_KEYS_FILE": ""}
    return await asyncio.to_thread(CliRunner().invoke, app, ["audit", *arguments], env=nowhere)


@pytest.mark.parametrize(
    ("place", "changed", "words"),
    [
        ("s3://missing/x", {}, "s3://missing/x: it answers 404 Not Found (NoSuchBucket); check the bucket, AWS_"),
        ("s3://any", {"AWS_ENDPOINT_URL": "http://127.0.0.1:{free}"}, "s3://any: it cannot be reached; check"),
        ("s3://any", {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_METADATA_ENDPOINT": "http://127.0.0.1:{free}"},
         "s3://any: there are no credentials; check the bucket, AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID"),
        ("gs://any", {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"},
         "gs://any: Generic GCS error: Unable to open service account file"),
        ("az://any/x", {"AZURE_STORAGE_ACCOUNT_NAME": None}, "Account must be specified; check the container, AZURE_"),
    ],
    ids=["no bucket", "unreachable", "no credentials", "no key file", "no account"],
)  # fmt: skip
async def test_an_archive_that_is_away_is_told_in_one_line(
    place: str, changed: dict[str, str | None], words: str, in_bucket: Place, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in changed.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value.replace("{free}", str(closed_port())))
    done = await command(tmp_path, "verify", "--all", place)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert KEY_ID not in done.stderr
    assert SECRET not in done.stderr
    with pytest.raises(ArchiveAway) as told:
        open_archive(place).prepare()
    assert words in str(told.value)


def test_storage_that_replaces_what_is_there_is_refused() -> None:
    class Replacing:
        def __init__(self) -> None:
            self.inner = MemoryStore()

        def put(self, name: str, content: bytes, **_: object) -> None:
            self.inner.put(name, content)

    archive, storage = ObjectArchive(Bucket("s3", "bucket", "")), Replacing()
    archive.__dict__["_store"] = storage
    with pytest.raises(ArchiveAway, match="it replaces what is there; use storage that knows conditional writes"):
        archive.keep("a", CLOSED, [b"x"])
    assert [each["path"] for page in storage.inner.list() for each in page] == ["masking.archive"]


async def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveAway, match=r"/file/archive cannot be written \(Not a directory\)"):
        open_archive(str(tmp_path / "file" / "archive")).prepare()


def test_what_another_process_is_writing_keeps_no_folder_from_being_made_ready(tmp_path: Path) -> None:
    day = tmp_path / "2026-11-23"
    day.mkdir()
    # Listed, and gone when it is looked at, as a file is that takes its place meanwhile.
    (day / ".one.abc.unfinished").symlink_to(day / "nowhere")
    (day / ".two.abc.unfinished").write_text("")
    os.utime(day / ".two.abc.unfinished", (0, 0))
    open_archive(str(tmp_path)).prepare()
    assert [path.name for path in day.iterdir()] == [".one.abc.unfinished"]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("s3://AKIAKEY:hunter2@bucket/x", "must hold no credentials"),
        ("s3://hunter2@bucket", "must hold no credentials"),
        ("s3://bucket/x?sig=hunter2", "must be a folder, or s3://BUCKET/PREFIX"),
        ("https://hunter2.example/bucket", "must be a folder, or s3://BUCKET/PREFIX"),
        ("s3://bucket/../hunter2", "must be a folder, or s3://BUCKET/PREFIX"),
        ("s3://", "must be a folder, or s3://BUCKET/PREFIX"),
        ("file://host/hunter2", "must be a folder, or s3://BUCKET/PREFIX"),
    ],
)
async def test_a_place_that_is_written_wrongly_is_refused_without_being_repeated(
    written: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = await command(tmp_path, "verify", "--all", written)
    monkeypatch.setenv("MASKING_ARCHIVE", written)
    for done in (named, await command(tmp_path, "verify", "--all")):
        assert (done.exit_code, done.stdout) == (2, "")
        assert words in done.stderr
        assert "hunter2" not in done.stderr
    assert "MASKING_ARCHIVE: must" in done.stderr


def test_places() -> None:
    assert place_of("s3://bucket") == place_of("s3://bucket/") == Bucket("s3", "bucket", "")
    assert place_of("az://container/a/b-c/") == Bucket("az", "container", "a/b-c")
    assert place_of("file:///var/lib/the%20archive") == Path("/var/lib/the archive")
    assert place_of("archive") == Path("archive").absolute()
    assert Settings(archive="gs://bucket/a").archive_place == "gs://bucket/a"
    assert Settings(archive="file:///a").archive_place == "/a"
    assert Settings(data=Path("/d")).archive_place == "/d/archive"


@settings(max_examples=50)
@given(st.builds(Bucket, st.sampled_from(["s3", "gs", "az"]), st.from_regex(r"\A[a-z0-9][a-z0-9.-]{1,9}\Z"),
                 st.lists(st.from_regex(r"\A[a-zA-Z0-9_-][a-zA-Z0-9._=-]{0,9}\Z")).map("/".join)))  # fmt: skip
def test_a_bucket_that_is_written_down_is_read_as_the_same(bucket: Bucket) -> None:
    assert place_of(str(bucket)) == bucket


async def test_temporal_hears_that_the_activity_lives_while_the_archive_takes_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment, heard, twice = ActivityEnvironment(), list[object](), threading.Event()

    class Slow:
        def prepare(self) -> None:
            assert twice.wait(30)
            raise ArchiveAway("away")

    def hear(*_: object) -> None:
        heard.append(None)
        if len(heard) == 2:
            twice.set()

    monkeypatch.setattr(activities.archive, "HEARTBEAT_EVERY_S", 0.05)
    environment.on_heartbeat = hear
    nothing = cast(Any, None)
    its = ArchiveActivities(nothing, nothing, nothing, cast(Any, Slow()), timedelta(0), "")
    with pytest.raises(ArchiveAway):
        await environment.run(its.archive_batch, ArchiveBatch(most=1))
