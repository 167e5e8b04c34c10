"""How the network talks to the application behind a number: signed requests, tried as their URLs say."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import urldefrag

import httpx

from masking.carriers.callback_configuration import configuration_of
from masking.carriers.signature import signed_headers
from masking.carriers.simulator.chaos import NO_CHAOS, Chaos
from masking.tls import trusted

logger = logging.getLogger(__name__)

PAUSES_S = (0.2, 0.8, 2.0, 4.0, 9.0)
"""Before each further try. Plivo does not say how long it waits."""
OK = 200

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
        self._http = httpx.AsyncClient(follow_redirects=False, trust_env=False, verify=trusted())

    async def __aenter__(self) -> ApplicationClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def fetch(self, webhook: Webhook, form: Form) -> Document:
        """Ask for instructions.

        Raises:
            Unreachable: no try got a document.
        """
        if self.chaos.loses_answer():
            with contextlib.suppress(httpx.HTTPError, httpx.InvalidURL):
                await self._ask(webhook, form)
        response = await self._tried(webhook, form, NO_CHAOS)
        if response is None or response.status_code != OK:
            raise Unreachable
        content_type = response.headers.get("Content-Type", "").split(";")[0].strip()
        return Document(response.content, content_type)

    async def tell(self, webhook: Webhook, form: Form) -> bool:
        """Report an event. Whether it was taken."""
        response = await self._tried(webhook, form, self.chaos)
        if response is None or response.status_code != OK:
            logger.warning("an application did not take an event")
            return False
        return True

    async def _tried(self, webhook: Webhook, form: Form, chaos: Chaos) -> httpx.Response | None:
        """The last answer, after as many tries as the URL's callback configuration wants; None where there was none."""
        configuration = configuration_of(webhook.url)
        response: httpx.Response | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(configuration.tt / 1000):
                for pause in (0.0, *PAUSES_S[: configuration.rc]):
                    await asyncio.sleep(pause)
                    response, failure = await self._try(webhook, form, chaos)
                    if failure not in configuration.rp:
                        break
        return response

    async def _try(self, webhook: Webhook, form: Form, chaos: Chaos) -> tuple[httpx.Response | None, str]:
        """An answer, or none, and how a retry policy calls what went wrong."""
        if chaos.loses_request():
            return None, "ct"
        try:
            response = await self._ask(webhook, form)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return None, "ct"
        except httpx.HTTPError:
            return None, "rt"
        except httpx.InvalidURL:
            return None, ""
        if chaos.loses_answer():
            return None, "rt"
        return response, f"{response.status_code // 100}xx"

    async def _ask(self, webhook: Webhook, form: Form) -> httpx.Response:
        configuration = configuration_of(webhook.url)
        timeout = httpx.Timeout(configuration.rt / 1000, connect=configuration.ct / 1000)
        url, body = httpx.URL(urldefrag(webhook.url).url), dict(form)
        if webhook.method == "GET":
            url, body = url.copy_merge_params(body), {}
        headers = signed_headers(webhook.method, str(url), body, [self.token])
        return await self._http.request(webhook.method, url, data=body or None, headers=headers, timeout=timeout)
