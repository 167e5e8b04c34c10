"""How the network talks to the application behind a number: signed form posts, with tries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import NamedTuple

import httpx

from masking.carriers.signature import signed_headers

logger = logging.getLogger(__name__)

ANSWER_TRIES = 3
WEBHOOK_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
TIMEOUT_S = 15.0

Form = Mapping[str, str]


class Unreachable(Exception):
    """The application did not answer with a document."""


class VoiceApplication(NamedTuple):
    """What runs when a number is called: where to fetch the instructions, where to report the end."""

    answer_url: str
    hangup_url: str


class Document(NamedTuple):
    """An answer to a request for instructions."""

    content: bytes
    content_type: str


class ApplicationClient:
    """Posts to applications. Use as an async context manager.

    Args:
        token: what the requests are signed with.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)

    async def __aenter__(self) -> ApplicationClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def fetch(self, url: str, form: Form) -> Document:
        """Ask for instructions; a few tries.

        Raises:
            Unreachable: none of them got a document.
        """
        for _ in range(ANSWER_TRIES):
            response = await self._post(url, form)
            if response is not None and response.status_code == 200:
                content_type = response.headers.get("Content-Type", "").split(";")[0].strip()
                return Document(response.content, content_type)
            await asyncio.sleep(WEBHOOK_PAUSES_S[0])
        raise Unreachable

    async def tell(self, url: str, form: Form) -> bool:
        """Report an event; tries again for some seconds while the application is away. Whether it was taken."""
        for pause in (*WEBHOOK_PAUSES_S, None):
            response = await self._post(url, form)
            if response is not None and response.status_code < 500:
                return response.is_success
            if pause is not None:
                await asyncio.sleep(pause)
        logger.warning("an application did not take an event")
        return False

    async def _post(self, url: str, form: Form) -> httpx.Response | None:
        headers = signed_headers("POST", url, form, [self._token])
        try:
            return await self._http.post(url, data=dict(form), headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL):
            return None
