"""Conformance runs against the same system as the integration tests."""

from __future__ import annotations

from tests.integration.conftest import (
    answered_within,
    creates,
    more_settings,
    receiver,
    settings,
    simulator_port,
    system,
    task_queue,
    worker,
)

__all__ = [
    "answered_within",
    "creates",
    "more_settings",
    "receiver",
    "settings",
    "simulator_port",
    "system",
    "task_queue",
    "worker",
]
