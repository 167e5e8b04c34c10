"""What we ask Plivo Voice for, and ask it about, by its REST API (plivo-wire.md §7.1 and §7.4)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from decimal import Decimal, InvalidOperation
from urllib.parse import quote, urldefrag, urlsplit

import httpx

from masking.carriers.audio import audio_at
from masking.carriers.call_details import CallDetails, Page, RecordingDetails
from masking.carriers.callback_configuration import ASKED, TOLD
from masking.carriers.errors import CarrierRefused, OutcomeUnknown
from masking.carriers.leave import Leave
from masking.carriers.protocol import Audio, CallOrder, CarrierAccount
from masking.carriers.rest import NOT_FOUND, RestApi, read
from masking.carriers.voice.account import AccountDetails, ApplicationDetails, NumberDetails, application_id, pages
from masking.domain.wire_format import plivo_number


class CallsApi:
    """Plivo Voice's REST API; see `Orders`.

    Args:
        http: with time-outs; authentication is added here.
        api_url: without a slash at the end.
        leave: asked before each request; whenever we like when None.

    Attributes:
        ACCOUNTS: where accounts are, under `api_url`.
        PLACED: by which field the answer to an order names the call.
    """

    ACCOUNTS = "/v1/Account/"
    PLACED = "request_uuid"

    def __init__(
        self, http: httpx.AsyncClient, api_url: str, auth_id: str, auth_token: str, leave: Leave | None = None
    ) -> None:
        self.rest = RestApi(http, api_url, auth_id, auth_token, leave, self.ACCOUNTS)
        self._http, self._auth, self._host = http, (auth_id, auth_token), urlsplit(api_url).hostname or ""
        self._calls = f"{self.rest.account_url}Call/"
        self._recordings = f"{self.rest.account_url}Recording/"

    async def place(self, order: CallOrder) -> str:
        """By the Call API, which names a call by its request."""
        body = {
            "from": plivo_number(order.from_number),
            "to": plivo_number(order.to_number),
            "answer_url": f"{order.answer_url}{ASKED}",
            "answer_method": "POST",
            "hangup_url": f"{order.hangup_url}{TOLD}",
            "hangup_method": "POST",
            "fallback_url": f"{order.fallback_url}{ASKED}",
            "fallback_method": "POST",
            "ring_timeout": order.ring_timeout,
            "time_limit": order.time_limit,
        }
        answer = await self.rest.ask("POST", self._calls, body, is_call=True)
        try:
            return str(answer.json()[self.PLACED])
        except (ValueError, KeyError, TypeError):
            raise OutcomeUnknown("the carrier took the call without naming it") from None

    async def hang_up(self, call_uuid: str) -> None:
        """End a call; one that has ended already is fine."""
        await self.rest.ask("DELETE", self._one(call_uuid), gone_is_fine=True)

    async def speak(self, call_uuid: str, text: str) -> None:
        """Say words to both parties of a call; one that has ended is fine."""
        body = {"text": text, "legs": "both", "mix": True}
        await self.rest.ask("POST", f"{self._one(call_uuid)}Speak/", body, gone_is_fine=True)

    async def transfer(self, call_uuid: str, url: str) -> bool:
        """Both legs, each asking by itself. Whether the call was still there."""
        body = {"legs": "both", "aleg_url": url, "aleg_method": "POST", "bleg_url": url, "bleg_method": "POST"}
        answer = await self.rest.ask("POST", self._one(call_uuid), body, gone_is_fine=True)
        return answer.status_code != NOT_FOUND

    async def find_call(self, call_uuid: str) -> CallDetails | None:
        """Its record of a leg, by the leg's own id; None where it has none.

        A leg gets its record when it ends, or has one without an end until then: carriers may do either.
        """
        answer = await self.rest.look(self._one(call_uuid), gone_is_fine=True)
        return None if answer.status_code == NOT_FOUND else read(answer, CallDetails)

    async def legs_of(self, call_uuid: str) -> tuple[CallDetails, ...]:
        """The legs that were dialled for a call, 20 at most."""
        answer = await self.rest.look(self._calls, {"parent_call_uuid": _named(call_uuid)})
        return tuple(leg for leg in read(answer, Page[CallDetails]).objects if leg.parent_call_uuid == call_uuid)

    async def recordings_of(self, call_uuid: str) -> tuple[RecordingDetails, ...]:
        """The recordings of a call, 20 at most."""
        answer = await self.rest.look(self._recordings, {"call_uuid": _named(call_uuid)})
        return tuple(each for each in read(answer, Page[RecordingDetails]).objects if each.call_uuid == call_uuid)

    def audio(self, url: str) -> AbstractAsyncContextManager[Audio]:
        """A recording's audio. Only the carrier's own servers are shown our credentials.

        Plivo asks for them where the account wants its recordings protected.
        """
        return audio_at(self._http, url, self._auth if _is_near(url, self._host) else None)

    async def delete_recording(self, recording_id: str) -> None:
        """Delete a recording; one that is gone already is fine."""
        url = f"{self._recordings}{quote(_named(recording_id), safe='')}/"
        await self.rest.ask("DELETE", url, gone_is_fine=True)

    async def account(self) -> CarrierAccount:
        """By the Account API."""
        found = read(await self.rest.look(self.rest.account_url), AccountDetails)
        try:
            balance = Decimal(found.cash_credits)
        except InvalidOperation:
            balance = None
        return CarrierAccount(found.name, balance, found.auto_recharge or found.billing_mode == "postpaid")

    async def numbers(self) -> Mapping[str, str | None]:
        """By the Number and Application APIs, page by page."""
        applications = [each async for each in pages(self.rest, "Application/", ApplicationDetails)]
        urls = {each.app_id: urldefrag(each.answer_url).url for each in applications}
        return {
            f"+{plivo_number(each.number)}": urls.get(application_id(each.application) or "")
            async for each in pages(self.rest, "Number/", NumberDetails)
        }

    def _one(self, call_uuid: str) -> str:
        return f"{self._calls}{quote(_named(call_uuid), safe='')}/"


def _named(call_uuid: str) -> str:
    """The id, which must be there: without it the carrier would end, or list, every call of the account."""
    if not call_uuid:
        raise CarrierRefused("a call without an id is none")
    return call_uuid


def _is_near(url: str, host: str) -> bool:
    """Whether a URL leads to a host of the same domain."""
    other = urlsplit(url).hostname or ""
    return other == host or (other.split(".")[-2:] == host.split(".")[-2:] and not host[-1:].isdigit())
