"""How far long work is: told at a terminal, and to nobody else."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.testing
from typer.testing import CliRunner, Result

from masking.cli import app
from masking.operate import progress as bars
from masking.operate.progress import progress
from masking.storage.database import Database
from tests.conftest import ACCOUNT, KEYS

pytestmark = pytest.mark.anyio

LONG = [
    ("numbers import {}/numbers.csv --account " + ACCOUNT, "Adding numbers"),
    ("numbers import {}/numbers.csv --dry-run --account " + ACCOUNT, "Reading numbers"),
    ("inbox retry", "Retrying events"),
    ("callbacks replay --dead", "Replaying callbacks"),
    ("ledger reconcile {}/records.csv", "Comparing records"),
    ("ledger export --month 2026-11", "Exporting entries"),
    ("keys rewrap", "Moving keys and tokens"),
    ("privacy erase 00000000-0000-4000-8000-00000000000a --yes", "Erasing sessions"),
    ("sessions list --carrier voice", "Reading sessions"),
    ("audit verify --all {}/packs", "Verifying packs"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "numbers.csv").write_text("number\n+12125550101\n+12125550102\n")
    (tmp_path / "records.csv").write_text("call_uuid,amount\na-leg,0.1\n")
    (tmp_path / "packs").mkdir()
    return tmp_path


class Terminal(io.StringIO):
    """Standard error, on a screen."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What commands write to standard error goes to a screen; their output to a file."""
    monkeypatch.setattr(typer.testing._NamedTextIOWrapper, "isatty", lambda file: file.name == "<stderr>")


async def runs(database_url: str, command: str, folder: Path, *more: str) -> Result:
    environment = {"DATABASE_URL": database_url, "MASKING_KEYS": KEYS, "TERM": "xterm", "COLUMNS": "120"}
    words = [*command.format(folder).split(), *more]
    return await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)


@pytest.mark.parametrize(("command", "title"), LONG)
@pytest.mark.usefixtures("at_terminal")
async def test_long_work_says_how_far_it_is_at_a_terminal(
    database: Database, migrated_url: str, folder: Path, command: str, title: str
) -> None:
    del database
    assert title in (await runs(migrated_url, command, folder)).stderr
    if not command.startswith("ledger export"):
        assert "\x1b" not in (await runs(migrated_url, command, folder, "--json")).stderr


@pytest.mark.parametrize(("command", "title"), LONG)
async def test_long_work_is_silent_where_nobody_looks(
    database: Database, migrated_url: str, folder: Path, command: str, title: str
) -> None:
    del database
    done = await runs(migrated_url, command, folder)
    assert ("\x1b" in done.stderr, title in done.stderr) == (False, False)


def shown(monkeypatch: pytest.MonkeyPatch, total: int | None, **more: Any) -> str:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(bars, "SHOWN_EVERY_S", 0)
    with progress("Counting", total, quiet=False, **more) as done:
        done(2)
        done(1)
    return terminal.getvalue()


def test_it_tells_how_many_are_done_and_of_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "3/7" in shown(monkeypatch, 7)
    assert "5/7" in shown(monkeypatch, 7, so_far=2)
    assert "3/?" in shown(monkeypatch, None)


def test_where_nobody_looks_nothing_is_loaded_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with progress("Counting", 7, quiet=False) as done:
        done(1)


@pytest.mark.usefixtures("at_terminal")
async def test_one_number_is_no_long_work(database: Database, migrated_url: str, folder: Path) -> None:
    del database
    done = await runs(migrated_url, f"numbers add +12125550101 --account {ACCOUNT}", folder)
    assert (done.exit_code, done.stderr) == (0, "")
