"""`python -m masking.gateway`."""

from __future__ import annotations

from masking.gateway.server import serve
from masking.process import run_process

run_process(serve, "gateway")
