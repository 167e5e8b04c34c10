"""What cannot start says so in one line, and what to do about it."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from masking.cli import GROUPS
from masking.privacy.key_files import ensure_keys_file
from tests.processes.running import MASKING, environment, masking

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: what starts before a refusal need not be made anew each time."""
    return tmp_path_factory.mktemp("refused") / "data"


def refusal(env: dict[str, str], *arguments: str) -> str:
    """The one line with which a command refuses to start."""
    done = masking(env, *(arguments or ("run",)))
    assert done.exit_code == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("masking: ")
    return line


def test_a_port_in_use_is_named(data: Path) -> None:
    env = environment(data)
    with socket.create_server(("127.0.0.1", int(env["MASKING_TEMPORAL_UI_PORT"]))):
        line = refusal(env)
    assert env["MASKING_TEMPORAL_UI_PORT"] in line
    assert "MASKING_TEMPORAL_UI_PORT" in line


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("MASKING_PORT", "eighty", "MASKING_PORT"),
        ("MASKING_HOST", "nowhere.invalid", "MASKING_HOST"),
        ("MASKING_DATA", "/proc", "MASKING_DATA"),
        ("MASKING_DEMO_AUTH_ID", "MAshort", "MA followed by 18 characters"),
        ("MASKING_LOG_LEVEL", "loud", "MASKING_LOG_LEVEL"),
        ("MASKING_DEMO_NUMBERS", "12345", "MASKING_DEMO_NUMBERS"),
        ("MASKING_KEYS", "{}", "MASKING_KEYS is no key ring"),
        ("MASKING_KEYS_FILE", "/nonexistent/keys.json", "MASKING_KEYS_FILE: cannot read"),
        ("MASKING_TEMPORAL_BINARY", "/nonexistent/temporal", "no `temporal` binary"),
        ("DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none", "DATABASE_URL: PostgreSQL does not answer"),
        ("DATABASE_URL", "host=here password=very secret", "DATABASE_URL: must be a URL"),
        ("TEMPORAL_ADDRESS", "127.0.0.1:1", "TEMPORAL_ADDRESS: no Temporal server answers"),
        ("TEMPORAL_CONFIG_FILE", "/nonexistent/temporal.toml", "TEMPORAL_CONFIG_FILE: there is no file"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(data: Path, variable: str, value: str, words: str) -> None:
    line = refusal(environment(data, **{variable: value}))
    assert words in line
    if variable not in ("TEMPORAL_ADDRESS", "MASKING_HOST", "MASKING_DATA"):
        assert value == "{}" or "nonexistent" in value or value not in line


@pytest.mark.parametrize("command", ["gateway", "worker", "simulator", "migrate"])
def test_a_single_process_says_what_it_lacks(data: Path, command: str) -> None:
    assert re.search(r"MASKING_KEYS|DATABASE_URL|MASKING_CARRIER_AUTH_TOKEN", refusal(environment(data), command))


def test_a_gateway_whose_database_is_away_says_so_and_no_more(data: Path) -> None:
    keys = data.with_name("keys.json")
    ensure_keys_file(keys)
    away = environment(
        data,
        MASKING_KEYS_FILE=str(keys),
        MASKING_CARRIER_AUTH_TOKEN="a-token",
        DATABASE_URL="postgresql://nobody:secret@127.0.0.1:1/none",
    )
    assert refusal(away, "gateway") == "masking: DATABASE_URL: PostgreSQL does not answer there or refuses the login"


def test_help_and_version_help() -> None:
    imports = [sys.executable, "-X", "importtime", *MASKING[1:]]
    done = subprocess.run([*imports, "--help"], capture_output=True, text=True, timeout=30, check=True)
    for name, group in GROUPS.items():
        assert re.search(rf" {name} +{re.escape(group.help[:30])}", done.stdout)
        assert group.help.split(".")[0] in " ".join(masking({}, name, "--help").stdout.split())
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "masking.cli" in loaded
    assert not loaded & {"psycopg", "temporalio", "aiohttp"}, "it takes as long as what it loads"
    for arguments in (["run", "--help"], ["demo", "--help"], ["--version"]):
        shown = masking({}, *arguments)
        assert shown.exit_code == 0
        assert shown.stdout.strip()


def test_without_a_system_it_says_what_to_start(tmp_path: Path) -> None:
    done = masking(environment(tmp_path / "nothing"), "accounts", "list")

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "masking: no database: set DATABASE_URL, or start `masking run` (MASKING_DATA names its data folder)\n"
    )
