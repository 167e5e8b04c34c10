"""`masking demo --json` on its own: every step happened, and the report says so."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.processes.disk_search import dump, forms, readable
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
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with Run(
        environment(
            tmp_path / "data",
            TMPDIR=str(temporary),
            MASKING_DEMO_AUTH_TOKEN=token,
            MASKING_CARRIER_AUTH_TOKEN=carriers,
            MASKING_SIMULATOR_SPEED="20",
        )
    ) as run:
        session = run.create(
            is_pin_authentication_required=True, pin_prompt_play="https://x.example/p.mp3", record=True, **pins
        )
        run.phone("PUT", SECOND, {"hangs_up_after": 3})
        number, pin = f"+{session['virtual_number']}", pins["first_party_pin"]
        called = run.told("phones", "call", "+12025550150", number, "--presses", "7700880099#", "--presses", f"{pin}#")
        assert [leg["number"] for leg in called["callees"]] == [SECOND]
        shown = run.told("demo")["session"]
        assert SECOND in story_in_the_ui(run, session["session_uuid"])
        (look, *_) = run.told("privacy", "looks", "--session", session["session_uuid"])["looks"]
        assert (look["who"], look["what"], look["why"]) == ("temporal-ui", "decoded payloads", "namespace default")
        basic = base64.b64encode(f"{run.ready['auth_id']}:{token}".encode()).decode()
        codec = run.ready["codec_url"].rpartition("/")[2]
        parties = [shown["first_party"], shown["second_party"], FIRST[1:], SECOND[1:], "12025550150"]
        secrets = (*parties, *pins.values(), "7700880099", token, carriers, basic, codec)
        # As a crash at this moment would leave it, and as a stop does.
        dump(tmp_path / "data")
        assert session["session_uuid"] in (tmp_path / "data" / "dump.sql").read_text()
        assert readable(tmp_path, secrets) == []
        assert run.stop()[0] == 0
    assert readable(tmp_path, secrets) == []


def story_in_the_ui(run: Run, session_uuid: str) -> str:
    """What the Temporal UI would show of a session's history: it asks where its settings say, as a page of its own."""
    ui = run.ready["temporal_ui_url"]
    with httpx.Client(timeout=10, trust_env=False) as browser:
        codec = browser.get(f"{ui}/api/v1/settings").json()["Codec"]["Endpoint"]
        history = browser.get(f"{ui}/api/v1/namespaces/default/workflows/session-{session_uuid}/history").text
        assert SECOND not in history
        payloads = re.findall(r'\{\s*"metadata": \{[^}]*\},\s*"data": "[^"]*"\s*\}', history)
        headers = {"Origin": ui, "X-Namespace": "default", "Content-Type": "application/json"}
        body = f'{{"payloads": [{",".join(payloads)}]}}'
        decoded = browser.post(f"{codec}/decode", content=body, headers=headers).json()["payloads"]
    assert len(decoded) == len(payloads) > 3
    return "".join(base64.b64decode(each["data"]).decode() for each in decoded)


def test_the_search_finds_a_secret_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 10_000_001)
    for form in forms("12025550101"):
        (tmp_path / "file").write_bytes(b"\0ab" + form + b"cd\0")
        assert readable(tmp_path, ["12025550101"]) == ["11 characters in file"], form
    many = [f"1202555{n:04}" for n in range(50)]
    assert readable(tmp_path, [*many, "8401937265", "a-token-of-forty-characters-0123456789-x"]) == []
    for secret in ("12025550007", "12025550049", "8401937265"):
        for form in forms(secret):
            (tmp_path / "file").write_bytes(form[:-1] + form + form[1:])
            assert readable(tmp_path, [*many, "8401937265"]) == [f"{len(secret)} characters in file"], form
    for before in (b"", b"a", b"ab"):
        (tmp_path / "file").write_bytes(base64.b64encode(before + b"12025550101" + before))
        assert readable(tmp_path, ["12025550101"]) == ["11 characters in file"], before
