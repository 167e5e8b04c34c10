"""Plivo's API as the settings name it."""

from __future__ import annotations

import httpx

from masking.carriers.leave import Leave
from masking.carriers.plivo.sessions_api import SessionsApi
from masking.errors import StartupError
from masking.settings import Settings


def plivo_sessions(settings: Settings, http: httpx.AsyncClient, leave: Leave | None) -> SessionsApi | None:
    """The API by which Plivo masks sessions for us; None where the settings name no credentials.

    Args:
        leave: asked before each request; whenever we like when None.

    Raises:
        StartupError: see `plivo_credentials`.
    """
    credentials = plivo_credentials(settings)
    return credentials and SessionsApi(http, settings.plivo_api_url.rstrip("/"), *credentials, leave)


def plivo_credentials(settings: Settings) -> tuple[str, str] | None:
    """The auth id and token; None where neither is set.

    Raises:
        StartupError: they are needed, or one is set without the other.
    """
    auth_id, token = settings.plivo_auth_id, settings.plivo_auth_token
    if auth_id is not None and token is not None:
        return auth_id, token.get_secret_value()
    if settings.carrier == "plivo" or auth_id is not None or token is not None:
        missing = "MASKING_PLIVO_AUTH_ID" if auth_id is None else "MASKING_PLIVO_AUTH_TOKEN"
        raise StartupError(f"{missing} is not set: Plivo's Masking API needs an auth id and its token")
    return None


def plivo_auth(settings: Settings, url: str) -> tuple[str, str] | None:
    """What Plivo's API asks for to serve `url`; None for any other address, which must not have it."""
    credentials = plivo_credentials(settings)
    if credentials is None or not url.startswith(f"{settings.plivo_api_url.rstrip('/')}/"):
        return None
    return credentials
