"""What every handler needs, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from masking.client import MaskingClient
from masking.gateway.inbox_forwarder import InboxForwarder
from masking.privacy.keyring import Keyring
from masking.settings import Settings
from masking.storage.database import Database


@dataclass(frozen=True)
class Context:
    """The gateway's parts. `carrier_tokens` sign the webhooks of carriers."""

    settings: Settings
    database: Database
    keyring: Keyring
    sessions: MaskingClient
    forwarder: InboxForwarder
    carrier_tokens: tuple[str, ...]


CONTEXT = web.AppKey("context", Context)
