"""Paths of the sessions API: no SDK follows a redirect, so each is served in every way that SDKs write it."""

from __future__ import annotations


def path(template: str) -> str:
    """An aiohttp path whose slashes may each be several, with or without some at the end."""
    first, *others = template.strip("/").split("/")
    joined = "".join(f"{{_slashes_{n}:/+}}{part}" for n, part in enumerate(others))
    return f"/{{_slashes_before:/*}}{first}{joined}{{_slashes_after:/*}}"
