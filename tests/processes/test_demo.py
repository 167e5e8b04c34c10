"""`masking demo --json` on its own: every step happened, and the report says so."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.processes.test_run import MASKING, environment

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def test_the_demo_shows_a_masked_call_from_create_to_the_bill(tmp_path: Path) -> None:
    done = subprocess.run(
        [*MASKING, "demo", "--json"],
        env=environment(tmp_path / "data"),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr + done.stdout
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["failure"] is None
    assert sorted(callback["EventName"] for callback in report["callbacks"]) == sorted(
        [
            "SessionFirstPartyAnswer",
            "SessionSecondPartyRing",
            "SessionSecondPartyAnswer",
            "SessionSecondPartyHangup",
            "SessionFirstPartyHangup",
            "SessionPartiesHangup",
            "SessionTimeout",
            "SessionRecordingInitiated",
            "SessionRecordingCompleted",
        ]
    )
    session = report["session"]
    assert (session["status"], session["total_call_count"]) == ("expired", 2)
    assert report["temporal_ui_url"].endswith(f"/workflows/session-{session['session_uuid']}")
    told = " ".join(line["what"] for line in report["timeline"])
    for step in ("create_masking_session", "rings; its screen shows", "hangs up", "recording", "extended", "expired"):
        assert step in told


def test_what_the_demo_leaves_on_disk_holds_no_number_and_no_token(tmp_path: Path) -> None:
    env = environment(tmp_path / "data")
    done = subprocess.run(
        [*MASKING, "demo", "--json"], env=env, capture_output=True, text=True, timeout=100, check=True
    )
    report = json.loads(done.stdout)
    parties = [report["session"]["first_party"], report["session"]["second_party"]]

    searched = 0
    for file in (tmp_path / "data").rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            searched += len(content)
            for secret in parties:
                for form in (secret.encode(), secret.encode().hex().encode(), secret[::-1].encode()):
                    assert form not in content, f"a party's number is readable in {file.name}"
    assert searched > 10_000_000
