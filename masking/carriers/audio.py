"""The audio of a recording, fetched from where the carrier says that it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from masking.carriers.errors import CarrierRefused, CarrierUnavailable
from masking.carriers.protocol import Audio

GONE = (404, 410)


@asynccontextmanager
async def audio_at(http: httpx.AsyncClient, url: str, auth: tuple[str, str] | None = None) -> AsyncIterator[Audio]:
    """A recording's audio.

    Raises:
        CarrierRefused: it is not there any more, or not for us.
        CarrierUnavailable: it cannot be had now; also in the middle of it.
    """
    try:
        async with http.stream("GET", url, auth=auth) as source:
            if source.status_code in GONE:
                raise CarrierRefused("the carrier does not have this recording any more")
            if source.status_code == 429 or source.is_server_error:
                raise CarrierUnavailable(f"the carrier's recordings failed with {source.status_code}")
            if source.status_code != 200:
                raise CarrierRefused(f"the carrier refused a recording with {source.status_code}")
            length = source.headers.get("Content-Length", "")
            told = length.isascii() and length.isdecimal() and "Content-Encoding" not in source.headers
            yield Audio(int(length) if told else None, _chunks(source))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CarrierUnavailable(f"the carrier did not hand a recording over: {type(error).__name__}") from None


async def _chunks(source: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in source.aiter_bytes():
            yield chunk
    except httpx.HTTPError as error:
        raise CarrierUnavailable(f"a recording was cut short: {type(error).__name__}") from None
