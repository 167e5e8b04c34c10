"""The worker of short runs: what a dead one had in hand is taken over after seconds, not after a minute and a half."""

from __future__ import annotations

from datetime import timedelta

from masking.delivery import sender
from masking.process import end_with, run_process
from worker import serve
from workflows import counterpart

if __name__ == "__main__":
    sender.LEASE = timedelta(seconds=10)
    counterpart.TRY = timedelta(seconds=10)
    end_with(lambda: run_process(serve, "worker"))
