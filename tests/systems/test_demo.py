"""`masking demo --json` on its own: every step happened, and the report says so."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.processes.running import MASKING, environment

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def test_the_demo_shows_a_masked_call_from_create_to_the_bill(tmp_path: Path) -> None:
    done = subprocess.run(
        [*MASKING, "demo", "--json"],
        env=environment(tmp_path / "data", TEMPORAL_NAMESPACE="elsewhere", TEMPORAL_API_KEY="of-another-server"),
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
    assert "[" not in told
