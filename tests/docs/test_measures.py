"""The commands that measure: `make benchmarks` and `make chaos` run them, and here they measure little."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.docs.blocks import ROOT, Synopsis, synopses, usages

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

MEASURED = [each for block in usages() for each in synopses(block.text) if each.words[0] == "python"]
SMALL = {
    "lifecycles": 8, "sessions": 20, "burst": 10, "times": 5, "each": 2, "kills": 2, "seed": 7, "carrier": "plivo",
}  # fmt: skip


def test_what_measures_is_run_by_make() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert len(MEASURED) == 6
    for listed in MEASURED:
        assert f"-m {listed.words[1]}\n" in makefile, f"no target of the Makefile runs {listed.words[1]}"


@pytest.mark.skipif("MEASURE" not in os.environ, reason="half a minute and more each: `make chaos` runs them")
@pytest.mark.parametrize("listed", MEASURED, ids=lambda listed: " ".join((listed.words[1], *listed.options)))
def test_what_measures_measures_little_too(listed: Synopsis) -> None:
    options = [option.removeprefix("--") for option in listed.options if option != "--json"]
    assert options, "it lists how much is measured"
    small = [word for option in options for word in (f"--{option}", str(SMALL[option]))]
    done = subprocess.run(
        [sys.executable, "-m", listed.words[1], *small, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    # With 1 it ends where a limit is not held, of which so little says nothing; but also where it failed.
    assert done.stdout.startswith("{"), done.stderr
    assert len(json.loads(done.stdout)) >= 2
