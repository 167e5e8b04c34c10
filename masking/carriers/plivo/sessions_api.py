"""Plivo's Masking API, as its client (masking-session-api.txt; plivo-wire.md §1 and §4).

It fails with the errors of `masking/carriers/errors.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from masking.carriers.call_details import CallDetails, RecordingDetails
from masking.carriers.errors import CarrierRefused, CarrierUnavailable, CredentialsRefused, OutcomeUnknown
from masking.carriers.leave import Leave
from masking.carriers.plivo.arguments import Arguments
from masking.carriers.plivo.session_resource import NotUnderstood, part, read_json, read_session
from masking.carriers.plivo.wire import text
from masking.carriers.rest import RestApi
from masking.domain.counterpart.told import ToldSession
from masking.domain.model import Model

PAGE, MOST_PAGES = 20, 50
ALREADY_EXPIRED = "session already expired"

ModelT = TypeVar("ModelT", bound=Model)


class SessionsApi:
    """Plivo's sessions.

    Args:
        http: with time-outs; authentication is added here.
        api_url: without a slash at the end.
        leave: asked before each request; whenever we like when None.
    """

    def __init__(
        self, http: httpx.AsyncClient, api_url: str, auth_id: str, auth_token: str, leave: Leave | None = None
    ) -> None:
        self._rest = RestApi(http, api_url, auth_id, auth_token, leave)
        self._sessions = f"{self._rest.account_url}Masking/Session/"

    async def reach(self) -> None:
        """See that sessions can be asked for. Raises what `find` raises."""
        await self._rest.look(self._sessions, {"limit": "1"})

    async def create(self, arguments: Arguments) -> ToldSession:
        """Make a session.

        Raises:
            CarrierRefused, CarrierUnavailable: see there.
            OutcomeUnknown: there may be one now; look for it by its callback URL before making another.
        """
        return _session(await self._rest.ask("POST", self._sessions, arguments), "session")

    async def find(self, callbacks_url: str, parties: Mapping[str, str], since: datetime) -> tuple[ToldSession, ...]:
        """The sessions that were made with this callback URL, newest first.

        Args:
            parties: `first_party` and `second_party` in E.164, of those that there are.
            since: none was made before, UTC.

        Raises:
            CarrierRefused, CarrierUnavailable: see there. Looking does nothing, so its outcome is never unknown.
        """
        query = {name: number.removeprefix("+") for name, number in parties.items() if number}
        query["created_time__gte"] = since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        return tuple([told async for told in self._listed(query, callbacks_url)])

    async def _listed(self, query: Mapping[str, str], callbacks_url: str) -> AsyncIterator[ToldSession]:
        for page in range(MOST_PAGES):
            paging = {"limit": str(PAGE), "offset": str(page * PAGE)}
            answer = await self._rest.look(self._sessions, {**query, **paging})
            try:
                listed = part(read_json(answer.content), "response").get("objects")
                objects = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
                for each in objects:
                    if text(each, "callback_url") == callbacks_url:
                        yield read_session(each)
            except NotUnderstood:
                raise CarrierUnavailable("the carrier's answer cannot be understood") from None
            if len(objects) < PAGE:
                return

    async def retrieve(self, session_uuid: str) -> ToldSession:
        """A session as it is now. Raises what `find` raises."""
        return _session(await self._rest.look(self._one(session_uuid)), "response", unread=CarrierUnavailable)

    async def update(self, session_uuid: str, arguments: Arguments) -> ToldSession:
        """Change a session; an expiry counts from now. Raises what `create` raises; safe to repeat."""
        return _session(await self._rest.ask("POST", self._one(session_uuid), arguments), "session")

    async def expire(self, session_uuid: str) -> None:
        """End a session; one that has ended is fine. Raises what `create` raises; safe to repeat."""
        try:
            await self._rest.ask("DELETE", self._one(session_uuid))
        except CarrierRefused as refusal:
            if ALREADY_EXPIRED not in str(refusal).lower():
                raise

    async def leg(self, leg_uuid: str) -> CallDetails | None:
        """The carrier's record of a leg; None where it has none that can be read.

        Raises:
            CredentialsRefused, CarrierUnavailable: see there.
        """
        return await self._resource(f"{self._rest.account_url}Call/{quote(leg_uuid, safe='')}/", CallDetails)

    async def recording(self, recording_id: str) -> RecordingDetails | None:
        """The carrier's record of a recording; None where it has none that can be read. Raises what `leg` raises."""
        return await self._resource(
            f"{self._rest.account_url}Recording/{quote(recording_id, safe='')}/", RecordingDetails
        )

    async def _resource(self, url: str, model: type[ModelT]) -> ModelT | None:
        try:
            return model.model_validate_json((await self._rest.look(url)).content)
        except CredentialsRefused:
            # That says nothing about the record.
            raise
        except (CarrierRefused, ValidationError):
            return None

    def _one(self, session_uuid: str) -> str:
        if not session_uuid:
            raise CarrierRefused("a session without an id is none")
        return f"{self._sessions}{quote(session_uuid, safe='')}/"


def _session(
    answer: httpx.Response, name: str, *, unread: type[CarrierUnavailable | OutcomeUnknown] = OutcomeUnknown
) -> ToldSession:
    """The session in an answer."""
    try:
        return read_session(part(read_json(answer.content), name))
    except NotUnderstood:
        raise unread("the carrier's answer cannot be understood") from None
