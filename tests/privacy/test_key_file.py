"""Keys rotate under processes that run; a file that is broken meanwhile changes nothing."""

from __future__ import annotations

import errno
import json
import logging
import os
import shlex
import sys
from pathlib import Path

import pytest

from masking.errors import MaskingError, StartupError
from masking.operate.ingress import _write
from masking.privacy import key_command, key_files
from masking.privacy import keyring as keyrings
from masking.privacy.key_files import add_master_key, ensure_keys_file, load_keyring, new_key_file
from masking.privacy.keyring import Keyring, Unreadable
from masking.settings import Settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys.json"
    path.write_text(new_key_file())
    path.chmod(0o600)
    return path


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the file each time."""
    monkeypatch.setattr(keyrings, "FOLLOW_EVERY_S", 0.0)


def by_command(*words: str) -> Keyring:
    return load_keyring(Settings(keys_command=shlex.join(words), keys_file=Path("nowhere")))


def test_a_command_asks_a_key_service_for_the_ring(file: Path) -> None:
    key_id, sealed = load(file).seal(b"before", "test")
    asked = by_command(sys.executable, "-c", f"print(open({str(file)!r}).read())")
    assert asked.open(key_id, sealed, "test") == b"before"
    assert asked.lookup_hash("caller", "x") == load(file).lookup_hash("caller", "x")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((sys.executable, "-c", "print('secret'); import sys; sys.exit('secret')"), "it ended with exit code 1"),
        ((sys.executable, "-c", "import time; time.sleep(60)"), "it took longer than 0.5 s"),
        ((sys.executable, "-c", "import os; os.write(1, bytes([255]) * 9)"), "it printed no text"),
        (("/nowhere/secret",), "it cannot be started (FileNotFoundError)"),
        ((sys.executable, "-c", "print('secret')"), "MASKING_KEYS_COMMAND is no key ring"),
        ((), "it cannot be started"),
    ],
)
def test_a_command_that_gives_no_ring_is_told_without_what_it_said(
    words: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_command, "WITHIN_S", 0.5 if "sleep" in str(words) else 30.0)
    with pytest.raises(StartupError) as refused:
        by_command(*words)
    assert told in str(refused.value)
    assert "MASKING_KEYS_COMMAND" in str(refused.value)
    assert "secret" not in str(refused.value)


def load(file: Path) -> Keyring:
    return load_keyring(Settings(keys_file=file))


def test_a_process_that_runs_takes_a_new_key_up_and_reads_what_is_older(file: Path) -> None:
    running, hashed = load(file), load(file).lookup_hash("caller", "x")
    old_id, old = running.seal(b"before", "test")
    assert add_master_key(file) == "k2"
    new_id, new = running.seal(b"after", "test")
    assert (old_id, new_id) == ("k1", "k2")
    assert running.open(old_id, old, "test") == b"before"
    assert load(file).open(new_id, new, "test") == b"after"
    assert running.lookup_hash("caller", "x") == load(file).lookup_hash("caller", "x") == hashed
    assert running.master_ids == ("k1", "k2")


def test_a_process_that_meets_a_key_it_does_not_know_looks_for_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyrings, "FOLLOW_EVERY_S", 3600.0)
    running = load(file)
    assert running.current == "k1"
    add_master_key(file)
    key_id, sealed = load(file).seal(b"from another process", "test")
    assert running.open(key_id, sealed, "test") == b"from another process"
    with pytest.raises(Unreadable, match="lacks the key"):
        running.open("k9", sealed, "test")


def test_the_file_is_replaced_whole_with_its_mode_and_grows_by_one_key(file: Path) -> None:
    before, opened = json.loads(file.read_text()), file.open()
    assert [add_master_key(file), add_master_key(file)] == ["k2", "k3"]
    with opened:
        assert json.load(opened) == before, "whoever reads the old file reads all of it"
    after = json.loads(file.read_text())
    assert (after["current"], after["lookup"]) == ("k3", before["lookup"])
    assert after["master"].items() >= before["master"].items()
    assert len(set(after["master"].values())) == 3
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize("broken", ["", '{"current": "k1", "mas', "[]", '{"current":"k2","master":{},"lookup":""}'])
def test_a_file_that_breaks_under_a_process_leaves_it_its_keys_and_stops_the_next_one(
    file: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    running = load(file)
    key_id, sealed = running.seal(b"x", "test")
    file.write_text(broken)
    with caplog.at_level(logging.ERROR):
        assert running.current == "k1"
    assert "the keys in use stay" in caplog.text
    assert running.open(key_id, sealed, "test") == b"x"
    with pytest.raises(StartupError, match="is no key ring"):
        load(file)
    with pytest.raises(StartupError, match="is no key ring"):
        add_master_key(file)
    assert file.read_text() == broken


def test_another_look_up_key_is_not_taken_over(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    running = load(file)
    hashed = running.lookup_hash("caller", "x")
    add_master_key(file)
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"lookup": content["master"]["k2"]}))
    assert running.current == "k1"
    assert "must never change" in caplog.text
    assert running.lookup_hash("caller", "x") == hashed


def test_a_file_that_may_not_be_read_yet_is_taken_up_once_it_may(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = load(file)
    add_master_key(file)
    real = Path.read_bytes

    def denied(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    # As between `mv` and `chown`, which changes neither the file's time nor its size.
    monkeypatch.setattr(Path, "read_bytes", denied)
    assert running.current == "k1"
    monkeypatch.setattr(Path, "read_bytes", real)
    assert running.current == "k2"


def test_another_key_under_an_id_in_use_is_not_taken_over(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    running = load(file)
    sealed = running.seal(b"before", "used before")
    content = json.loads(file.read_text())
    other = content | {"master": json.loads(new_key_file())["master"] | {"k2": content["lookup"]}, "current": "k2"}
    file.write_text(json.dumps(other))
    later = running.seal(b"after", "used for the first time")
    assert "other keys under ids that are in use" in caplog.text
    file.write_text(json.dumps(content))
    assert load(file).open(*sealed, "used before") == b"before"
    assert load(file).open(*later, "used for the first time") == b"after"


def test_of_two_that_add_a_key_at_once_one_does(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, added = key_files._new_key, [""]

    def meanwhile() -> str:
        monkeypatch.setattr(key_files, "_new_key", real)
        with pytest.raises(StartupError, match="another process is changing"):
            add_master_key(file)
        added[0] = real()
        return added[0]

    monkeypatch.setattr(key_files, "_new_key", meanwhile)
    assert add_master_key(file) == "k2"
    assert json.loads(file.read_text())["master"]["k2"] == added[0]
    assert add_master_key(file) == "k3"


def test_the_file_keeps_its_owner(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owned, before = list[tuple[int, int]](), file.stat()
    monkeypatch.setattr(os, "fchown", lambda _, uid, gid: owned.append((uid, gid)))
    add_master_key(file)
    assert owned == [(before.st_uid, before.st_gid)]

    def refuse(*_: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    with pytest.raises(StartupError, match="Operation not permitted"):
        add_master_key(file)
    assert load(file).master_ids == ("k1", "k2")
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]


def test_a_service_s_file_keeps_its_owner_and_mode_and_a_new_one_is_readable_by_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned, path = list[tuple[int, int]](), tmp_path / "service.json"
    monkeypatch.setattr(os, "fchown", lambda _, uid, gid: owned.append((uid, gid)))
    _write(path, "first")
    assert (owned, path.stat().st_mode & 0o777) == ([], 0o600)
    path.chmod(0o640)
    before = path.stat()
    _write(path, "second")
    assert owned == [(before.st_uid, before.st_gid)]
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("second", 0o640)
    with pytest.raises(MaskingError, match="cannot write"):
        _write(tmp_path / "nowhere" / "service.json", "third")


def test_a_file_that_is_named_by_a_link_is_replaced_where_it_is(file: Path) -> None:
    running, link = load(file), file.parent / "linked" / "keys.json"
    link.parent.mkdir()
    link.symlink_to(file)
    assert add_master_key(link) == "k2"
    assert running.current == "k2", "whoever reads it by its own name"
    assert link.is_symlink()


def test_a_first_file_that_cannot_be_written_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "keys.json", os.fsync

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        ensure_keys_file(path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "fsync", real)
    ensure_keys_file(path)
    made = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    ensure_keys_file(path)
    assert path.read_text() == made
    assert load(path).master_ids == ("k1",)


def test_a_ciphertext_that_was_altered_is_told_from_one_whose_key_is_missing(file: Path) -> None:
    ring = load(file)
    key_id, sealed = ring.seal(b"x", "test")
    for place in range(len(sealed)):
        altered = bytes(byte ^ (1 if n == place else 0) for n, byte in enumerate(sealed))
        with pytest.raises(Unreadable, match="was altered"):
            ring.open(key_id, altered, "test")
    with pytest.raises(Unreadable, match="was altered"):
        ring.open(key_id, sealed, "another purpose")
