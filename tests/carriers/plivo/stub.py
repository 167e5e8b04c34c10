"""Plivo's Masking API and its callbacks, as strict as the real thing, with every fault that it may have; seeded."""

from __future__ import annotations

import asyncio
import base64
import math
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from aiohttp import web

from masking.carriers.signature import signed_headers
from masking.domain.events import Side
from masking.domain.wire_format import plivo_time
from tests.carriers.plivo.stub_arguments import PARTIES, Arguments, Refused, check_create, check_update
from tests.carriers.plivo.truth import Talk, Truth

BEHIND = timedelta(minutes=4)
"""How far its clock is behind ours, so that a call's minutes lie in the past when they are told."""

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


@dataclass
class Made:
    """A session at the stub."""

    uuid: str
    arguments: dict[str, Any]
    number: str
    truth: Truth
    ended: bool = False

    @property
    def single(self) -> bool:
        """Whether a party is missing."""
        return len(self.truth.parties) == 1


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
        account = f"/v1/Account/{self.auth_id}"
        app.router.add_get(f"{account}/Call/{{prefix}}-leg-{{number}}-{{end}}/", self._served(self._leg))
        app.router.add_get(f"{account}/Recording/{{prefix}}-recording-{{number}}/", self._served(self._recording))
        return app

    def now(self) -> datetime:
        return (datetime.now(UTC) - BEHIND).replace(microsecond=0)

    def told_until(self, made: Made) -> float:
        """Up to when, in seconds from its beginning, it shows what happened in a session: to its end at once."""
        return math.inf

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

    async def _arguments(self, request: web.Request) -> Arguments:
        if request.content_type != "application/json":
            raise Refused(400, "only application/json is accepted")
        return dict(await request.json())

    async def _create(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        arguments = await self._arguments(request)
        check_create(arguments)
        if self.random.random() < self.refusing:
            raise Refused(*self.random.choice(REFUSALS))
        uuid = str(UUID(int=self.random.getrandbits(128), version=4))
        lives, parties = arguments["session_expiry"], _parties(arguments)
        # The order of the draws is what a seed stands for.
        pins, number = self._made_pins(arguments), f"1202555{self.random.randrange(10_000):04}"
        truth = Truth([], self.now(), lives, expired=False, parties=parties, number=f"+{number}", prefix=f"{uuid[:8]}-")
        made = Made(uuid, arguments | pins, number, truth)
        self.sessions[uuid] = made
        shown = self.shown(made)
        return 201, {
            "session_uuid": uuid,
            "virtual_number": f"+{made.number}",
            "message": "Session created",
            "session": shown,
        }

    def _made_pins(self, arguments: Arguments) -> Arguments:
        """Of the digits that were asked for, and never the same."""
        if not arguments.get("generate_pin"):
            return {}
        length = arguments.get("generate_pin_length", 4)
        first, second = self.random.sample(range(10**length), 2)
        return {"first_party_pin": f"{first:0{length}}", "second_party_pin": f"{second:0{length}}"}

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
            and all(query.get(party, number) == number for party, number in _shown_parties(made).items())
        ]
        page = [self.shown(made) for made in found[offset : offset + limit]]
        meta = {"limit": limit, "next": None, "offset": offset, "previous": None, "total_count": len(found)}
        return 200, {"response": {"meta": meta, "objects": page}}

    async def _retrieve(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        return 200, {"response": self.shown(self._one(request))}

    async def _update(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        made = self._one(request)
        arguments = await self._arguments(request)
        check_update(arguments, made.arguments)
        if made.ended:
            raise Refused(400, "Session already expired.")
        made.arguments |= arguments
        made.truth.parties = _parties(made.arguments)
        if "session_expiry" in arguments:
            made.truth.lives = int((self.now() - made.truth.start).total_seconds()) + arguments["session_expiry"]
        return 200, {"message": "Session updated", "session": self.shown(made)}

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

    async def _leg(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        made, number = self._of_resource(request)
        return 200, made.truth.leg(number, request.match_info["end"], self.told_until(made))

    async def _recording(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        made, number = self._of_resource(request)
        return 200, made.truth.recording(number)

    def _of_resource(self, request: web.Request) -> tuple[Made, int]:
        prefix, number = request.match_info["prefix"], int(request.match_info["number"])
        for made in self.sessions.values():
            if made.uuid.startswith(prefix) and 0 < number <= len(made.truth.talks):
                return made, number
        raise Refused(404, "not found")

    def _one(self, request: web.Request) -> Made:
        made = self.sessions.get(request.match_info["uuid"])
        if made is None:
            raise Refused(404, "not found")
        return made

    def shown(self, made: Made) -> dict[str, Any]:
        """Its resource."""
        arguments, truth = made.arguments, made.truth
        shown = truth.resource(self.told_until(made)) | {
            "session_uuid": made.uuid,
            "virtual_number": made.number,
            **_shown_parties(made),
            "callback_url": arguments["callback_url"],
            "first_party_pin": arguments.get("first_party_pin"),
            "second_party_pin": arguments.get("second_party_pin"),
            "duration": truth.lives,
            "created_time": plivo_time(truth.start),
        }
        for entry in shown["interaction"] or ():
            entry["total_call_amount"] = float(entry["total_call_amount"])
        return shown

    def carry(self, made: Made) -> None:
        """A call is made on its number, or none; to begin with, the one that was asked for to the first party."""
        last = made.truth.talks[-1].ends if made.truth.talks else None
        begins = 5 if last is None else last + self.random.choice([0, 1, 15])
        asked_for = last is None and bool(made.arguments.get("initiate_call_to_first_party"))
        if not asked_for and self.random.random() < 0.3:
            return
        rings, talks = self.random.randrange(1, 20), self.random.choice([0, 1, 30, 59, 61, 70])
        talk = Talk(begins, rings, talks, recorded=bool(made.arguments.get("record")))
        if asked_for:
            taken = self.random.random() < 0.6 and not made.single
            talk = replace(talk, caller=Side.FIRST, dialled=taken, talks=talks if taken else 0)
        elif made.single:
            talk = replace(talk, caller=next(iter(made.truth.parties)).other, number=self._stranger())
        else:
            talk = replace(talk, caller=self.random.choice(list(Side)))
        if made.arguments.get("is_pin_authentication_required") and not asked_for:
            talk = self._by_pin(made, talk)
        made.truth.talks.append(talk)

    def _by_pin(self, made: Made, talk: Talk) -> Talk:
        """Parties are known, unless they are asked all the same; strangers and hidden callers are not."""
        if not made.single and self.random.random() < 0.5:
            asked = bool(made.arguments.get("force_pin_authentication"))
            return replace(talk, pins=("success",) if asked else ("AuthorizedCaller",))
        tries = ("failed",) * self.random.randint(0, made.arguments.get("pin_retry", 1))
        number = talk.number or self.random.choice([self._stranger(), "hidden"])
        return replace(talk, number=number, pins=(*tries, "success"))

    def _stranger(self) -> str:
        return f"+1202559{self.random.randrange(10_000):04}"

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


def _parties(arguments: Arguments) -> dict[Side, str]:
    return {side: arguments[f"{side}_party"] for side in Side if f"{side}_party" in arguments}


def _shown_parties(made: Made) -> dict[str, str]:
    return {party: str(made.arguments.get(party, "")).removeprefix("+") for party in PARTIES}
