"""The command on screens that are not ours: in another encoding, and asked for help in short."""

from __future__ import annotations

import subprocess
import sys

from typer.testing import CliRunner

from masking.cli import app
from tests.docs.blocks import ROOT

HISTORY = f"{ROOT}/examples/demand/ride-hailing-day.csv"


def test_a_screen_without_our_characters_shows_the_rest() -> None:
    environment = {"PYTHONIOENCODING": "ascii", "PATH": ""}
    command = [sys.executable, "-m", "masking", "numbers", "plan", "--history", HISTORY]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"to refuse \\u2264 0.1 %" in done.stdout


def test_help_may_be_asked_for_in_short() -> None:
    for command in ([], ["numbers"], ["numbers", "list"], ["keys", "ingress", "list"]):
        done = CliRunner().invoke(app, [*command, "-h"])
        assert (done.exit_code, "Usage:" in done.stdout) == (0, True)
