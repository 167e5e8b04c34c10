"""The gateway process."""

from __future__ import annotations

from aiohttp import web

from masking.carriers.chosen import audio_of, orders_of, webhooks_of
from masking.carriers.plivo.configured import plivo_credentials
from masking.carriers.rest import carriers_http
from masking.client import MaskingClient
from masking.gateway import (
    call_resources,
    callbacks_api,
    carrier_webhooks,
    health,
    openapi,
    plivo_webhooks,
    recording_media,
    sessions_api,
    switchboard,
)
from masking.gateway.authentication import authenticated
from masking.gateway.codec_endpoint import codec_served
from masking.gateway.content_encoding import decoded
from masking.gateway.context import CONTEXT, Context
from masking.gateway.errors import errors_as_json
from masking.gateway.inbox_forwarder import InboxForwarder
from masking.gateway.metrics import metrics_served
from masking.gateway.protocol import GatewayRunner
from masking.gateway.request_limit import RequestLimiter
from masking.gateway.slow_bodies import in_time
from masking.lifeline import until_stopped
from masking.ports import Place, listening
from masking.privacy.key_files import load_keyring
from masking.privacy.party_hash import party_hash
from masking.rate_card import load_rate_card
from masking.recordings.store import open_store
from masking.settings import Settings
from masking.storage import key_checks, tables
from masking.storage.creates import UnansweredCreates
from masking.storage.database import Database, database_url
from masking.storage.payload_keys import StoredPayloadKeys
from masking.temporal import connect, with_keys

MAX_BODY = 64 * 1024
SHUTDOWN_S = 10.0
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""A page may have its own in their place."""


def build_app(context: Context) -> web.Application:
    """The gateway's application."""
    app = web.Application(
        middlewares=[errors_as_json, authenticated, in_time, decoded, carrier_webhooks.signed_by_carrier],
        client_max_size=MAX_BODY,
    )
    app[CONTEXT] = context
    app.on_response_prepare.append(_secure)
    app.add_routes(health.routes())
    app.add_routes(sessions_api.routes())
    app.add_routes(recording_media.routes())
    app.add_routes(call_resources.routes())
    app.add_routes(callbacks_api.routes())
    app.add_routes(openapi.routes(context.settings))
    app.add_routes(switchboard.routes())
    app.add_routes(carrier_webhooks.routes())
    app.add_routes(plivo_webhooks.routes())
    return app


async def _secure(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer tells a browser: to take it for what it is, to frame and to keep it nowhere."""
    del request
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)


async def serve(settings: Settings) -> None:
    """Serve until told to stop; requests under way are answered first.

    Raises:
        StartupError: PostgreSQL or its tables are not there, a setting is missing, or the port is taken.
    """
    keyring = load_keyring(settings)
    webhooks = webhooks_of(settings)
    plivo_credentials(settings)
    rate_card = load_rate_card(settings)
    # Lazily: the gateway answers calls while Temporal is away.
    client = await connect(keyring, lazy=True)
    url = database_url(settings)
    async with (
        Database(url) as database,
        UnansweredCreates(database, url) as creates,
        carriers_http() as carrier_http,
    ):
        await tables.must_be_there(database)
        await key_checks.must_fit(database, keyring)
        keys = StoredPayloadKeys(database, keyring)
        client = with_keys(client, keyring, keys)
        forwarder = InboxForwarder(database, client, keyring)
        context = Context(
            settings=settings,
            database=database,
            keyring=keyring,
            keys=keys,
            sessions=MaskingClient(client, lookup=settings.lookup, party_hash=party_hash(keyring)),
            forwarder=forwarder,
            creates=creates,
            policy=switchboard.call_policy(settings),
            limiter=RequestLimiter(settings.request_limit, settings.request_window),
            webhooks=webhooks,
            audio=audio_of(settings, carrier_http, orders_of(settings, carrier_http, None)),
            rate_card=rate_card,
            recordings=open_store(settings.recordings) if settings.recordings is not None else None,
        )
        async with (
            forwarder.running(),
            metrics_served(database, settings),
            codec_served(database, keyring, settings),
        ):
            runner = GatewayRunner(build_app(context), shutdown_timeout=SHUTDOWN_S)
            place = Place(settings.host, settings.port, "MASKING_PORT", "MASKING_HOST")
            async with listening(runner, place, runner.silent):
                await until_stopped()
