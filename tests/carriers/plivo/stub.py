"""Plivo's Masking API and its callbacks, as strict as the real thing, with every fault that it may have; seeded."""

from __future__ import annotations

import asyncio
import base64
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from aiohttp import web

from masking.carriers.signature import signed_headers
from masking.domain.events import Side
from masking.domain.wire_format import plivo_time
from tests.carriers.plivo.truth import Talk, Truth

BEHIND = timedelta(minutes=4)
"""How far its clock is behind ours, so that a call's minutes lie in the past when they are told."""

CREATE_ARGUMENTS = {
    "first_party", "second_party", "geomatch", "subaccount", "session_expiry", "call_time_limit", "ring_timeout",
    "initiate_call_to_first_party", "callback_url", "callback_method", "record", "recording_callback_url",
    "record_file_format", "recording_callback_method", "first_party_play_url", "second_party_play_url",
    "is_pin_authentication_required", "generate_pin", "generate_pin_length", "first_party_pin", "second_party_pin",
    "pin_prompt_play", "pin_retry", "pin_retry_wait", "incorrect_pin_play", "unknown_caller_play",
    "force_pin_authentication", "create_session_with_single_party", "virtual_number_cooloff_period",
}  # fmt: skip
UPDATE_ARGUMENTS = {
    "session_expiry", "call_time_limit", "ring_timeout", "callback_url", "callback_method", "record",
    "recording_callback_url", "record_file_format", "recording_callback_method", "first_party_play_url",
    "second_party_play_url",
}  # fmt: skip
RANGES = {"session_expiry": (60, 86_400), "call_time_limit": (60, 86_400), "ring_timeout": (5, 600)}
REFUSALS = (
    (400, "Number pool exhausted or not available."),
    (400, "Invalid parameter. first_party is not a valid phone number."),
    (401, "authentication failed"),
    (403, "forbidden"),
    (405, "method not allowed"),
)
"""What trying again does not help."""

FAULTS = ("500 before", "429", "stall", "500 after", "cut after", "garbage after")
"""What may become of a request; those that end in "after" come once it was done."""


class Refused(Exception):
    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status, self.error = status, error


@dataclass
class Made:
    """A session at the stub."""

    uuid: str
    arguments: dict[str, Any]
    number: str
    truth: Truth
    ended: bool = False


