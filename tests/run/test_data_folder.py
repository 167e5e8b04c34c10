"""The data folder: ours alone, and a wrong one is told."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from masking.embedded.postgres import prepare_postgres
from masking.errors import StartupError
from masking.privacy.key_files import load_keyring
from masking.run.system import running_system, temporal_environment
from masking.settings import Settings

pytestmark = pytest.mark.anyio


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


@pytest.mark.parametrize("data", ["/proc", "/dev/null"])
async def test_a_folder_that_cannot_hold_our_data_is_told(data: str) -> None:
    with pytest.raises(StartupError, match=f"MASKING_DATA: {data} cannot hold our data"):
        async with running_system(Settings(data=Path(data)), lambda said: None):
            pass


def test_a_path_with_a_comma_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="MASKING_DATA: the path must hold no comma"):
        prepare_postgres(tmp_path / "a,b" / "postgres")


def test_a_cluster_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    (folder / "something of somebody's").touch()
    with pytest.raises(StartupError, match=r"cannot be set up in .*: initdb: error: .* exists but is not empty"):
        prepare_postgres(folder)


def test_nobody_else_may_look_into_the_folder(tmp_path: Path) -> None:
    """For root PostgreSQL runs as a user of its own, whose group may pass through and no more."""
    above, data = tmp_path / "above", tmp_path / "above" / "data"
    above.mkdir(mode=0o700)

    prepare_postgres(data / "postgres")
    prepare_postgres(data / "postgres")

    root = os.geteuid() == 0
    assert mode(data) == (0o710 if root else 0o700)
    assert mode(above) == (0o711 if root else 0o700)
    assert mode(data / "postgres") == 0o700
    assert data.stat().st_uid == os.geteuid()
    if root:
        assert data.stat().st_gid == (data / "postgres").stat().st_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="for others PostgreSQL runs as themselves")
def test_a_cluster_can_be_made_beside_one_whose_folders_are_closed_again(tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir(mode=0o700)
    prepare_postgres(above / "data" / "postgres")
    user = (above / "data" / "postgres").stat().st_uid
    beside = above / "beside"
    beside.mkdir(mode=0o700)
    os.chown(beside, user, user)

    # As the package runs `initdb`: it changes the user, but not the group.
    looked = subprocess.run(["ls", "-a", str(beside)], user=user, capture_output=True, text=True, check=False)

    assert (looked.returncode, looked.stdout) == (0, ".\n..\n")


def test_the_socket_of_a_long_path_is_ours_alone(tmp_path: Path) -> None:
    prepared = prepare_postgres(tmp_path / ("long" * 25) / "postgres")

    folder = Path(prepared.command[-1])
    try:
        assert tmp_path not in folder.parents
        assert mode(folder) == 0o700
    finally:
        shutil.rmtree(folder)


def test_keys_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xff\xfe")
    with pytest.raises(StartupError, match=r"MASKING_KEYS_FILE: .* is no text"):
        load_keyring(Settings(keys_file=tmp_path / "keys"))


def test_the_embedded_servers_clients_go_by_nothing_that_is_about_another(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings(temporal_port=20_007)
    assert temporal_environment(given) == {"TEMPORAL_ADDRESS": "127.0.0.1:20007", "TEMPORAL_CONFIG_FILE": os.devnull}
    monkeypatch.setenv("TEMPORAL_ADDRESS", "")
    assert temporal_environment(given) is not None
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    assert temporal_environment(given) is None
