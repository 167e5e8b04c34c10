"""One try at one callback: the signed request to the customer's endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import httpx

from masking.carriers.signature import signed_headers
from masking.domain.callbacks import Callback

AT_MOST_S = 30.0
"""How long one try may take in all."""

SHORT_BODY = 4096
SHORT_BODY_WITHIN_S = 0.2
"""A body of so many bytes is read, if it comes within so many seconds, so that its connection can serve again."""


class Outcome(NamedTuple):
    """What came of a try, in a few words without the address, and whether it counts as delivered."""

    told: str
    taken: bool


def endpoint_of(callback: Callback) -> str:
    """Where it goes: scheme, host and port of its URL."""
    try:
        url = httpx.URL(callback.url)
    except httpx.InvalidURL:
        return ""
    return f"{url.scheme}://{url.netloc.decode()}"


async def send(http: httpx.AsyncClient, callback: Callback, tokens: Sequence[str]) -> Outcome:
    """Send a callback once, signed with every valid token. Any 2xx counts as delivered."""
    try:
        url, form = httpx.URL(callback.url), callback.params
        if callback.method == "GET":
            url, form = url.copy_merge_params(callback.params), {}
        headers = signed_headers(callback.method, str(url), form, tokens)
        headers["X-Masking-Callback-Id"] = callback.callback_id
        # Only the status counts: a body without an end, or a drop a second, holds nothing up.
        async with (
            asyncio.timeout(AT_MOST_S),
            http.stream(callback.method, url, headers=headers, data=form or None) as response,
        ):
            await _read_if_short(response)
            return Outcome(f"HTTP {response.status_code}", taken=response.is_success)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        return Outcome(type(error).__name__, taken=False)


async def _read_if_short(response: httpx.Response) -> None:
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) <= SHORT_BODY:
        with suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(SHORT_BODY_WITHIN_S):
                await response.aread()
