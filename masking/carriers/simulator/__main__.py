"""`python -m masking.carriers.simulator`."""

from __future__ import annotations

from masking.carriers.simulator.server import serve
from masking.process import end_with, run_process

end_with(lambda: run_process(serve, "simulator"))
