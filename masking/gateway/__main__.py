"""`python -m masking.gateway`."""

from __future__ import annotations

from masking.gateway.server import serve
from masking.process import end_with, run_process

end_with(lambda: run_process(serve, "gateway"))
