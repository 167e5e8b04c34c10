"""How many cases properties are tried on, here and wherever nothing else is said; every run takes others."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("masking", max_examples=int(os.environ.get("EXAMPLES", "50")))
settings.load_profile("masking")
