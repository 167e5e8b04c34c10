"""How the network talks to the application behind a number: signed posts, with tries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Literal, NamedTuple

import httpx

from masking.carriers.signature import signed_headers
from masking.carriers.simulator.chaos import NO_CHAOS, Chaos
from masking.tls import trusted

logger = logging.getLogger(__name__)

ANSWER_TRIES = 3
WEBHOOK_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
TIMEOUT_S = 15.0

Form = Mapping[str, str]
Method = Literal["POST", "GET"]


class Unreachable(Exception):
    """The application did not answer with a document."""


class Webhook(NamedTuple):
    """An address of the application, and how to ask there."""

    url: str
    method: Method = "POST"


class VoiceApplication(NamedTuple):
    """What runs when a number is called.

    Attributes:
        answer: where to fetch the instructions.
        hangup: where to report the end.
        fallback: where to fetch them when `answer` has none; empty for nowhere.
    """

    answer: Webhook
    hangup: Webhook
    fallback: Webhook = Webhook("")


class Document(NamedTuple):
    """An answer to a request for instructions."""

    content: bytes
    content_type: str


class ApplicationClient:
    """Asks and tells applications. Use as an async context manager.

    Args:
        token: what the requests are signed with.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self.chaos: Chaos = NO_CHAOS
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, verify=trusted())

    async def __aenter__(self) -> ApplicationClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def fetch(self, webhook: Webhook, form: Form) -> Document:
        """Ask for instructions; a few tries.

        Raises:
            Unreachable: none of them got a document.
        """
        for _ in range(ANSWER_TRIES):
            response = await self._ask(webhook, form)
            if response is not None and response.status_code == 200:
                content_type = response.headers.get("Content-Type", "").split(";")[0].strip()
                return Document(response.content, content_type)
            await asyncio.sleep(WEBHOOK_PAUSES_S[0])
        raise Unreachable

    async def tell(self, webhook: Webhook, form: Form) -> bool:
        """Report an event; tries again for some seconds while the application is away. Whether it was taken."""
        for pause in (*WEBHOOK_PAUSES_S, None):
            response = None
            if not self.chaos.loses_request():
                response = await self._ask(webhook, form)
                if response is not None and self.chaos.loses_answer():
                    response = None
            if response is not None and response.status_code < 500:
                return response.is_success
            if pause is not None:
                await asyncio.sleep(pause)
        logger.warning("an application did not take an event")
        return False

    async def _ask(self, webhook: Webhook, form: Form) -> httpx.Response | None:
        url, body = httpx.URL(webhook.url), dict(form)
        if webhook.method == "GET":
            url, body = url.copy_merge_params(body), {}
        headers = signed_headers(webhook.method, str(url), body, [self.token])
        try:
            return await self._http.request(webhook.method, url, data=body or None, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL):
            return None
