"""`python -m masking`."""

from __future__ import annotations

from masking.cli import main

main()
