"""Decodes payloads for operators, in the Temporal Web UI and at Temporal's command line, on a port of its own.

Served only where `MASKING_CODEC_TOKENS` names who may. Their token stands in `Authorization: Bearer`, or in the path,
since the Web UI sends no header of ours. Pages of other origins than the UI's are refused whatever they know. Each
answer is written down as a look before it is given. What they send it encodes for them, which tells nothing.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import hdrs, web
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads

from masking.errors import KeysAway, StartupError
from masking.gateway.errors import ApiError, errors_as_json
from masking.gateway.login_limit import LoginLimiter
from masking.gateway.protocol import GatewayRunner
from masking.log_format import redacted
from masking.ports import Place, listening
from masking.privacy.keyring import Keyring, Unreadable
from masking.privacy.payload_codec import ENCODING, EncryptingCodec
from masking.settings import Settings
from masking.storage.database import Database
from masking.storage.looks import note_look
from masking.storage.payload_keys import StoredPayloadKeys

DECODED = "decoded payloads"
MAX_BODY = 16 * 1024 * 1024
"""Bytes; the Web UI sends a page of a history at once."""

_DOOR = "codec"
_NAMESPACE = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)
_SESSION = re.compile(rb'"session_uuid": ?"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"')


class CodecEndpoint:
    """The endpoint's parts.

    Args:
        users: who may have payloads decoded, by token.
        origin: of the Web UI, `http://host:port`; pages of no other may. None when there is no UI.
    """

    def __init__(self, database: Database, keyring: Keyring, users: dict[str, str], origin: str | None) -> None:
        self._database, self._keyring = database, keyring
        self._users, self._origin = users, origin
        self._logins = LoginLimiter()

    def app(self) -> web.Application:
        """Its application: `POST /decode` and `POST /encode`, and both below `/TOKEN`."""
        app = web.Application(middlewares=[errors_as_json], client_max_size=MAX_BODY)
        app.on_response_prepare.append(self._as_allowed)
        for act, handler in (("decode", self._decode), ("encode", self._encode)):
            for path, name in ((f"/{act}", f"codec.{act}"), (f"/{{token:[^/]+}}/{act}", f"codec.by_path.{act}")):
                app.router.add_post(path, handler, name=name)
                app.router.add_options(path, self._preflight, name=f"{name}.preflight")
        return app

    async def _encode(self, request: web.Request) -> web.Response:
        """Encrypt what a command line or a caller without our codec sends to a session. Tells nothing, so no look."""
        self._check_origin(request)
        self._signed_in(request)
        try:
            payloads = json_format.Parse(await request.read(), Payloads()).payloads
        except json_format.ParseError:
            raise ApiError(400, "These payloads cannot be encoded.") from None
        return _answer(await EncryptingCodec(self._keyring).encode(payloads))

    async def _decode(self, request: web.Request) -> web.Response:
        self._check_origin(request)
        who = self._signed_in(request)
        try:
            payloads = json_format.Parse(await request.read(), Payloads()).payloads
            # Keys are asked for each time: what was erased a moment ago is shown to nobody.
            codec = EncryptingCodec(self._keyring, StoredPayloadKeys(self._database, self._keyring))
            decoded = await codec.decode(payloads)
        except (json_format.ParseError, Unreadable):
            raise ApiError(400, "These payloads cannot be decoded.") from None
        except KeysAway:
            raise ApiError(503, "The keys of these payloads cannot be read at the moment.") from None
        opened = sum(payload.metadata.get("encoding") == ENCODING for payload in payloads)
        if opened:
            async with self._database.transaction() as connection:
                await note_look(
                    connection,
                    who=who,
                    what=DECODED,
                    session_uuid=_only_session(decoded),
                    how_many=opened,
                    why=_told(request.headers.get("X-Namespace", "")),
                )
        return _answer(decoded)

    async def _preflight(self, request: web.Request) -> web.Response:
        self._check_origin(request)
        return web.Response()

    def _check_origin(self, request: web.Request) -> None:
        # Browsers tell it with every such request; other programs have none to tell.
        if hdrs.ORIGIN in request.headers and request.headers[hdrs.ORIGIN] != self._origin:
            raise ApiError(403, "Only the Temporal Web UI may have payloads decoded.")

    def _signed_in(self, request: web.Request) -> str:
        scheme, _, told = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        token = request.match_info.get("token") or (told.strip() if scheme.lower() == "bearer" else "")
        address = request.remote or ""
        if wait := self._logins.seconds_to_wait(address, _DOOR, token):
            raise ApiError(429, "Too many failed logins. Wait and try again.", {"Retry-After": str(wait)})
        given, who = token.encode(errors="surrogatepass"), None
        for known, name in self._users.items():
            # All of them, so that the time tells nothing.
            if hmac.compare_digest(known.encode(), given):
                who = name
        if who is None:
            self._logins.failed(address, _DOOR)
            raise ApiError(401, "authentication failed", {"WWW-Authenticate": "Bearer"})
        self._logins.succeeded(address, _DOOR, token)
        return who

    async def _as_allowed(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let pages of the UI read the answer, errors too, and let it be kept nowhere."""
        response.headers.update(
            {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        )
        response.headers[hdrs.VARY] = hdrs.ORIGIN
        if self._origin is not None and request.headers.get(hdrs.ORIGIN) == self._origin:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = self._origin
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = "POST, OPTIONS"
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = "content-type, x-namespace, authorization"


def _answer(payloads: Sequence[Payload]) -> web.Response:
    return web.Response(text=json_format.MessageToJson(Payloads(payloads=payloads)), content_type="application/json")


def _only_session(payloads: Sequence[Payload]) -> str | None:
    """The session that the payloads name, if they name one only."""
    named = {found.decode() for payload in payloads for found in _SESSION.findall(payload.data)}
    return named.pop() if len(named) == 1 else None


def _told(namespace: str) -> str | None:
    """What to write down of a header that anybody can set."""
    return f"namespace {namespace}" if _NAMESPACE.fullmatch(namespace) and redacted(namespace) == namespace else None


@asynccontextmanager
async def codec_served(database: Database, keyring: Keyring, settings: Settings) -> AsyncIterator[None]:
    """Serve the endpoint while the context lasts; nothing where nobody may use it.

    Raises:
        StartupError: there is a UI but nobody who may use it, or the port is taken.
    """
    users = settings.codec_users
    if settings.codec_port == 0:
        yield
        return
    if settings.ui_origin is not None and not users:
        raise StartupError(
            "MASKING_UI_ORIGIN is set, and MASKING_CODEC_TOKENS is not: set it to those who may have payloads decoded,"
            " name:token,name:token"
        )
    if not users:
        yield
        return
    endpoint = CodecEndpoint(database, keyring, users, settings.ui_origin)
    place = Place(settings.codec_host, settings.codec_port, "MASKING_CODEC_PORT", "MASKING_CODEC_HOST")
    async with listening(GatewayRunner(endpoint.app()), place):
        yield
