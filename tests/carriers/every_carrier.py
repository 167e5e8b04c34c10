"""The carriers that there are, as the suite has to know them that holds what every one of them promises.

Those that carry calls, which we mask, and the one that masks itself: `test_every_carrier.py` here, and in
`tests/integration` with a session. What a carrier of calls has to keep besides is in `test_conformance.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from masking.carriers.check import Step, check, check_masking
from masking.carriers.leave import Leave
from masking.carriers.plivo.sessions_api import SessionsApi
from masking.carriers.protocol import CallOrder
from masking.carriers.voice.calls_api import CallsApi
from tests.carriers.similar import SimilarApi

AUTH_ID, TOKEN = "MACARRIER00000000000", "the-token-of-the-carrier"
NUMBER, PARTY, OTHER = "+12025550199", "+12025550101", "+12025550102"
GATEWAY = "https://masking.example"

Asking = Callable[[Any], Awaitable[object]]
"""Something that a client is asked for, one request each."""


@dataclass(frozen=True)
class Kind:
    """A carrier.

    Attributes:
        client: what asks it, at a URL without a slash at the end.
        makes: what rings a phone, or makes a session.
        changes: what else it does when it is asked.
        looks: what it tells when it is asked.
        checked: how `masking carriers check` looks at it.
        accounts: where its accounts are.
        takes_no_for_an_answer: those for which a refusal says that there is nothing.
    """

    client: Callable[[httpx.AsyncClient, str, Leave | None], Any]
    makes: Asking
    changes: Mapping[str, Asking]
    looks: Mapping[str, Asking]
    checked: Callable[[httpx.AsyncClient, str], AsyncIterator[Step]]
    accounts: str = "/v1/Account/"
    takes_no_for_an_answer: frozenset[str] = frozenset()

    @property
    def all(self) -> dict[str, Asking]:
        """Everything that it can be asked."""
        return {"make": self.makes, **self.changes, **self.looks}


ORDER = CallOrder(
    NUMBER, PARTY, f"{GATEWAY}/answer", f"{GATEWAY}/hangup", f"{GATEWAY}/fallback", ring_timeout=30, time_limit=60
)
CALL_CHANGES: dict[str, Asking] = {
    "hang up": lambda client: client.hang_up("a-call"),
    "speak": lambda client: client.speak("a-call", "soon over"),
    "transfer": lambda client: client.transfer("a-call", f"{GATEWAY}/farewell"),
    "delete a recording": lambda client: client.delete_recording("a-recording"),
}
CALL_LOOKS: dict[str, Asking] = {
    "find a call": lambda client: client.find_call("a-call"),
    "legs": lambda client: client.legs_of("a-call"),
    "recordings": lambda client: client.recordings_of("a-call"),
    "account": lambda client: client.account(),
    "numbers": lambda client: client.numbers(),
}


def _of_calls(api: type[CallsApi]) -> Kind:
    return Kind(
        client=lambda http, url, leave: api(http, url, AUTH_ID, TOKEN, leave),
        makes=lambda client: client.place(ORDER),
        changes=CALL_CHANGES,
        looks=CALL_LOOKS,
        checked=lambda http, url: check(api(http, url, AUTH_ID, TOKEN), url, GATEWAY, [NUMBER]),
        accounts=api.ACCOUNTS,
    )


def _check_plivo(http: httpx.AsyncClient, url: str) -> AsyncIterator[Step]:
    sessions = SessionsApi(http, url, AUTH_ID, TOKEN)
    return check_masking(CallsApi(http, url, AUTH_ID, TOKEN), sessions.reach, url, GATEWAY)


EVERY_CARRIER: dict[str, Kind] = {
    "voice": _of_calls(CallsApi),
    "one that is similar": _of_calls(SimilarApi),
    "plivo": Kind(
        client=lambda http, url, leave: SessionsApi(http, url, AUTH_ID, TOKEN, leave),
        makes=lambda client: client.create({"first_party": PARTY, "second_party": OTHER, "callback_url": GATEWAY}),
        changes={
            "update": lambda client: client.update("a-session", {"record": True}),
            "expire": lambda client: client.expire("a-session"),
        },
        looks={
            "find sessions": lambda client: client.find(
                GATEWAY, {"first_party": PARTY}, datetime(2026, 11, 23, tzinfo=UTC)
            ),
            "retrieve": lambda client: client.retrieve("a-session"),
            "a leg": lambda client: client.leg("a-leg"),
            "a recording": lambda client: client.recording("a-recording"),
            "reach": lambda client: client.reach(),
        },
        checked=_check_plivo,
        takes_no_for_an_answer=frozenset({"a leg", "a recording"}),
    ),
}
"""A new carrier joins them here. The simulator is what stands behind `voice` where calls are made."""