@dataclass
class PlivoStub:
    """The server.

    Attributes:
        faulty: the share of requests that have a fault.
        refusing: the share of creates that are refused for good.
    """

    seed: int
    auth_id: str
    token: str
    faulty: float = 0.25
    refusing: float = 0.05
    sessions: dict[str, Made] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def app(self) -> web.Application:
        app = web.Application()
        base = f"/v1/Account/{self.auth_id}/Masking/Session/"
        app.router.add_post(base, self._served(self._create))
        app.router.add_get(base, self._served(self._list))
        one = f"{base}{{uuid}}/"
        app.router.add_get(one, self._served(self._retrieve))
        app.router.add_post(one, self._served(self._update))
        app.router.add_delete(one, self._served(self._expire))
        return app

    def now(self) -> datetime:
        return (datetime.now(UTC) - BEHIND).replace(microsecond=0)

    def of(self, callback_url: str) -> list[Made]:
        """What was made for one session of ours."""
        return [made for made in self.sessions.values() if made.arguments["callback_url"] == callback_url]

    def _served(self, handle: Any) -> Any:
        async def serve(request: web.Request) -> web.StreamResponse:
            fault = self.random.choice(FAULTS) if self.random.random() < self.faulty else ""
            if fault:
                self.faults.append(f"{request.method} {fault}")
            if fault == "500 before":
                return self._error(500, "Internal server error.")
            if fault == "429":
                return self._error(429, "rate limit exceeded")
            if fault == "stall":
                await asyncio.sleep(5)
            try:
                self._check(request)
                status, answer = await handle(request)
            except Refused as refusal:
                return self._error(refusal.status, refusal.error)
            if fault == "500 after":
                return self._error(500, "Internal server error.")
            if fault == "cut after" and request.transport is not None:
                request.transport.abort()
            if fault == "garbage after":
                return web.Response(text="<html>", content_type="text/html", status=status)
            return web.json_response({"api_id": "stub", **answer}, status=status)

        return serve

    def _error(self, status: int, error: str) -> web.Response:
        return web.json_response({"api_id": "stub", "error": error}, status=status)

    def _check(self, request: web.Request) -> None:
        basic = base64.b64encode(f"{self.auth_id}:{self.token}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {basic}":
            raise Refused(401, "authentication failed")

    async def _arguments(self, request: web.Request, known: set[str]) -> dict[str, Any]:
        if request.content_type != "application/json":
            raise Refused(400, "only application/json is accepted")
        body = await request.json()
        for name, value in body.items():
            if name not in known or value is None:
                raise Refused(400, f"Invalid parameter. {name} is not known.")
            if name in RANGES and not (type(value) is int and RANGES[name][0] <= value <= RANGES[name][1]):
                raise Refused(400, f"Invalid parameter. {name} is outside the allowed range.")
            if name.endswith("_url") and not str(value).startswith(("http://", "https://")):
                raise Refused(400, f"Invalid parameter. {name} should be a valid URL.")
        return dict(body)

    async def _create(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        arguments = await self._arguments(request, CREATE_ARGUMENTS)
        for party in ("first_party", "second_party"):
            if party not in arguments:
                raise Refused(400, f"Mandatory parameter missing. {party} must be present.")
        if self.random.random() < self.refusing:
            raise Refused(*self.random.choice(REFUSALS))
        uuid = str(UUID(int=self.random.getrandbits(128), version=4))
        truth = Truth(
            [],
            self.now(),
            arguments["session_expiry"],
            expired=False,
            parties={Side.FIRST: arguments["first_party"], Side.SECOND: arguments["second_party"]},
        )
        made = Made(uuid, arguments, f"1202555{self.random.randrange(10_000):04}", truth)
        self.sessions[uuid] = made
        shown = self._shown(made)
        return 201, {
            "session_uuid": uuid,
            "virtual_number": f"+{made.number}",
            "message": "Session created",
            "session": shown,
        }

    async def _list(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        query = request.query
        limit, offset = int(query.get("limit", "20")), int(query.get("offset", "0"))
        if not 1 <= limit <= 20:
            raise Refused(400, "Invalid parameter. limit is outside the allowed range.")
        since = datetime.strptime(query["created_time__gte"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        found = [
            made
            for made in reversed(self.sessions.values())
            if made.truth.start >= since
            and all(
                query.get(party, made.arguments[party].removeprefix("+")) == made.arguments[party].removeprefix("+")
                for party in ("first_party", "second_party")
            )
        ]
        page = [self._shown(made) for made in found[offset : offset + limit]]
        meta = {"limit": limit, "next": None, "offset": offset, "previous": None, "total_count": len(found)}
        return 200, {"response": {"meta": meta, "objects": page}}

    async def _retrieve(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        return 200, {"response": self._shown(self._one(request))}

    async def _update(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        made = self._one(request)
        arguments = await self._arguments(request, UPDATE_ARGUMENTS)
        if made.ended:
            raise Refused(400, "Session already expired.")
        made.arguments |= arguments
        if "session_expiry" in arguments:
            made.truth.lives = int((self.now() - made.truth.start).total_seconds()) + arguments["session_expiry"]
        return 200, {"message": "Session updated", "session": self._shown(made)}

    async def _expire(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        made = self._one(request)
        if made.ended:
            raise Refused(400, "Session already expired.")
        self.end(made)
        return 200, {"message": "Session expired"}

    def end(self, made: Made) -> None:
        """It ends, whoever brought that about, and not before its last call does."""
        made.ended = made.truth.expired = True
        made.truth.lives = max((talk.ends for talk in made.truth.talks), default=0) + 1

    def _one(self, request: web.Request) -> Made:
        made = self.sessions.get(request.match_info["uuid"])
        if made is None:
            raise Refused(404, "not found")
        return made

    def _shown(self, made: Made) -> dict[str, Any]:
        arguments, truth = made.arguments, made.truth
        shown = truth.resource() | {
            "session_uuid": made.uuid,
            "virtual_number": made.number,
            "first_party": arguments["first_party"].removeprefix("+"),
            "second_party": arguments["second_party"].removeprefix("+"),
            "callback_url": arguments["callback_url"],
            "duration": truth.lives,
            "created_time": plivo_time(truth.start),
        }
        for entry in shown["interaction"] or ():
            entry["total_call_amount"] = float(entry["total_call_amount"])
        return shown

    def carry(self, made: Made) -> None:
        """Calls are made on its number."""
        begins = 5
        for _ in range(self.random.randrange(3)):
            rings, talks = self.random.randrange(1, 20), self.random.choice([0, 1, 30, 59, 61, 70])
            made.truth.talks.append(Talk(begins, rings, talks, caller=self.random.choice(list(Side))))
            begins += rings + talks + self.random.choice([0, 1, 15])

    def disturbed(self, made: Made) -> list[dict[str, str]]:
        """What is told of it: some things never, some twice, and backwards or mixed."""
        told = [each | {"SessionUUID": made.uuid} for each in made.truth.callbacks()]
        kept = [each for each in told if self.random.random() > 0.15]
        kept += [each for each in kept if self.random.random() < 0.15]
        if self.random.random() < 0.5:
            self.random.shuffle(kept)
        elif self.random.random() < 0.3:
            kept.reverse()
        return kept

    async def tell(self, http: httpx.AsyncClient, made: Made, told: list[dict[str, str]]) -> None:
        """Post callbacks, signed as Plivo signs: for the account that owns the session, and for the main one."""
        url = str(made.arguments["callback_url"])
        for fields in told:
            answer = await http.post(url, data=fields, headers=signed_headers("POST", url, fields, [self.token]))
            assert answer.status_code == 200, answer.text
