"""Asking a carrier's REST API: authentication, leave, and what its errors mean (plivo-wire.md §1.7, §4.1 and §5.12)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar

import httpx
from pydantic import ValidationError

from masking.carriers.errors import CarrierRefused, CarrierUnavailable, CredentialsRefused, OutcomeUnknown
from masking.carriers.leave import FreeLeave, Leave
from masking.domain.model import Model
from masking.log_format import REMOVED, redacted
from masking.tls import trusted

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TIMED_OUT, TOO_MANY = 401, 403, 404, 408, 429
TIMEOUT_S = 10.0
MOST_WORDS = 200
"""Characters of a carrier's words."""
LONGEST_RETRY_AFTER = timedelta(minutes=5)

ModelT = TypeVar("ModelT", bound=Model)

# Of a 403 only words tell whether it is about us, or about what was asked: a country that may not be called, say.
_ABOUT_CREDENTIALS = re.compile(r"(?i)authenticat|credential|auth[ _-]?(?:id|token)|unauthori[sz]ed")
_DIGITS = re.compile(r"\+?[0-9](?:[ ().-]?[0-9]){4,}")


def carriers_http() -> httpx.AsyncClient:
    """The HTTP client that asks carriers: with time-outs, nothing from the environment."""
    return httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, verify=trusted())


class RestApi:
    """One account's REST API at a carrier.

    Args:
        http: with time-outs; authentication is added here.
        api_url: without a slash at the end.
        leave: asked before each request.
        accounts: where accounts are, under `api_url`.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        api_url: str,
        auth_id: str,
        auth_token: str,
        leave: Leave | None = None,
        accounts: str = "/v1/Account/",
    ) -> None:
        self._http = http
        self._auth = (auth_id, auth_token)
        self._leave = leave or FreeLeave()
        self.account_url = f"{api_url}{accounts}{auth_id}/"

    async def ask(
        self,
        method: str,
        url: str,
        body: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        gone_is_fine: bool = False,
        is_call: bool = False,
    ) -> httpx.Response:
        """Send a request, once. Returns the answer to one that was carried out.

        Args:
            gone_is_fine: return also the answer that there is no such thing.
            is_call: whether a phone rings by it.

        Raises:
            CarrierRefused, CredentialsRefused, CarrierUnavailable, OutcomeUnknown: see there.
        """
        await (self._leave.to_call() if is_call else self._leave.to_ask())
        try:
            answer = await self._http.request(method, url, params=query, json=body, auth=self._auth)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            await self._leave.failed()
            raise CarrierUnavailable("the carrier cannot be reached") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            await self._leave.failed()
            raise OutcomeUnknown(f"the carrier did not answer: {type(error).__name__}") from None
        await (self._leave.failed() if _failed(answer) else self._leave.worked())
        if answer.is_success or (gone_is_fine and answer.status_code == NOT_FOUND):
            return answer
        raise await self._fault(answer)

    async def look(
        self, url: str, query: Mapping[str, str] | None = None, *, gone_is_fine: bool = False
    ) -> httpx.Response:
        """Ask for something to read. The outcome is never unknown: it can be repeated whatever went wrong."""
        try:
            return await self.ask("GET", url, query=query, gone_is_fine=gone_is_fine)
        except OutcomeUnknown as error:
            raise CarrierUnavailable(str(error)) from None

    async def _fault(self, answer: httpx.Response) -> CarrierRefused | CarrierUnavailable | OutcomeUnknown:
        status, words = answer.status_code, words_of(answer, self._auth[1])
        told = f" with {status}" + (f": {words}" if words else "")
        if status == TOO_MANY:
            return CarrierUnavailable("the carrier takes no more requests for now", _retry_after(answer))
        if _failed(answer):
            return OutcomeUnknown(f"the carrier failed{told}")
        if status == UNAUTHORIZED or (status == FORBIDDEN and _ABOUT_CREDENTIALS.search(words)):
            await self._leave.refused(f"it refused{told}")
            return CredentialsRefused(f"the carrier refused{told}")
        return CarrierRefused(f"the carrier refused{told}")


def _failed(answer: httpx.Response) -> bool:
    return answer.is_server_error or answer.status_code == TIMED_OUT


def read(answer: httpx.Response, model: type[ModelT]) -> ModelT:
    """The model in an answer.

    Raises:
        CarrierUnavailable: there is none.
    """
    try:
        return model.model_validate_json(answer.content)
    except ValidationError:
        raise CarrierUnavailable("the carrier's answer cannot be understood") from None


def words_of(answer: httpx.Response, secret: str) -> str:
    """What the carrier says is wrong, on one line, without numbers and tokens; empty where it says nothing.

    Args:
        secret: what we sign in with, which may look like anything.
    """
    try:
        body = answer.json()
    except ValueError:
        return ""
    words = body.get("error") or body.get("message") if isinstance(body, dict) else None
    if isinstance(words, dict):
        # Some of its APIs tell the fault as an object.
        words = words.get("error") or words.get("message")
    if not isinstance(words, str):
        return ""
    return " ".join(_DIGITS.sub(REMOVED, redacted(words.replace(secret, REMOVED))).split())[:MOST_WORDS]


def _retry_after(answer: httpx.Response) -> timedelta | None:
    written = answer.headers.get("Retry-After", "")
    if not (written.isascii() and written.isdecimal()) or len(written) > 9:
        return None
    return min(timedelta(seconds=int(written)), LONGEST_RETRY_AFTER)
