"""Which carrier a deployment uses: the one place that names one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx

from masking.carriers.audio import audio_at
from masking.carriers.leave import Leave
from masking.carriers.plivo.configured import plivo_auth
from masking.carriers.protocol import Audio, Orders, Webhooks
from masking.carriers.voice.calls_api import CallsApi
from masking.carriers.voice.webhooks import PlivoWebhooks
from masking.errors import StartupError
from masking.settings import Settings

AudioSource = Callable[[str], AbstractAsyncContextManager[Audio]]


def webhooks_of(settings: Settings) -> Webhooks:
    """How the carrier tells of calls.

    Raises:
        StartupError: nothing says what its webhooks are signed with.
    """
    if settings.carrier_auth_token is None:
        raise StartupError("MASKING_CARRIER_AUTH_TOKEN is not set: it is what carriers sign their webhooks with")
    return PlivoWebhooks((settings.carrier_auth_token.get_secret_value(),))


def audio_of(settings: Settings, http: httpx.AsyncClient, orders: Orders | None) -> AudioSource:
    """Where a recording's audio is had from, by the URL that the carrier told."""

    def audio(url: str) -> AbstractAsyncContextManager[Audio]:
        if (auth := plivo_auth(settings, url)) is not None:
            return audio_at(http, url, auth)
        return orders.audio(url) if orders is not None else audio_at(http, url)

    return audio


def orders_of(settings: Settings, http: httpx.AsyncClient, leave: Leave | None) -> Orders | None:
    """What takes orders; None where the settings name nobody who does.

    Args:
        leave: asked before each request; whenever we like when None.
    """
    if settings.carrier_api_url is None or settings.carrier_auth_token is None:
        return None
    token = settings.carrier_auth_token.get_secret_value()
    return CallsApi(http, settings.carrier_api_url.rstrip("/"), settings.carrier_auth_id, token, leave)
