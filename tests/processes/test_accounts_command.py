"""`masking accounts` against a running system, as its operator uses it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes.test_run import MASKING, Run, environment

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]


def accounts(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MASKING, "accounts", *arguments], env=env, capture_output=True, text=True, timeout=30, check=False
    )


def test_an_operator_makes_rotates_and_disables_accounts_of_a_running_system(tmp_path: Path) -> None:
    run = Run(environment(tmp_path / "data"))
    try:
        main = run.told("accounts", "create")
        sub = run.told("accounts", "create", "--parent", main["auth_id"])

        def status(account: dict[str, Any]) -> int:
            address = f"{run.ready['api_url']}/v1/Account/{account['auth_id']}/Masking/Session/"
            return httpx.get(address, auth=(account["auth_id"], account["auth_token"])).status_code

        assert (main["auth_id"][:2], sub["auth_id"][:2], len(sub["auth_id"])) == ("MA", "SA", 20)
        assert (status(main), status(sub)) == (200, 200)
        listed = {account["auth_id"]: account for account in run.told("accounts", "list")["accounts"]}
        assert listed[sub["auth_id"]]["parent_id"] == main["auth_id"]
        assert set(listed) == {run.ready["auth_id"], main["auth_id"], sub["auth_id"]}
        assert sub["auth_id"] in run.masking("accounts", "list").stdout

        rotated = run.told("accounts", "rotate-token", main["auth_id"], "--overlap", "0")
        assert (status(main), status(rotated)) == (401, 200)
        assert run.told("accounts", "disable", main["auth_id"]) == {"auth_id": main["auth_id"], "disabled": True}
        assert (status(rotated), status(sub)) == (401, 401)

        unknown = run.masking("accounts", "disable", "MA" + "X" * 18)
        assert unknown.returncode == 2
        assert unknown.stderr == (
            "masking: there is no account with this auth id; list them with `masking accounts list`\n"
        )
        assert run.stop()[0] == 0
    finally:
        if run.process.poll() is None:
            run.kill()


def test_without_a_system_it_says_what_to_start(tmp_path: Path) -> None:
    done = accounts(environment(tmp_path / "nothing"), "list")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "masking: no database: set DATABASE_URL, or start `masking run` (MASKING_DATA names its data folder)\n"
    )
