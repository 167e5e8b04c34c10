"""The command on screens that are not ours: in another encoding, and asked for help in short."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from masking.cli import app
from masking.domain.timeline import Entry, Happened, Timeline, Totals
from masking.operate.timeline_lines import print_timeline
from tests.docs.blocks import ROOT

HISTORY = f"{ROOT}/examples/demand/ride-hailing-day.csv"


def test_a_screen_without_our_characters_shows_the_rest() -> None:
    environment = {"PYTHONIOENCODING": "ascii", "PATH": ""}
    command = [sys.executable, "-m", "masking", "numbers", "plan", "--history", HISTORY]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"to refuse \\u2264 0.1 %" in done.stdout


NOW = datetime(2026, 11, 28, tzinfo=UTC)
NO_MONEY = Totals(legs=0, billed_duration=0, amount=Decimal(0), corrected=Decimal(0), currency="USD", closed_at=None)


def shown(what: str, width: int) -> str:
    """What another program gets of a session to which this happened."""
    story = Timeline(
        session_uuid="d1252cd3-fee2-4e89-a668-8c4381b0e9ec", account_id="MATESTACCOUNT0000000", phase="active",
        virtual_number="", first_party="", second_party="", created_at=NOW, expires_at=NOW, remarks=(), totals=NO_MONEY,
        entries=(Entry(at=NOW, what=Happened.CALLBACK, told=what),),
    )  # fmt: skip
    with CliRunner().isolation(env={"COLUMNS": str(width)}) as (out, *_):
        print_timeline(story)
        return out.getvalue().decode()


def test_what_happened_is_one_line_where_another_program_reads_it() -> None:
    what = "SessionSecondPartyAnswer, session 3, pending: [no connection] in 2 ms, " + "no connection in 5 ms, " * 9
    assert what.strip() in shown(what, 40)


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_output_that_cannot_be_written_is_told_in_a_line(more: list[str]) -> None:
    command = [sys.executable, "-m", "masking", "contract", *more]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == b"masking: the output is not whole: No space left on device\n"


def test_help_may_be_asked_for_in_short() -> None:
    for command in ([], ["numbers"], ["numbers", "list"], ["keys", "ingress", "list"]):
        done = CliRunner().invoke(app, [*command, "-h"])
        assert (done.exit_code, "Usage:" in done.stdout) == (0, True)
