"""`python -m masking.carriers.simulator`."""

from __future__ import annotations

from masking.carriers.simulator.server import serve
from masking.process import run_process

run_process(serve, "simulator")
