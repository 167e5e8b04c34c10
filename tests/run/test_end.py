"""How a process ends once Temporal's core is in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

ENDS = """
import atexit, os, sys
from masking.process import end
{core}
atexit.register(os.abort)  # as threads of Temporal's core may, while the interpreter shuts down
print("told", end="")
end({code})
"""


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_process_with_temporals_core_ends_with_its_own_code_and_all_that_it_told(code: int) -> None:
    script = ENDS.format(core="import temporalio.bridge.temporal_sdk_bridge", code=code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, b"told", b"")


def test_a_process_without_it_shuts_its_interpreter_down() -> None:
    script = ENDS.format(core="", code=0)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert done.returncode < 0
