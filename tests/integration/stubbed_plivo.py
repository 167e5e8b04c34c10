"""A system whose sessions Plivo masks, where Plivo is a stub."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from tests.integration.conftest import free_port

AUTH_ID, TOKEN = "MAPLIVOPLIVOPLIVO000", "what-plivo-signs-with"


@pytest.fixture
def stub_port() -> int:
    return free_port()


def settings_for(stub_port: int) -> dict[str, Any]:
    """What an instance is set to that has the stub mask."""
    return {
        "carrier": "plivo",
        "plivo_api_url": f"http://127.0.0.1:{stub_port}",
        "plivo_auth_id": AUTH_ID,
        "plivo_auth_token": SecretStr(TOKEN),
    }
