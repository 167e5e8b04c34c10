"""The official Node SDK, unmodified, through every operation and the errors."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ACCOUNT, TOKEN
from tests.integration.conftest import System

pytestmark = pytest.mark.anyio

FOLDER = Path(__file__).parent / "node"
FIRST, SECOND = "+12025550101", "+12025550102"


@pytest.fixture(scope="session")
def installed() -> Path:
    """The SDK, from the lock file, once per checkout."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    # Another test process may be about to do the same, or in the midst of it.
    with (FOLDER / "package.json").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (FOLDER / "node_modules" / ".package-lock.json").is_file():
            done = subprocess.run(
                [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=FOLDER, capture_output=True, text=True, timeout=100, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
    return FOLDER


async def run(script: Path, system: System) -> dict[str, Any]:
    environment = os.environ | {
        "MASKING_API": system.settings.base_url,
        "AUTH_ID": ACCOUNT,
        "AUTH_TOKEN": TOKEN,
        "FIRST_PARTY": FIRST,
        "SECOND_PARTY": SECOND,
    }
    process = await asyncio.create_subprocess_exec(
        "node", script.name, cwd=script.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    told: dict[str, Any] = json.loads(output)
    return told


async def test_the_node_sdk_goes_through_every_operation_and_error(system: System, installed: Path) -> None:
    told = await run(installed / "sessions.js", system)

    uuid = told["created"]["sessionUuid"]
    assert told["created"]["message"] == "Session created"
    assert told["created"]["virtualNumber"] == "+12025550199"
    assert told["created"]["session"]["sessionUuid"] == uuid
    assert told["created"]["session"]["duration"] == 600
    assert told["created"]["session"]["callbackUrl"] == "https://customer.example/events"
    assert told["got"]["response"] == told["created"]["session"]
    assert told["updated"]["message"] == "Session updated"
    assert told["updated"]["session"]["record"] is True
    assert 7200 <= told["updated"]["session"]["duration"] < 7260
    assert told["listed"]["response"]["meta"]["totalCount"] == 1
    (listed,) = told["listed"]["response"]["objects"]
    assert listed.pop("resourceUri") == f"/v1/Account/{ACCOUNT}/Masking/Session/{uuid}/"
    assert listed == told["updated"]["session"]
    # The SDK writes this filter as `durations`.
    assert told["listedByDurationEquals"]["response"]["objects"] == []
    assert told["expired"]["message"] == "Session expired"
    refusals = {name: (told[name]["status"], told[name]["message"]) for name in ("wrong", "expiredTwice", "missing")}
    assert refusals == {
        "wrong": (400, "Invalid parameter. first_party is not a valid phone number."),
        "expiredTwice": (400, "Session already expired"),
        "missing": (404, "not found"),
    }
    assert told["unauthenticated"]["status"] == 401
