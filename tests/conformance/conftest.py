"""Conformance runs against the same system as the integration tests."""

from __future__ import annotations

from tests.integration.conftest import creates, receiver, system, temporal

__all__ = ["creates", "receiver", "system", "temporal"]
