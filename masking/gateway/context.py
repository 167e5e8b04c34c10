"""What every handler needs, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx
from aiohttp import web

from masking.client import MaskingClient
from masking.domain.rates import RateCard
from masking.domain.routing import CallPolicy
from masking.gateway.inbox_forwarder import InboxForwarder
from masking.gateway.login_limit import LoginLimiter
from masking.gateway.request_limit import RequestLimiter
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from masking.storage.creates import UnansweredCreates
from masking.storage.database import Database


@dataclass(frozen=True)
class Context:
    """The gateway's parts. `carrier_tokens` sign the webhooks of carriers; `carrier_http` fetches recordings there.

    Attributes:
        rate_card: None where the settings' flat rate holds for every leg.
    """

    settings: Settings
    database: Database
    keyring: Keyring
    sessions: MaskingClient
    forwarder: InboxForwarder
    creates: UnansweredCreates
    limiter: RequestLimiter
    policy: CallPolicy
    carrier_tokens: tuple[str, ...]
    carrier_http: httpx.AsyncClient
    logins: LoginLimiter = field(default_factory=LoginLimiter)
    rate_card: RateCard | None = None


CONTEXT = web.AppKey("context", Context)
