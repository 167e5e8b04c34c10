"""How a process ends once Temporal's core is in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from masking.process import run_process
from masking.settings import Settings
from tests.processes.running import logging_of_its_own

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


def test_what_is_run_in_another_program_s_process_leaves_it_to_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a test's, in which Temporal's core is loaded too."""
    monkeypatch.setenv("MASKING_PORT", "eighty")
    with pytest.raises(SystemExit) as leaving:
        run_process(_nothing, "gateway")
    assert leaving.value.code == 2
    monkeypatch.delenv("MASKING_PORT")
    with logging_of_its_own(), pytest.raises(SystemExit) as leaving:
        run_process(_nothing, "gateway")
    assert leaving.value.code == 0


async def _nothing(_: Settings) -> None:
    pass


def test_a_process_without_it_shuts_its_interpreter_down() -> None:
    script = ENDS.format(core="", code=0)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert done.returncode < 0


def test_a_process_that_is_aborted_leaves_no_core_file() -> None:
    """In a container the limit is often none; who is to debug one may raise it again."""
    script = (
        "import resource\n"
        "from masking.process import end_with\n"
        "_, most = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (most, most))\n"
        "end_with(lambda: print(resource.getrlimit(resource.RLIMIT_CORE) == (0, most), most))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    kept, most = done.stdout.split()
    assert most != "0", "else this shows nothing"
    assert kept == "True"


@pytest.mark.parametrize(("what", "status"), [("assert True", 0), ("assert False", 1)])
def test_a_run_of_tests_ends_as_they_did_whatever_temporals_core_does_then(
    tmp_path: Path, what: str, status: int
) -> None:
    (tmp_path / "test_it.py").write_text(f"def test_it() -> None:\n    {what}\n")
    script = (
        "import atexit, os, sys, pytest\n"
        "atexit.register(os.abort)\n"
        f"sys.exit(pytest.main(['-p', 'tests.conftest', '-p', 'no:cacheprovider', {str(tmp_path)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert done.returncode == status, done.stdout
