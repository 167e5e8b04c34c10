"""The official Plivo SDK, unmodified, pointed at a local API (plivo-wire.md §2)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import plivo
import plivo.rest.client as plivo_client

from masking.demo.timeline import StepFailed
from masking.provision import DemoAccount

Json = dict[str, Any]


class PlivoSdk:
    """Masking sessions through `plivo.RestClient`.

    Args:
        api_url: the local API, without a slash at the end.
    """

    def __init__(self, api_url: str, account: DemoAccount) -> None:
        # Masking calls use a base URL of their own that only these module variables set.
        for name in ("API_VOICE_BASE_URI", "API_VOICE_BASE_URI_FALLBACK_1", "API_VOICE_BASE_URI_FALLBACK_2"):
            setattr(plivo_client, name, f"{api_url}/v1/Account")
        self._client = plivo.RestClient(account.auth_id, account.auth_token)

    async def create(self, **arguments: Any) -> Json:
        """`create_masking_session`."""
        return await self._call("create_masking_session", **arguments)

    async def get(self, session_uuid: str) -> Json:
        """`get_masking_session`."""
        return await self._call("get_masking_session", session_uuid=session_uuid)

    async def update(self, session_uuid: str, **arguments: Any) -> Json:
        """`update_masking_session`."""
        return await self._call("update_masking_session", session_uuid=session_uuid, **arguments)

    async def delete(self, session_uuid: str) -> Json:
        """`delete_masking_session`."""
        return await self._call("delete_masking_session", session_uuid=session_uuid)

    async def _call(self, method: str, **arguments: Any) -> Json:
        """Run one of the SDK's blocking calls; its answer as plain JSON."""
        try:
            answer = await asyncio.to_thread(getattr(self._client.masking_sessions, method), **arguments)
        except plivo.exceptions.PlivoRestError as error:
            raise StepFailed(f"the Plivo SDK's {method} failed: {error}") from None
        plain: Json = json.loads(json.dumps(answer, default=vars))
        return plain
