"""Plivo's Masking API, as its client (masking-session-api.txt; plivo-wire.md §1 and §4).

It fails with the errors of `masking/carriers/voice/calls_api.py`. What is refused is told in the carrier's words,
without anything in them that looks like a number.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from masking.carriers.plivo.arguments import Arguments
from masking.carriers.plivo.session_resource import NotUnderstood, part, read_json, read_session
from masking.carriers.plivo.wire import text
from masking.carriers.call_details import CallDetails, RecordingDetails
from masking.carriers.errors import CarrierRefused, CarrierUnavailable, OutcomeUnknown
from masking.domain.counterpart import ToldSession
from masking.domain.model import Model
from masking.log_format import redacted

Admit = Callable[[], Awaitable[None]]
"""Returns once another request may be made; raises `CarrierUnavailable` where that takes too long."""

PAGE, MOST_PAGES = 20, 50
LONGEST_WORDS = 200
ALREADY_EXPIRED = "session already expired"

ModelT = TypeVar("ModelT", bound=Model)


async def at_once() -> None:
    """Admits every request."""


class SessionsApi:
    """Plivo's sessions.

    Args:
        http: with time-outs; authentication is added here.
        api_url: without a slash at the end.
        admit: waited for before each request.
    """

    def __init__(
        self, http: httpx.AsyncClient, api_url: str, auth_id: str, auth_token: str, admit: Admit = at_once
    ) -> None:
        self._http, self._admit = http, admit
        self._account = f"{api_url}/v1/Account/{auth_id}"
        self._sessions = f"{self._account}/Masking/Session/"
        self._auth = (auth_id, auth_token)

    async def create(self, arguments: Arguments) -> ToldSession:
        """Make a session.

        Raises:
            CarrierRefused, CarrierUnavailable: see there.
            OutcomeUnknown: there may be one now; look for it by its callback URL before making another.
        """
        return _session(await self._ask("POST", self._sessions, body=arguments), "session")

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
            answer = await self._look(self._sessions, {**query, **paging})
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
        return _session(await self._look(self._one(session_uuid)), "response", unread=CarrierUnavailable)

    async def update(self, session_uuid: str, arguments: Arguments) -> ToldSession:
        """Change a session; an expiry counts from now. Raises what `create` raises; safe to repeat."""
        return _session(await self._ask("POST", self._one(session_uuid), body=arguments), "session")

    async def expire(self, session_uuid: str) -> None:
        """End a session; one that has ended is fine. Raises what `create` raises; safe to repeat."""
        try:
            await self._ask("DELETE", self._one(session_uuid))
        except CarrierRefused as refusal:
            if ALREADY_EXPIRED not in str(refusal).lower():
                raise

    async def leg(self, leg_uuid: str) -> CallDetails | None:
        """The carrier's record of a leg; None where it has none that can be read. Raises what `find` raises."""
        return await self._resource(f"{self._account}/Call/{quote(leg_uuid, safe='')}/", CallDetails)

    async def recording(self, recording_id: str) -> RecordingDetails | None:
        """The carrier's record of a recording; None where it has none that can be read. Raises what `find` raises."""
        return await self._resource(f"{self._account}/Recording/{quote(recording_id, safe='')}/", RecordingDetails)

    async def _resource(self, url: str, model: type[ModelT]) -> ModelT | None:
        try:
            return model.model_validate_json((await self._look(url)).content)
        except (CarrierRefused, ValidationError):
            return None

    def _one(self, session_uuid: str) -> str:
        if not session_uuid:
            raise CarrierRefused("a session without an id is none")
        return f"{self._sessions}{quote(session_uuid, safe='')}/"

    async def _look(self, url: str, query: Mapping[str, str] | None = None) -> httpx.Response:
        try:
            return await self._ask("GET", url, query=query)
        except OutcomeUnknown as error:
            raise CarrierUnavailable(str(error)) from None

    async def _ask(
        self, method: str, url: str, *, body: Arguments | None = None, query: Mapping[str, str] | None = None
    ) -> httpx.Response:
        await self._admit()
        try:
            answer = await self._http.request(method, url, params=query, json=body, auth=self._auth)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise CarrierUnavailable("the carrier cannot be reached") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OutcomeUnknown(f"the carrier did not answer: {type(error).__name__}") from None
        if answer.is_success:
            return answer
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise CarrierUnavailable("the carrier takes no more requests for now")
        if answer.is_server_error:
            raise OutcomeUnknown(f"the carrier failed with {answer.status_code}")
        raise CarrierRefused(f"the carrier refused with {answer.status_code}{_words(answer)}")


def _words(answer: httpx.Response) -> str:
    """What the carrier says about a refusal, without numbers; empty where it says nothing."""
    try:
        said = text(read_json(answer.content), "error")
    except NotUnderstood:
        return ""
    line = redacted(" ".join(said.split()))[:LONGEST_WORDS]
    return f": {line}" if line else ""


def _session(
    answer: httpx.Response, name: str, *, unread: type[CarrierUnavailable | OutcomeUnknown] = OutcomeUnknown
) -> ToldSession:
    """The session in an answer."""
    try:
        return read_session(part(read_json(answer.content), name))
    except NotUnderstood:
        raise unread("the carrier's answer cannot be understood") from None
