"""Calls that we ask a Voice carrier for, and ask it about, by its REST API (plivo-wire.md §7.1 and §7.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from masking.carriers.errors import CarrierRefused, CarrierUnavailable, OutcomeUnknown
from masking.carriers.voice.call_details import CallDetails, Page, RecordingDetails
from masking.domain.model import Model
from masking.tls import trusted

TOO_MANY = 429
NOT_FOUND = 404
TIMEOUT_S = 10.0

ModelT = TypeVar("ModelT", bound=Model)


class CallOrder(NamedTuple):
    """A call to place. Numbers in E.164, times in seconds.

    Attributes:
        answer_url, hangup_url: where the carrier asks what to do once it is answered, and reports its end.
    """

    from_number: str
    to_number: str
    answer_url: str
    hangup_url: str
    ring_timeout: int
    time_limit: int


def carriers_http() -> httpx.AsyncClient:
    """The HTTP client that asks carriers: with time-outs, nothing from the environment."""
    return httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, verify=trusted())


class CallsApi:
    """A carrier's Call API.

    Args:
        http: with time-outs; authentication is added here.
        api_url: without a slash at the end.
    """

    def __init__(self, http: httpx.AsyncClient, api_url: str, auth_id: str, auth_token: str) -> None:
        self._http = http
        self._calls = f"{api_url}/v1/Account/{auth_id}/Call/"
        self._recordings = f"{api_url}/v1/Account/{auth_id}/Recording/"
        self._auth = (auth_id, auth_token)

    async def place(self, order: CallOrder) -> str:
        """Have the carrier call somebody. Returns its id of the call.

        Raises:
            CarrierRefused, CarrierUnavailable, OutcomeUnknown: see there.
        """
        body = {
            "from": order.from_number.removeprefix("+"),
            "to": order.to_number.removeprefix("+"),
            "answer_url": order.answer_url,
            "answer_method": "POST",
            "hangup_url": order.hangup_url,
            "hangup_method": "POST",
            "ring_timeout": order.ring_timeout,
            "time_limit": order.time_limit,
        }
        answer = await self._ask("POST", self._calls, body)
        try:
            return str(answer.json()["request_uuid"])
        except (ValueError, KeyError, TypeError):
            raise OutcomeUnknown("the carrier took the call without naming it") from None

    async def hang_up(self, call_uuid: str) -> None:
        """End a call; one that has ended already is fine. Raises what `place` raises."""
        await self._ask("DELETE", self._one(call_uuid), gone_is_fine=True)

    async def speak(self, call_uuid: str, text: str) -> None:
        """Say words to both parties of a call; one that has ended is fine. Raises what `place` raises."""
        body = {"text": text, "legs": "both", "mix": True}
        await self._ask("POST", f"{self._one(call_uuid)}Speak/", body, gone_is_fine=True)

    async def find_call(self, call_uuid: str) -> CallDetails | None:
        """The carrier's record of a leg, by the leg's own id; None where it has none.

        A leg gets its record when it ends, or has one without an end until then: carriers may do either.

        Raises:
            CarrierRefused, CarrierUnavailable: see there. The outcome is never unknown: looking does
                nothing, so that it can be repeated whatever went wrong.
        """
        answer = await self._look(self._one(call_uuid), gone_is_fine=True)
        return None if answer.status_code == NOT_FOUND else _read(answer, CallDetails)

    async def legs_of(self, call_uuid: str) -> tuple[CallDetails, ...]:
        """The legs that were dialled for a call, 20 at most. Raises what `find_call` raises."""
        answer = await self._look(self._calls, {"parent_call_uuid": _named(call_uuid)})
        return tuple(leg for leg in _read(answer, Page[CallDetails]).objects if leg.parent_call_uuid == call_uuid)

    async def recordings_of(self, call_uuid: str) -> tuple[RecordingDetails, ...]:
        """The recordings of a call, 20 at most. Raises what `find_call` raises."""
        answer = await self._look(self._recordings, {"call_uuid": _named(call_uuid)})
        return tuple(each for each in _read(answer, Page[RecordingDetails]).objects if each.call_uuid == call_uuid)

    def _one(self, call_uuid: str) -> str:
        return f"{self._calls}{quote(_named(call_uuid), safe='')}/"

    async def _look(
        self, url: str, query: Mapping[str, str] | None = None, *, gone_is_fine: bool = False
    ) -> httpx.Response:
        try:
            return await self._ask("GET", url, query=query, gone_is_fine=gone_is_fine)
        except OutcomeUnknown as error:
            raise CarrierUnavailable(str(error)) from None

    async def _ask(
        self,
        method: str,
        url: str,
        body: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        gone_is_fine: bool = False,
    ) -> httpx.Response:
        try:
            answer = await self._http.request(method, url, params=query, json=body, auth=self._auth)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise CarrierUnavailable("the carrier cannot be reached") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OutcomeUnknown(f"the carrier did not answer: {type(error).__name__}") from None
        if answer.is_success or (gone_is_fine and answer.status_code == NOT_FOUND):
            return answer
        if answer.status_code == TOO_MANY:
            raise CarrierUnavailable("the carrier takes no more requests for now")
        if answer.is_server_error:
            raise OutcomeUnknown(f"the carrier failed with {answer.status_code}")
        raise CarrierRefused(f"the carrier refused with {answer.status_code}")


def _named(call_uuid: str) -> str:
    """The id, which must be there: without it the carrier would end, or list, every call of the account."""
    if not call_uuid:
        raise CarrierRefused("a call without an id is none")
    return call_uuid


def _read(answer: httpx.Response, model: type[ModelT]) -> ModelT:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError:
        raise CarrierUnavailable("the carrier's answer cannot be understood") from None
