"""Whom our HTTP clients trust."""

from __future__ import annotations

from functools import cache
from ssl import SSLContext

import httpx


@cache
def trusted() -> SSLContext:
    """The public certificates, loaded once: that takes as long as many requests."""
    return httpx.create_ssl_context(trust_env=False)
