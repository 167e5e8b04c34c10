"""What all of the network's REST resources have in common: who asks, and what an answer looks like."""

from __future__ import annotations

import hmac
import re
from uuid import uuid4

import aiohttp
from aiohttp import web

from masking.carriers.simulator.call_resources import Resource, page
from masking.carriers.simulator.requests import NETWORK, Refused

_AUTH_ID = re.compile(r"(MA|SA)[A-Z0-9]{18}")


def authenticate(request: web.Request) -> str:
    """The account that asks. Raises `Refused` 401, and 429 where it asks too often."""
    auth_id = request.match_info["auth_id"]
    try:
        given = aiohttp.BasicAuth.decode(request.headers.get("Authorization", ""), encoding="utf-8")
    except ValueError:
        raise Refused(401, "authentication failed") from None
    right = hmac.compare_digest(given.password.encode(), request.app[NETWORK].token.encode())
    if not (right and _AUTH_ID.fullmatch(auth_id) and given.login == auth_id):
        raise Refused(401, "authentication failed")
    if not request.app[NETWORK].request_limit.takes(auth_id):
        raise Refused(429, "too many requests")
    return auth_id


def check_query(request: web.Request, *known: str) -> None:
    """Refuse what this network would have to ignore. Raises `Refused` 400."""
    for name in request.query:
        if name not in known:
            raise Refused(400, f"this network cannot look for {name[:40]} here")


def listed(request: web.Request, found: list[Resource]) -> web.Response:
    """The page of `found` that was asked for."""
    return told(200, **page(request.rel_url, found))


def told(status: int, **about: object) -> web.Response:
    """An answer."""
    return web.json_response({"api_id": str(uuid4()), **about}, status=status)
