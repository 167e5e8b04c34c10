"""`masking demo --json` on its own: every step happened, and the report says so."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from tests.processes.test_run import FIRST, MASKING, SECOND, Run, environment

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


def test_what_a_system_leaves_on_disk_holds_no_number_no_pin_and_no_token(tmp_path: Path) -> None:
    token, carriers = "a-token-that-is-readable-nowhere-0123456", "a-carriers-token-readable-nowhere-987654"
    pins = {"first_party_pin": "8401937265", "second_party_pin": "7203948156"}
    run = Run(
        environment(
            tmp_path / "data",
            MASKING_DEMO_AUTH_TOKEN=token,
            MASKING_CARRIER_AUTH_TOKEN=carriers,
            MASKING_SIMULATOR_SPEED="20",
        )
    )
    try:
        session = run.create(
            is_pin_authentication_required=True, pin_prompt_play="https://x.example/p.mp3", record=True, **pins
        )
        run.phone("PUT", SECOND, {"hangs_up_after": 3})
        number, pin = f"+{session['virtual_number']}", pins["first_party_pin"]
        called = run.told("phones", "call", "+12025550150", number, "--presses", "7700880099#", "--presses", f"{pin}#")
        assert [leg["number"] for leg in called["callees"]] == [SECOND]
        shown = run.told("demo")["session"]
        assert run.stop()[0] == 0
    finally:
        if run.process.poll() is None:
            run.kill()

    basic = base64.b64encode(f"{run.ready['auth_id']}:{token}".encode()).decode()
    parties = [shown["first_party"], shown["second_party"], FIRST[1:], SECOND[1:], "12025550150"]
    searched = 0
    for file in (tmp_path / "data").rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            searched += len(content)
            for secret in (*parties, *pins.values(), "7700880099", token, carriers, basic):
                for form in (secret.encode(), secret.encode().hex().encode(), secret[::-1].encode()):
                    assert form not in content, f"a secret of {len(secret)} characters is readable in {file.name}"
    assert searched > 10_000_000
