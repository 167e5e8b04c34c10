"""Golden histories: recorded once, replayed for ever."""

from __future__ import annotations

from masking.privacy.keyring import Keyring

KEYRING = Keyring({"golden": b"g" * 32}, "golden", b"l" * 32)
"""The key under which they were recorded; it protects nothing else."""
