"""Callbacks to the customer, over HTTP."""

from __future__ import annotations

import httpx
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.sessions import SessionRef
from masking.carriers.signature import signed_headers
from masking.domain.callbacks import Callback
from masking.domain.model import Model
from masking.privacy.keyring import Keyring
from masking.storage import accounts, callbacks
from masking.storage.database import Database

UNDELIVERED = "CallbackUndelivered"


class DeliverCallbacks(SessionRef):
    """Deliver what is pending for this session, in order, signed with this account's tokens."""

    account_id: str


class Delivered(Model):
    """How many callbacks the customer's endpoint took."""

    count: int


class CallbackActivities:
    """Delivers callbacks with one HTTP client per process."""

    def __init__(self, database: Database, keyring: Keyring, http: httpx.AsyncClient) -> None:
        self._database = database
        self._keyring = keyring
        self._http = http

    @activity.defn
    async def deliver_callbacks(self, command: DeliverCallbacks) -> Delivered:
        """Send each pending callback, oldest first; note each outcome before the next is sent.

        A delivered callback is never sent again by a retry. One that fails is left pending
        and the next is tried, so that one URL's fault does not keep back the other's.

        Raises:
            ApplicationError: some are still pending; Temporal retries.
        """
        async with self._database.transaction() as connection:
            waiting = await callbacks.pending(connection, self._keyring, command.session_uuid)
            tokens = await accounts.auth_tokens(connection, self._keyring, command.account_id)
        failed = 0
        for callback in waiting:
            outcome, taken = await self._send(callback, tokens)
            async with self._database.transaction() as connection:
                if taken:
                    await callbacks.note_delivered(connection, callback.callback_id, outcome)
                else:
                    await callbacks.note_failed(connection, callback.callback_id, outcome)
            failed += not taken
        if failed:
            raise ApplicationError(
                f"{failed} of {len(waiting)} callbacks were not taken",
                type=UNDELIVERED,
                # A customer's endpoint that is down is no fault of ours to shout about.
                category=ApplicationErrorCategory.BENIGN,
            )
        return Delivered(count=len(waiting))

    async def _send(self, callback: Callback, tokens: list[str]) -> tuple[str, bool]:
        """The outcome in a few words, without the address, and whether it counts as delivered."""
        try:
            url, form = httpx.URL(callback.url), callback.params
            if callback.method == "GET":
                url, form = url.copy_merge_params(callback.params), {}
            headers = signed_headers(callback.method, str(url), form, tokens)
            headers["X-Masking-Callback-Id"] = callback.callback_id
            response = await self._http.request(callback.method, url, headers=headers, data=form or None)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return type(error).__name__, False
        return f"HTTP {response.status_code}", response.is_success
