"""Which carrier a deployment uses: the one place that names one."""

from __future__ import annotations

import httpx

from masking.carriers.leave import Leave
from masking.carriers.protocol import Orders, Webhooks
from masking.carriers.voice.calls_api import CallsApi
from masking.carriers.voice.webhooks import PlivoWebhooks
from masking.errors import StartupError
from masking.settings import Settings


def webhooks_of(settings: Settings) -> Webhooks:
    """How the carrier tells of calls.

    Raises:
        StartupError: nothing says what its webhooks are signed with.
    """
    if settings.carrier_auth_token is None:
        raise StartupError("MASKING_CARRIER_AUTH_TOKEN is not set: it is what carriers sign their webhooks with")
    return PlivoWebhooks((settings.carrier_auth_token.get_secret_value(),))


def orders_of(settings: Settings, http: httpx.AsyncClient, leave: Leave | None) -> Orders | None:
    """What takes orders; None where the settings name nobody who does.

    Args:
        leave: asked before each request; whenever we like when None.
    """
    if settings.carrier_api_url is None or settings.carrier_auth_token is None:
        return None
    token = settings.carrier_auth_token.get_secret_value()
    return CallsApi(http, settings.carrier_api_url.rstrip("/"), settings.carrier_auth_id, token, leave)
