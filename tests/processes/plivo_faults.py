"""Plays 500 sessions against a Plivo with every fault: `python -m tests.processes.plivo_faults [SESSIONS [SEED]]`."""

from __future__ import annotations

import os
import sys

import pytest


def main() -> int:
    """The exit code of the run."""
    sessions, seed = (*sys.argv[1:3], "500", "7")[:2] if len(sys.argv) != 2 else (sys.argv[1], "7")
    os.environ.update({"PLIVO_SESSIONS": sessions, "PLIVO_SEED": seed})
    return int(pytest.main(["-q", "tests/integration/test_plivo_faults.py"]))


if __name__ == "__main__":
    sys.exit(main())
