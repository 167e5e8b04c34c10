"""Whether a carrier works, step by step, without placing a call."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from ipaddress import ip_address
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from masking.carriers.errors import CarrierError, CredentialsRefused
from masking.carriers.protocol import PATH, CarrierAccount, Orders

TIMEOUT_S = 5.0
SHOWN = 5
"""So many numbers are named; of more, how many there are."""

Outcome = Literal["ok", "warning", "failed"]


class Step(NamedTuple):
    """What was looked at, and what came of it. `told` is for people, without tokens."""

    name: str
    outcome: Outcome
    told: str


async def check(orders: Orders, api_url: str, base_url: str, pool: Collection[str]) -> AsyncIterator[Step]:
    """Look at everything on which calls depend. After a step that leaves nothing to be asked, it ends.

    Args:
        orders: the carrier.
        api_url: where it is asked.
        base_url: where it reaches our gateway, without a slash at the end.
        pool: our numbers on it, E.164.
    """
    yield (step := await _reached(api_url))
    if step.outcome == "failed":
        return
    try:
        account = await orders.account()
    except CarrierError as error:
        name = "credentials" if isinstance(error, CredentialsRefused) else "account"
        yield Step(name, "failed", str(error))
        return
    yield Step("credentials", "ok", f"the account {account.name}" if account.name else "they are taken")
    yield _balance(account)
    yield webhook_url(base_url, api_url)
    try:
        numbers = await orders.numbers()
    except CarrierError as error:
        yield Step("numbers", "failed", str(error))
        return
    missing = [number for number in pool if number not in numbers]
    if not pool:
        yield Step("numbers", "warning", "there are none for this carrier: `masking numbers add` or `import`")
    elif missing:
        yield Step("numbers", "failed", f"the account does not have {_some(missing)}")
    else:
        yield Step("numbers", "ok", f"all {len(pool)} are the account's")
    answer_url = f"{base_url}{PATH}/answer"
    elsewhere = [number for number in pool if number in numbers and numbers[number] != answer_url]
    if elsewhere:
        told = f"calls to {_some(elsewhere)} do not reach {answer_url}: `masking carriers plivo setup`"
        yield Step("application", "failed", told)
    elif len(missing) < len(pool):
        yield Step("application", "ok", f"their calls reach {answer_url}")


async def check_masking(
    orders: Orders, reach: Callable[[], Awaitable[None]], api_url: str, base_url: str
) -> AsyncIterator[Step]:
    """Look at what sessions at a carrier that masks depend on. After a step that leaves nothing to be asked, it ends.

    Args:
        orders: the same account's other resources.
        reach: asks for its sessions; raises what `Orders` raise.
        api_url, base_url: as for `check`.
    """
    yield (step := await _reached(api_url, "MASKING_PLIVO_API_URL"))
    if step.outcome == "failed":
        return
    try:
        account = await orders.account()
        yield Step("credentials", "ok", f"the account {account.name}" if account.name else "they are taken")
        yield _balance(account)
        await reach()
    except CarrierError as error:
        yield Step("credentials" if isinstance(error, CredentialsRefused) else "sessions", "failed", str(error))
        return
    yield Step("sessions", "ok", "its Masking API answers")
    yield webhook_url(base_url, api_url)


async def _reached(api_url: str, setting: str = "MASKING_CARRIER_API_URL") -> Step:
    """The name, the connection and its encryption."""
    url = urlsplit(api_url)
    host = url.hostname or ""
    port = url.port or (443 if url.scheme == "https" else 80)
    if url.scheme != "https" and not _is_local(host):
        return Step("connection", "failed", f"{setting}: credentials for {host} need https://")
    context = ssl.create_default_context() if url.scheme == "https" else None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.close()
            await writer.wait_closed()
    except socket.gaierror:
        return Step("connection", "failed", f"nobody knows a host {host}: check {setting} and the DNS")
    except ssl.SSLCertVerificationError as error:
        return Step("connection", "failed", f"{host} shows a certificate that is not valid: {error.verify_message}")
    except (OSError, TimeoutError) as error:
        return Step("connection", "failed", f"{host}:{port} cannot be reached ({type(error).__name__})")
    return Step("connection", "ok", f"{host}:{port}" + (" over TLS" if context else ""))


def _balance(account: CarrierAccount) -> Step:
    if account.balance is None:
        return Step("balance", "warning", "the carrier does not tell it")
    told = f"{account.balance:f} left" + (", filled up by itself or billed afterwards" if account.refills else "")
    if account.balance > 0 or account.refills:
        return Step("balance", "ok", told)
    return Step("balance", "failed", f"{told}: the carrier refuses calls until it is filled up")


def webhook_url(base_url: str, api_url: str) -> Step:
    """Whether the carrier can reach our gateway, as far as its URL tells. Nobody is asked."""
    url = urlsplit(base_url)
    host = url.hostname or ""
    if _is_local(urlsplit(api_url).hostname or ""):
        return Step("webhooks", "ok", f"{base_url}, for a carrier on this machine")
    if _is_local(host) or _is_private(host):
        return Step("webhooks", "failed", f"the carrier cannot reach {base_url}: set MASKING_PUBLIC_URL")
    if url.scheme != "https":
        told = f"{base_url} is not encrypted, and webhooks hold numbers: set MASKING_PUBLIC_URL to https://"
        return Step("webhooks", "failed", told)
    return Step("webhooks", "ok", base_url)


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_private(host: str) -> bool:
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))


def _some(numbers: list[str]) -> str:
    named = ", ".join(numbers[:SHOWN])
    return named if len(numbers) <= SHOWN else f"{named} and {len(numbers) - SHOWN} more"
