"""One try at one callback: the signed request to the customer's endpoint."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from masking.carriers.signature import signed_headers
from masking.delivery.connections import Connector
from masking.delivery.guard import NOT_PUBLIC, AddressGuard
from masking.delivery.standard_webhooks import standard_headers
from masking.domain.callbacks import Callback
from masking.storage.accounts import SigningTokens

AT_MOST_S = 30.0
"""How long one try may take in all."""

SHORT_BODY = 4096
BODY_WITHIN_S = 0.2
"""A body of so many bytes is read, if it comes within so many seconds, so that its connection can serve again."""

KEPT_OF_BODY = 256
"""The first so many bytes of an answer are kept, for whoever looks into why it was none of the wished ones."""

FAULTS: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "no such host"),
    (aiohttp.ClientSSLError, "no trusted TLS"),
    (aiohttp.ConnectionTimeoutError, "no connection in time"),
    (aiohttp.ClientConnectorError, "no connection"),
    (TimeoutError, "no answer in time"),
    (aiohttp.InvalidURL, "not an address"),
    (aiohttp.ClientError, "no proper answer"),
    (OSError, "no proper answer"),
    (ValueError, "not an address"),
)
"""What may come of a request instead of an answer, and what is told of it: of a fault of several kinds, the first."""


class Outcome(NamedTuple):
    """What came of a try.

    Attributes:
        told: in a few words, without the address.
        status: the answer's HTTP status; None without an answer.
        answer: the first bytes of its body.
    """

    told: str
    status: int | None = None
    answer: bytes = b""

    @property
    def taken(self) -> bool:
        """Whether it counts as delivered: any 2xx."""
        return self.status is not None and 200 <= self.status < 300


def customers_http(connect_timeout: float, read_timeout: float, guard: AddressGuard) -> aiohttp.ClientSession:
    """The HTTP client that talks to customers: time-outs in seconds, no cookies, nothing from the environment."""
    return aiohttp.ClientSession(
        # How many requests are under way at once, the sender sees to.
        connector=Connector(limit=0, socket_factory=guard.socket),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(sock_connect=connect_timeout, sock_read=read_timeout),
        auto_decompress=False,
        # What is kept of an answer is to be read by people, so it should not come compressed.
        headers={"User-Agent": "masking", "Accept-Encoding": "identity"},
        trust_env=False,
    )


def origin_of(callback: Callback) -> str:
    """Where it goes: scheme, host and port of its URL."""
    try:
        return str(URL(callback.url).origin())
    except ValueError:
        return ""


async def send(http: aiohttp.ClientSession, callback: Callback, tokens: SigningTokens) -> Outcome:
    """Send a callback once, signed with every valid token. Any 2xx counts as delivered."""
    try:
        url, form, body = URL(callback.url), callback.params, None
        if callback.method == "GET":
            url, form = url.update_query(callback.params), {}
        headers = signed_headers(callback.method, _asked_for(url), form, tokens.own, tokens.main)
        headers["X-Masking-Callback-Id"] = callback.callback_id
        if form:
            # Of the body alone, so not for a GET, of which it would sign nothing.
            body = urlencode(form).encode()
            headers |= standard_headers(callback.callback_id, int(time.time()), body, tokens.own)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        # Only the status counts: a body without an end, or a drop a second, holds nothing up.
        async with (
            asyncio.timeout(AT_MOST_S),
            http.request(callback.method, url, headers=headers, data=body, allow_redirects=False) as response,
        ):
            return Outcome(f"HTTP {response.status}", response.status, await _beginning(response))
    except tuple(kind for kind, _ in FAULTS) as error:
        return Outcome(_told(error))


def _asked_for(url: URL) -> str:
    """The address as whoever is asked sees it, and checks the signature: credentials travel in a header, and no path
    is `/`."""
    seen = url.with_user(None)
    return str(seen if seen.raw_path != "/" else seen.with_path("/", keep_query=True))


def _told(error: Exception) -> str:
    if NOT_PUBLIC in str(error):
        return NOT_PUBLIC
    return next(told for kind, told in FAULTS if isinstance(error, kind))


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """The first bytes of the body: those that come soon. A short body is read to its end."""
    is_short = response.content_length is not None and response.content_length <= SHORT_BODY
    read = b""
    with suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(BODY_WITHIN_S):
            while len(read) < (SHORT_BODY if is_short else KEPT_OF_BODY):
                some = await response.content.read(SHORT_BODY)
                if not some:
                    break
                read += some
    return read[:KEPT_OF_BODY]
