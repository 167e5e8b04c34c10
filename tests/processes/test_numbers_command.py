"""`masking numbers` against a running system, as its operator uses it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes.test_run import FIRST, SECOND, Run, environment

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(environment(tmp_path / "data"))
    yield run
    run.kill()


def numbers(run: Run, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run.masking("numbers", *arguments)


def told(run: Run, *arguments: str, code: int = 0) -> dict[str, Any]:
    return run.told("numbers", *arguments, code=code)


def states(run: Run) -> dict[str, str]:
    return {number["number"]: number["state"] for number in told(run, "list")["numbers"]}


def test_an_operator_imports_drains_blocks_and_removes_numbers(run: Run, tmp_path: Path) -> None:
    account = run.ready["auth_id"]
    before = states(run)

    wrong = tmp_path / "wrong.csv"
    wrong.write_text(
        "number,country,area\n+12025550160,US,Washington\n+12025550161,IN,\ntwelve,,\n+12025550160,,\n+12025550162,US,\n"
    )
    refused = numbers(run, "import", str(wrong), "--account", account)
    assert refused.returncode == 2
    assert refused.stderr == (
        "masking: nothing was imported:\n"
        "  line 3: country is IN, but the number is of US\n"
        "  line 4: number must be a valid number in E.164, such as +12025550142\n"
        "  line 5: the same number as in line 2\n"
    )
    assert states(run) == before

    right = tmp_path / "right.csv"
    right.write_text("number,area,capabilities\n+12025550160,Washington,voice sms\n+442079460001,London,\n")
    assert told(run, "import", str(right), "--account", account, "--dry-run") == {"checked": 2}
    assert told(run, "import", str(right), "--account", account) == {"added": 2, "known": 0}
    assert told(run, "import", str(right), "--account", account) == {"added": 0, "known": 2}
    (added,) = told(run, "list", "--country", "GB")["numbers"]
    assert (added["number"], added["area"], added["state"]) == ("+442079460001", "London", "available")
    assert "+12025550160" in numbers(run, "list").stdout

    session = run.create()
    used = f"+{session['virtual_number']}"
    explained = told(run, "explain", FIRST, SECOND, "--account", account)
    obstacles = {each["number"]: each["obstacle"] for each in explained["numbers"]}
    assert obstacles[used].startswith("the first party meets it in another session until")
    assert obstacles["+442079460001"] == "it is of GB, not of US"
    assert obstacles[explained["next"]] is None
    assert "numbers could be had." in numbers(run, "explain", FIRST, SECOND, "--account", account).stdout
    met = told(run, "who", used, SECOND)["sessions"]
    assert [(each["session_uuid"], each["party"], each["live"]) for each in met] == [
        (session["session_uuid"], "second", True)
    ]
    nobody = numbers(run, "who", used, SECOND, "--at", "2020-01-01T00:00:00Z")
    assert (nobody.returncode, nobody.stdout) == (
        1,
        "No session on this number had anything to do with this caller.\n",
    )
    metrics = run.http.get(f"http://127.0.0.1:{run.env['MASKING_METRICS_PORT']}/metrics").text
    assert f'masking_pool_in_use{{account="{account}",country="US"}} 1.0' in metrics
    blocked = numbers(run, "block", used)
    assert blocked.returncode == 1
    assert f"{used} is unchanged." in blocked.stdout
    assert session["session_uuid"] in blocked.stdout
    assert told(run, "remove", used, code=1)["live"][0]["session_uuid"] == session["session_uuid"]
    assert told(run, "block", used, "--drain")["state"] == "draining"
    assert states(run)[used] == "draining"
    other = run.create(first_party="+12025550111", second_party="+12025550112")
    assert f"+{other['virtual_number']}" != used, "no more sessions are opened on a draining number"

    run.http.delete(f"{run.api}/{session['session_uuid']}/")
    assert told(run, "block", used) == {"number": used, "state": "blocked", "live": []}
    assert told(run, "reopen", used)["state"] == "available"
    assert told(run, "remove", used)["state"] == "removed"
    assert used not in states(run)
    unknown = numbers(run, "drain", used)
    assert unknown.returncode == 2
    assert unknown.stderr == (f"masking: {used} is not in the inventory; list it with `masking numbers list`\n")
    assert numbers(run, "add", "+12025550163", "--account", "MA" + "X" * 18).returncode == 2
