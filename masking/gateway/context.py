"""What every handler needs, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from masking.carriers.chosen import AudioSource
from masking.carriers.protocol import Webhooks
from masking.client import MaskingClient
from masking.domain.bill.rates import RateCard
from masking.domain.routing import CallPolicy
from masking.gateway.inbox_forwarder import InboxForwarder
from masking.gateway.login_limit import LoginLimiter
from masking.gateway.request_limit import RequestLimiter
from masking.privacy.keyring import Keyring
from masking.recordings.store import RecordingStore
from masking.settings import Settings
from masking.storage.creates import UnansweredCreates
from masking.storage.database import Database
from masking.storage.payload_keys import StoredPayloadKeys


@dataclass(frozen=True)
class Context:
    """The gateway's parts.

    Attributes:
        keys: what the codec of `sessions` has its keys from.
        webhooks: how the carrier tells of calls.
        audio: a recording's audio, from where the carrier said that it is.
        recordings: where fetched recordings are; None where none are fetched.
        rate_card: None where the settings' flat rate holds for every leg.
    """

    settings: Settings
    database: Database
    keyring: Keyring
    keys: StoredPayloadKeys
    sessions: MaskingClient
    forwarder: InboxForwarder
    creates: UnansweredCreates
    limiter: RequestLimiter
    policy: CallPolicy
    webhooks: Webhooks
    audio: AudioSource
    logins: LoginLimiter = field(default_factory=LoginLimiter)
    rate_card: RateCard | None = None
    recordings: RecordingStore | None = None


CONTEXT = web.AppKey("context", Context)
